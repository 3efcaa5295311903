"""Linked views: the same anatomy pointed at in both scans, and views that are put back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.scene.places import nodes_with_mark
from Testing.desktop.layout import leave_view, move_mouse
from Testing.panel.opened import OpenedPanel, to_moving
from Testing.panel.played import PlayedEngine
from Testing.panel.test_compare_panel import choose, layers
from Testing.panel.test_compare_panel import views as composites

EXACT_MM = 0.01
OWN = tuple(f"DeepReg{side}{plane}" for side in ("fixed", "moving") for plane in ("Axial", "Sagittal", "Coronal"))


def view(name: str) -> Any:
    """Return a slice view's node."""
    return slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()


def shown_views() -> set[str]:
    manager = slicer.app.layoutManager()
    return {name for name in manager.sliceViewNames() if manager.sliceWidget(name).mrmlSliceNode().IsMappedInLayout()}


def show(name: str, volume: Any) -> None:
    """Let a slice view show a volume alone, and fit it."""
    composite = slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()
    composite.SetBackgroundVolumeID(volume.GetID())
    composite.SetForegroundVolumeID(None)
    slicer.app.layoutManager().sliceWidget(name).fitSliceToBackground()


def place_under(node: Any, pixel: tuple[float, float]) -> np.ndarray:
    """Return which place a pixel of a view shows, RAS mm."""
    return np.array(node.GetXYToRAS().MultiplyPoint((*pixel, 0.0, 1.0))[:3])


def distance_from_slice(node: Any, place: np.ndarray) -> float:
    """Return how far a place lies from the slice of a view, mm."""
    to_ras = node.GetSliceToRAS()
    normal, origin = (np.array([to_ras.GetElement(row, column) for row in range(3)]) for column in (2, 3))
    return abs(float(normal @ (place - origin)))


def crosses() -> dict[str, np.ndarray]:
    """Return the place of each visible cross by the views that show it, joined by spaces."""
    found = {}
    for node in nodes_with_mark(slicer.mrmlScene):
        display = node.GetDisplayNode()
        if display.GetVisibility():
            names = [slicer.mrmlScene.GetNodeByID(i).GetLayoutName() for i in display.GetViewNodeIDs()]
            place = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(0, place)
            found[" ".join(sorted(names))] = np.array(place)
    return found


@pytest.fixture
def linked(opened: OpenedPanel, played: PlayedEngine) -> OpenedPanel:
    """Register, show the fixed scan in Red, the moving one in Yellow and Green, and link the cursors by a click."""
    opened.parameters.wantInverse = True
    played.run()
    choose(opened, "Views as they were")
    for name, volume in zip(
        ("Red", "Yellow", "Green"),
        (opened.parameters.fixedVolume, opened.parameters.movingVolume, opened.parameters.movingVolume),
        strict=True,
    ):
        show(name, volume)
    opened.desktop.click(opened.ui.linkedButton)
    opened.desktop.click(opened.ui.linkedCursorsCheckBox)
    return opened


def test_there_is_nothing_to_link_before_a_result(opened: OpenedPanel, played: PlayedEngine) -> None:
    assert not opened.ui.linkedCursorsCheckBox.isEnabled()
    assert not opened.ui.sideBySideSelector.isEnabled()
    played.run()
    assert opened.ui.linkedTransformSelector.currentNode().GetID() == opened.results.transform
    assert opened.ui.linkedCursorsCheckBox.isEnabled()
    assert opened.ui.sideBySideSelector.isEnabled()


def test_the_mouse_in_the_fixed_scan_is_followed_in_every_view_of_the_moving_one(linked: OpenedPanel) -> None:
    pointed = place_under(view("Red"), (40, 55))
    before = view("Red").GetSliceOffset()
    move_mouse(view("Red"), (40, 55))
    linked.desktop.process_events()
    (expected,) = to_moving(slicer.mrmlScene.GetNodeByID(linked.results.transform), pointed[None])
    ((names, place),) = crosses().items()
    assert names == "Green Yellow"
    np.testing.assert_allclose(place, expected, atol=EXACT_MM)
    assert np.linalg.norm(expected - pointed) > 5
    assert all(distance_from_slice(view(name), expected) < EXACT_MM for name in ("Yellow", "Green"))
    assert view("Red").GetSliceOffset() == before


