"""Markups and models go along with a result, both ways, and go and come back with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer
import vtk

from DeepRegLib.panel.self_test import SHIFT_MM
from Testing.panel.nodes import all_ids, linear_node, markups_node
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.panel.test_drivers import rows, toggle
from Testing.scene.nodes import world_points

POINTS = np.array([[60.0, 60.0, 60.0], [78.0, 61.0, 62.0]])  # LPS mm


def model_node(name: str) -> Any:
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(-60, -60, 60)
    sphere.Update()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(sphere.GetOutput())
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetColor(0.1, 0.9, 0.2)
    return node


def middle_lps(node: Any) -> np.ndarray:
    bounds = np.reshape(node.GetPolyData().GetBounds(), (3, 2))
    return bounds.mean(axis=1) * (-1, -1, 1)


def found(name: str) -> Any:
    node = slicer.mrmlScene.GetFirstNodeByName(name)
    assert node is not None, name
    return node


def test_what_is_chosen_is_copied_to_the_other_volume_and_removed_with_the_result(
    opened: OpenedPanel, played: PlayedEngine, tmp_path: Path
) -> None:
    moved = linear_node(slicer.mrmlScene, np.array([[1, 0, 0, 5.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    targets = markups_node(slicer.mrmlScene, POINTS - (5, 0, 0), ("apex", "base"), "targets")
    targets.CreateDefaultDisplayNodes()
    targets.SetAndObserveTransformNodeID(moved.GetID())
    vessel, path = model_node("vessel"), markups_node(slicer.mrmlScene, POINTS, None, "path")
    opened.desktop.process_events()
    before = all_ids(slicer.mrmlScene)
    opened.desktop.click(opened.ui.outputsButton)
    assert rows(opened.ui.movingAlongList) == {"targets": False, "path": False, "vessel": False}
    for name in ("targets", "vessel"):
        toggle(opened, opened.ui.movingAlongList, name)
        opened.desktop.process_events()
    toggle(opened, opened.ui.fixedAlongList, "path")
    opened.desktop.process_events()
    opened.desktop.grab(opened.area, tmp_path / "along.png")
    fixed, moving = opened.parameters.fixedVolume.GetName(), opened.parameters.movingVolume.GetName()
    played.run()
    assert opened.message == ""
    carried = found(f"targets on {fixed}")
    np.testing.assert_allclose(world_points(carried), POINTS - SHIFT_MM, atol=1e-6)
    assert carried.GetNthControlPointLabel(1) == "base"
    assert carried.GetParentTransformNode() is None
    np.testing.assert_allclose(world_points(targets), POINTS, atol=1e-6)
    assert not targets.GetDisplayNode().GetVisibility()
    surface = found(f"vessel on {fixed}")
    np.testing.assert_allclose(middle_lps(surface), np.array([60.0, 60.0, 60.0]) - SHIFT_MM, atol=0.1)
    np.testing.assert_allclose(middle_lps(vessel), (60.0, 60.0, 60.0), atol=0.1)
    assert surface.GetDisplayNode().GetColor() == (0.1, 0.9, 0.2)
    np.testing.assert_allclose(world_points(found(f"path on {moving}")), world_points(path) + SHIFT_MM, atol=1e-6)
    assert rows(opened.ui.movingAlongList) == {"targets": True, "path": False, "vessel": True}
    opened.desktop.click(opened.ui.removeResultsButton)
    opened.desktop.process_events()
    assert all_ids(slicer.mrmlScene) == before
    assert targets.GetDisplayNode().GetVisibility()


def test_what_was_placed_after_the_result_is_carried_over_by_a_click_and_not_twice(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    targets = markups_node(slicer.mrmlScene, POINTS, ("apex", "base"), "targets")
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.outputsButton)
    assert not opened.ui.carryNowButton.isEnabled()
    toggle(opened, opened.ui.movingAlongList, "targets")
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.carryNowButton)
    name = f"targets on {opened.parameters.fixedVolume.GetName()}"
    np.testing.assert_allclose(world_points(found(name)), POINTS - SHIFT_MM, atol=1e-6)
    count = len(all_ids(slicer.mrmlScene))
    targets.SetNthControlPointPosition(0, -50.0, -60.0, 60.0)
    opened.desktop.click(opened.ui.carryNowButton)
    np.testing.assert_allclose(world_points(found(name))[0], np.array([50.0, 60.0, 60.0]) - SHIFT_MM, atol=1e-6)
    assert len(all_ids(slicer.mrmlScene)) == count
    slicer.mrmlScene.RemoveNode(targets)
    opened.desktop.process_events()
    assert list(opened.parameters.movingAlong) == []
