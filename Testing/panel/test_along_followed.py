"""Markups that went along with a result follow it: improved, undone, updated, and what goes along no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.panel.self_test import SHIFT_MM
from Testing.panel.nodes import markups_node
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.panel.test_drivers import rows, toggle
from Testing.panel.test_repair import END, START, answer_improvement, draw
from Testing.panel.test_update import answer_to_the_end
from Testing.scene.nodes import all_ids, world_points

POINTS = np.array([[60.0, 60.0, 60.0], [78.0, 61.0, 62.0]])  # LPS mm
IMPROVED_MM = np.array([1.0, 2.0, 3.0])  # what `answer_improvement` answers with
UPDATED_MM = np.array([4.0, 0.0, 0.0])


def choose(opened: OpenedPanel, side: str, name: str) -> None:
    """Tick, or untick, a node in the list of a side."""
    if opened.ui.outputsButton.collapsed:
        opened.desktop.click(opened.ui.outputsButton)
    opened.desktop.process_events()
    toggle(opened, getattr(opened.ui, f"{side}AlongList"), name)
    opened.desktop.process_events()


def copy_of(opened: OpenedPanel, name: str, side: str = "fixed") -> Any:
    """Return the copy of a node on a scan; None if there is none."""
    scan = opened.parameters.fixedVolume if side == "fixed" else opened.parameters.movingVolume
    return slicer.mrmlScene.GetFirstNodeByName(f"{name} on {scan.GetName()}")


def assert_lies(node: Any, expected: Any) -> None:
    np.testing.assert_allclose(world_points(node), expected, atol=1e-5)


def is_seen(node: Any) -> bool:
    return bool(node.GetDisplayNode().GetVisibility())


@pytest.fixture
def plan(opened: OpenedPanel, played: PlayedEngine) -> tuple[Any, Any]:
    """Register with points of the moving and of the fixed scan that go along."""
    drawn = [markups_node(slicer.mrmlScene, POINTS, None, name) for name in ("targets", "path")]
    for node in drawn:
        node.CreateDefaultDisplayNodes()
    choose(opened, "moving", "targets")
    choose(opened, "fixed", "path")
    played.run()
    assert opened.message == ""
    return drawn[0], drawn[1]


def improve(opened: OpenedPanel, played: PlayedEngine) -> None:
    draw(opened, START, END)
    opened.desktop.click(opened.ui.improveButton)
    answer_improvement(opened, played)
    assert opened.message == ""


def test_copies_follow_an_improvement_and_its_undo(
    opened: OpenedPanel, played: PlayedEngine, plan: tuple[Any, Any]
) -> None:
    copies = copy_of(opened, "targets"), copy_of(opened, "path", "moving")
    improve(opened, played)
    count = len(all_ids(slicer.mrmlScene))
    assert (copy_of(opened, "targets"), copy_of(opened, "path", "moving")) == copies
    assert_lies(copies[0], POINTS - IMPROVED_MM)
    assert_lies(copies[1], POINTS + IMPROVED_MM)
    opened.desktop.click(opened.ui.undoImproveButton)
    assert_lies(copies[0], POINTS - SHIFT_MM)
    assert_lies(copies[1], POINTS + SHIFT_MM)
    assert len(all_ids(slicer.mrmlScene)) == count
    assert not is_seen(plan[0])
    opened.desktop.click(opened.ui.removeResultsButton)
    assert copy_of(opened, "targets") is copy_of(opened, "path", "moving") is None
    assert is_seen(plan[0])


def test_what_was_carried_over_after_an_improvement_stays_when_that_is_undone(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    played.run()
    improve(opened, played)
    markups_node(slicer.mrmlScene, POINTS, None, "targets")
    opened.desktop.process_events()
    choose(opened, "moving", "targets")
    opened.desktop.click(opened.ui.carryNowButton)
    assert_lies(copy_of(opened, "targets"), POINTS - IMPROVED_MM)
    opened.desktop.click(opened.ui.undoImproveButton)
    assert opened.message == ""
    assert_lies(copy_of(opened, "targets"), POINTS - SHIFT_MM)
    assert rows(opened.ui.movingAlongList)["targets"]


def test_copies_follow_an_update_and_what_goes_along_no_more_is_seen_again(
    opened: OpenedPanel, played: PlayedEngine, plan: tuple[Any, Any]
) -> None:
    copy = copy_of(opened, "path", "moving")
    choose(opened, "moving", "targets")
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 4.0)
    assert opened.message == ""
    assert_lies(copy, POINTS + UPDATED_MM)
    assert copy_of(opened, "targets") is None
    assert is_seen(plan[0])


def test_what_is_updated_to_another_moving_scan_is_called_after_that_but_for_what_the_user_named(
    opened: OpenedPanel, played: PlayedEngine, plan: tuple[Any, Any]
) -> None:
    copy, warped = copy_of(opened, "path", "moving"), slicer.mrmlScene.GetNodeByID(opened.results.warped)
    transform = slicer.mrmlScene.GetNodeByID(opened.results.transform)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(transform))
    warped.SetName("before the biopsy")
    later = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, opened.parameters.movingVolume, "later scan")
    opened.parameters.movingVolume = later
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.updateButton)
    answer_to_the_end(opened, played, 4.0)
    assert_lies(copy, POINTS + UPDATED_MM)
    assert copy.GetName() == "path on later scan"
    assert transform.GetName() == "later scan transform"
    assert hierarchy.GetItemName(folder) == "later scan registration"
    assert warped.GetName() == "before the biopsy"