def test_the_mouse_in_the_moving_scan_is_followed_in_the_fixed_one(linked: OpenedPanel) -> None:
    pointed = place_under(view("Green"), (60, 35))
    move_mouse(view("Green"), (60, 35))
    linked.desktop.process_events()
    (expected,) = to_moving(slicer.mrmlScene.GetNodeByID(linked.results.inverse), pointed[None])
    ((names, place),) = crosses().items()
    assert names == "Red"
    np.testing.assert_allclose(place, expected, atol=EXACT_MM)
    assert distance_from_slice(view("Red"), expected) < EXACT_MM


def test_the_crosshair_leads_both_ways_after_slicer_has_moved_all_slices(linked: OpenedPanel) -> None:
    transform, inverse = (slicer.mrmlScene.GetNodeByID(i) for i in (linked.results.transform, linked.results.inverse))
    for name, others, way in (("Red", ("Yellow", "Green"), transform), ("Yellow", ("Red",), inverse)):
        pointed = place_under(view(name), (52, 47))
        move_mouse(view(name), (52, 47), shift=True)
        linked.desktop.process_events()
        (expected,) = to_moving(way, pointed[None])
        assert all(distance_from_slice(view(other), expected) < EXACT_MM for other in others)
        np.testing.assert_allclose(crosses()[" ".join(sorted(others))], expected, atol=EXACT_MM)


def test_a_crosshair_that_is_sent_to_a_place_is_followed(linked: OpenedPanel) -> None:
    leave_view(slicer.mrmlScene)
    sent = np.array([-62.0, -58.0, 61.0])
    slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCrosshairRAS(sent.tolist())
    linked.desktop.process_events()
    (expected,) = to_moving(slicer.mrmlScene.GetNodeByID(linked.results.transform), sent[None])
    np.testing.assert_allclose(crosses()["Green Yellow"], expected, atol=EXACT_MM)


def test_a_place_out_of_sight_is_brought_into_the_view(linked: OpenedPanel) -> None:
    view("Yellow").SetXYZOrigin(500.0, 500.0, 0.0)
    move_mouse(view("Red"), (50, 50))
    linked.desktop.process_events()
    (place,) = crosses().values()
    x, y = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view("Yellow").GetXYToRAS()))[:2] @ [*place, 1.0]
    width, height, _ = view("Yellow").GetDimensions()
    assert 0 <= x <= width
    assert 0 <= y <= height


def test_the_cross_goes_when_the_mouse_leaves_the_views(linked: OpenedPanel) -> None:
    move_mouse(view("Red"), (40, 55))
    linked.desktop.process_events()
    assert crosses()
    leave_view(slicer.mrmlScene)
    linked.desktop.process_events()
    assert not crosses()


def test_a_scan_under_the_result_is_pointed_at_where_it_is_shown(linked: OpenedPanel) -> None:
    moving = linked.parameters.movingVolume
    moving.SetAndObserveTransformNodeID(linked.results.transform)
    pointed = place_under(view("Red"), (40, 55))
    move_mouse(view("Red"), (40, 55))
    linked.desktop.process_events()
    np.testing.assert_allclose(crosses()["Green Yellow"], pointed, atol=EXACT_MM)


def is_unlinked(opened: OpenedPanel) -> bool:
    """Return whether a mouse that moves changes nothing."""
    offsets = [view(name).GetSliceOffset() for name in ("Red", "Yellow", "Green")]
    move_mouse(view("Red"), (20, 75))
    move_mouse(view("Green"), (20, 75))
    opened.desktop.process_events()
    return not nodes_with_mark(slicer.mrmlScene) and offsets == [
        view(name).GetSliceOffset() for name in ("Red", "Yellow", "Green")
    ]


def test_a_click_ends_it(linked: OpenedPanel) -> None:
    move_mouse(view("Red"), (40, 55))
    linked.desktop.process_events()
    linked.desktop.click(linked.ui.linkedCursorsCheckBox)
    assert is_unlinked(linked)


def test_another_module_ends_it_until_the_panel_is_opened_again(linked: OpenedPanel) -> None:
    move_mouse(view("Red"), (40, 55))
    linked.desktop.process_events()
    linked.window.exit()
    assert is_unlinked(linked)
    linked.window.enter()
    move_mouse(view("Red"), (40, 55))
    linked.desktop.process_events()
    assert crosses()


@pytest.mark.parametrize("gone", ["transform", "fixed", "moving"])
def test_a_node_that_is_removed_ends_it(linked: OpenedPanel, gone: str) -> None:
    move_mouse(view("Red"), (40, 55))
    nodes = {
        "transform": linked.parameters.linkedTransform,
        "fixed": linked.parameters.fixedVolume,
        "moving": linked.parameters.movingVolume,
    }
    slicer.mrmlScene.RemoveNode(nodes[gone])
    linked.desktop.process_events()
    assert is_unlinked(linked)
    assert not linked.ui.linkedCursorsCheckBox.isEnabled()


