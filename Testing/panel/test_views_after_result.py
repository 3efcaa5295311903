"""After a result the views show the fixed anatomy, and stay where they are if they do already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from Testing.panel.nodes import BALLS, ball, linear_node, load_volume, volume_node
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.panel.test_compare_panel import choose


def centre(view: str) -> np.ndarray:
    node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
    return np.array([node.GetSliceToRAS().GetElement(row, 3) for row in range(3)])


@pytest.mark.parametrize("compared", [True, False])
def test_scans_that_lie_far_apart_are_in_the_views_after_a_result(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path, compared: bool
) -> None:
    fixed, moving = load_volume(tmp_path, "fixed", 0.0), load_volume(tmp_path, "moving", 700.0)
    opened.parameters.fixedVolume, opened.parameters.movingVolume = fixed, moving
    opened.parameters.wantWarped = compared
    assert np.linalg.norm(centre("Red")) > 1000
    played.run()
    for view in ("Red", "Yellow", "Green"):
        np.testing.assert_allclose(centre(view), (-9.5, -9.5, 9.5), atol=2.0)


def test_views_that_show_the_anatomy_stay_where_the_user_is(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    fixed, moving = load_volume(tmp_path, "fixed", 0.0), load_volume(tmp_path, "moving", 3.0)
    opened.parameters.fixedVolume, opened.parameters.movingVolume = fixed, moving
    nodes = {name: slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow")}
    nodes["Red"].JumpSliceByOffsetting(-9.5, -9.5, 15.5)  # another slice
    nodes["Yellow"].SetFieldOfView(8.0, 8.0, 1.0)  # a detail
    before = {name: (centre(name).tolist(), list(node.GetFieldOfView())) for name, node in nodes.items()}
    played.run()
    assert {name: (centre(name).tolist(), list(node.GetFieldOfView())) for name, node in nodes.items()} == before


def test_choosing_a_comparison_fits_views_that_went_elsewhere(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    played.run()
    load_volume(tmp_path, "far", 900.0)
    opened.desktop.process_events()
    choose(opened, "Checkerboard")
    bounds = [0.0] * 6
    opened.parameters.fixedVolume.GetRASBounds(bounds)
    middle = np.reshape(bounds, (3, 2)).mean(axis=1)
    for view in ("Red", "Yellow", "Green"):
        np.testing.assert_allclose(centre(view), middle, atol=2.0)


def test_a_fixed_scan_under_a_transform_is_found_where_it_lies(scene: Any) -> None:
    from DeepRegLib.scene.views import shows

    volume = volume_node(scene, ball(BALLS["liver"]), "head")
    view = slicer.vtkMRMLSliceNode()
    view.SetFieldOfView(100.0, 100.0, 1.0)
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    view.JumpSliceByCentering(*np.reshape(bounds, (3, 2)).mean(axis=1))
    assert shows(view, volume)
    far = np.eye(4)
    far[:3, 3] = 500.0
    volume.SetAndObserveTransformNodeID(linear_node(scene, far).GetID())
    assert not shows(view, volume)
