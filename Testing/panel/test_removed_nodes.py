"""A node that goes, and one that holds something of the user's: neither is lost or replaced unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from Testing.panel.nodes import BALLS, ball, linear_node, markups_node, segmentation, volume_node
from Testing.panel.opened import OpenedPanel, answer
from Testing.panel.played import PlayedEngine

# What a selector may be made to choose, by the class of its nodes.
MADE: dict[str, Callable[[str], Any]] = {
    "vtkMRMLScalarVolumeNode": lambda name: volume_node(slicer.mrmlScene, ball(BALLS["liver"]), name),
    "vtkMRMLSegmentationNode": lambda name: segmentation(name),
    "vtkMRMLMarkupsFiducialNode": lambda name: markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name=name),
    "vtkMRMLMarkupsLineNode": lambda name: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name),
    "vtkMRMLTransformNode": lambda name: linear_node(slicer.mrmlScene, np.eye(4), name),
    "vtkMRMLSequenceBrowserNode": lambda name: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", name),
}
FEWEST_SELECTORS = 20


def bound_selectors(opened: OpenedPanel) -> dict[str, Any]:
    """Return the panel's node selectors by the parameter that holds what they choose."""
    widgets = [widget for widget in vars(opened.ui).values() if isinstance(widget, slicer.qMRMLNodeComboBox)]
    bound = {str(widget.property("SlicerParameterName") or ""): widget for widget in widgets}
    assert "" not in bound, "a selector chooses for nobody"
    assert len(bound) == len(widgets) >= FEWEST_SELECTORS
    return bound


def segment_count(node: Any) -> int:
    return int(node.GetSegmentation().GetNumberOfSegments())


@pytest.mark.parametrize("batch", [False, True])
def test_no_selector_chooses_the_neighbour_of_a_node_that_goes(
    opened: OpenedPanel, played: PlayedEngine, batch: bool
) -> None:
    held = {}
    for parameter, selector in bound_selectors(opened).items():
        make = MADE[str(next(iter(selector.nodeTypes)))]
        _before, chosen, _after = (make(f"{parameter} {number}") for number in range(3))
        opened.desktop.choose(selector, chosen.GetName())
        assert getattr(opened.parameters, parameter) is chosen, parameter
        if batch:
            slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
        slicer.mrmlScene.RemoveNode(chosen)
        if batch:
            slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
        opened.desktop.process_events()
        held[parameter] = getattr(opened.parameters, parameter)
    assert held == dict.fromkeys(held)


def test_every_parameter_that_holds_a_node_lets_go_of_it(opened: OpenedPanel, played: PlayedEngine) -> None:
    held = [name for name in opened.parameters.allParameters if name.startswith("compared")]
    for name in held:
        setattr(opened.parameters, name, opened.parameters.movingVolume)
    moving = opened.parameters.movingVolume
    slicer.mrmlScene.RemoveNode(moving)
    assert [getattr(opened.parameters, name) for name in (*held, "movingVolume")] == [None] * (len(held) + 1)
    slicer.mrmlScene.AddNode(moving)  # undone: it is there, but nobody chose it
    assert opened.parameters.movingVolume is None


def test_results_that_were_removed_and_a_second_run_leave_the_users_tumour_alone(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    plan = segmentation("plan")
    opened.parameters.movingSegmentation = plan
    played.run()
    tumour = segmentation("my tumour", names=("tumour",))
    opened.desktop.choose(opened.ui.segmentationOutputSelector, "self-test moving segmentation")
    opened.desktop.click(opened.ui.removeResultsButton)
    played.run()
    assert opened.results.segmentation not in (tumour.GetID(), plan.GetID())
    assert [segment_count(node) for node in (tumour, plan)] == [1, 2]
    assert tumour.GetSegmentation().GetNthSegment(0).GetName() == "tumour"


@pytest.mark.parametrize("yes", [True, False])
def test_what_is_not_ours_is_asked_about_by_name_before_it_is_overwritten(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    opened.parameters.movingSegmentation = segmentation("plan")
    tumour = segmentation("my <i>tumour</i>", names=("tumour",))
    asked = answer(opened, monkeypatch, yes)
    opened.desktop.choose(opened.ui.segmentationOutputSelector, "my <i>tumour</i>")
    opened.press()
    assert len(asked) == 1
    assert "my &lt;i&gt;tumour&lt;/i&gt;" in asked[0]
    if not yes:
        assert played.orders == []
        assert opened.ui.registerButton.text == "Register"
        return
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, 10)
    played.deliver()
    assert opened.results.segmentation == tumour.GetID()
    assert segment_count(tumour) == 2
    played.run()  # what is in it now is a result
    assert len(asked) == 1
    assert opened.results.segmentation == tumour.GetID()


def test_what_nobody_chose_by_hand_is_refused(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation("plan")
    tumour = segmentation("my tumour", names=("tumour",))
    opened.parameters.segmentationOutput = tumour
    opened.press()
    assert played.orders == []
    assert "my tumour holds something that DeepReg did not make, which would be lost." in opened.message
    assert segment_count(tumour) == 1


def test_a_script_does_not_overwrite_what_is_not_ours(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.errors import InputError

    fixed, moving = opened.parameters.fixedVolume, opened.parameters.movingVolume
    scan = volume_node(slicer.mrmlScene, ball(BALLS["liver"]), "my scan")
    with pytest.raises(InputError, match="my scan holds something that DeepReg did not make"):
        opened.logic.register(fixed, moving, existing={"warped": scan.GetID()}, wait=False)