def test_removed_results_and_a_closed_scene_end_it(linked: OpenedPanel) -> None:
    linked.desktop.click(linked.ui.removeResultsButton)
    assert is_unlinked(linked)
    slicer.mrmlScene.Clear(0)
    linked.desktop.process_events()
    assert is_unlinked(linked)
    assert not linked.ui.linkedCursorsCheckBox.checked


def test_an_unloaded_module_leaves_nothing_behind(linked: OpenedPanel) -> None:
    move_mouse(view("Red"), (40, 55))
    linked.widget.cleanup()
    assert is_unlinked(linked)


def test_the_cross_is_not_saved_with_the_scene(linked: OpenedPanel, tmp_path: Any) -> None:
    linked.desktop.choose(linked.ui.sideBySideSelector, "Three views a side")
    move_mouse(view("DeepRegfixedAxial"), (40, 55))
    linked.desktop.process_events()
    assert crosses()
    path = tmp_path / "saved.mrml"
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit(str(path))
    linked.desktop.process_events()
    saved = path.read_text(encoding="utf-8")
    assert "Corresponding place" not in saved
    assert "DeepRegfixed" not in saved
    assert f'currentViewArrangement="{slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView}"' in saved
    move_mouse(view("DeepRegfixedAxial"), (41, 55))
    linked.desktop.process_events()
    assert crosses()
    assert shown_views() == set(OWN)


@pytest.mark.parametrize(("choice", "count"), [("One view a side", 1), ("Three views a side", 3)])
def test_side_by_side_shows_fixed_left_and_moving_right_and_puts_back(
    linked: OpenedPanel, choice: str, count: int
) -> None:
    before = list(map(layers, composites()))
    linked.desktop.choose(linked.ui.sideBySideSelector, choice)
    names = OWN[:count] + OWN[3 : 3 + count]
    assert shown_views() == set(names)
    for name in names:
        volume = linked.parameters.fixedVolume if "fixed" in name else linked.parameters.movingVolume
        assert layers(slicer.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode())[:2] == (
            volume.GetID(),
            None,
        )
        assert view(name).GetOrientation() in name
    linked.desktop.choose(linked.ui.sideBySideSelector, "Views as they were")
    assert shown_views() == {"Red", "Yellow", "Green"}
    assert list(map(layers, composites()))[:3] == before


def test_side_by_side_goes_while_another_module_is_open(linked: OpenedPanel) -> None:
    linked.desktop.choose(linked.ui.sideBySideSelector, "One view a side")
    linked.window.exit()
    assert shown_views() == {"Red", "Yellow", "Green"}
    linked.window.enter()
    assert shown_views() == {OWN[0], OWN[3]}


def test_a_layout_that_the_user_chose_stays(linked: OpenedPanel) -> None:
    linked.desktop.choose(linked.ui.sideBySideSelector, "One view a side")
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    linked.parameters.seed = 5
    assert linked.ui.sideBySideSelector.currentText == "Views as they were"
    linked.window.exit()
    assert shown_views() == {"Red"}
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert shown_views() == {"Red", "Yellow", "Green"}


def test_a_comparison_leaves_the_side_by_side_views_alone(linked: OpenedPanel) -> None:
    linked.desktop.choose(linked.ui.sideBySideSelector, "One view a side")
    choose(linked, "Red / cyan")
    own = slicer.app.layoutManager().sliceWidget(OWN[3]).mrmlSliceCompositeNode()
    assert layers(own)[:2] == (linked.parameters.movingVolume.GetID(), None)


def test_side_by_side_views_are_linked(linked: OpenedPanel) -> None:
    linked.desktop.choose(linked.ui.sideBySideSelector, "Three views a side")
    for name, result in ((OWN[1], linked.results.transform), (OWN[5], linked.results.inverse)):
        pointed = place_under(view(name), (30, 42))
        move_mouse(view(name), (30, 42))
        linked.desktop.process_events()
        (expected,) = to_moving(slicer.mrmlScene.GetNodeByID(result), pointed[None])
        others = OWN[3:] if "fixed" in name else OWN[:3]
        found = next(place for names, place in crosses().items() if set(others) <= set(names.split()))
        np.testing.assert_allclose(found, expected, atol=EXACT_MM)
        assert all(distance_from_slice(view(other), expected) < EXACT_MM for other in others)
