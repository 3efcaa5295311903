"""Remove results takes little time at once: the panel is shown once, and volumes are freed one by one afterwards."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer
import vtk

from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with
from Testing.panel.nodes import segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine


class Held:
    """The voxels of nodes, without holding them."""

    def __init__(self, *nodes: Any) -> None:
        self._references = [vtk.vtkWeakReference() for _ in nodes]
        for reference, node in zip(self._references, nodes, strict=True):
            reference.Set(node.GetImageData())

    def count(self) -> int:
        """Return how many are still in memory."""
        return sum(reference.Get() is not None for reference in self._references)


def test_the_voxels_of_removed_results_are_freed_one_volume_a_turn_of_the_event_loop(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    monkeypatch.setattr("DeepRegLib.panel.slicing.SLICE_SECONDS", 0.0)
    opened.parameters.wantJacobian = True
    for _ in range(2):
        played.run()
    results = nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE)
    shown = opened.results.warped  # which views hold until they are drawn again
    held = Held(*(node for node in results if node.IsA("vtkMRMLVolumeNode") and node.GetID() != shown))
    assert held.count() == 3
    del results
    counts = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: counts.append(held.count()))
    timer.start(0)
    opened.ui.removeResultsButton.click()
    at_once = held.count(), nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE)
    assert opened.desktop.wait_until(lambda: held.count() == 0, 10)
    opened.desktop.wait_until(lambda: bool(counts) and counts[-1] == 0, 10)
    timer.stop()
    assert at_once == (3, [])
    assert set(counts) >= {1, 2}, "some went together"


def test_the_panel_is_shown_once_while_results_are_removed(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.parameters.movingSegmentation = segmentation()
    opened.parameters.wantJacobian = True
    played.run()
    shown = []
    inputs = opened.widget.panel.inputs
    show = inputs.refresh
    monkeypatch.setattr(inputs, "refresh", lambda: (shown.append(1), show()))
    opened.ui.removeResultsButton.click()
    assert len(shown) == 1
    assert not opened.ui.removeResultsButton.isVisible()
    assert opened.ui.compareSelector.currentText == "Views as they were"
    assert not opened.ui.compareSelector.isEnabled()


def test_the_button_goes_with_results_that_are_deleted_by_hand(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.run()
    assert opened.ui.removeResultsButton.isVisible()
    for node in nodes_with(slicer.mrmlScene, RESULT_ATTRIBUTE):
        slicer.mrmlScene.RemoveNode(node)
    opened.desktop.process_events()
    assert not opened.ui.removeResultsButton.isVisible()
