from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.image import Image, resample
from DeepRegLib.scene.compare import (
    capture,
    restore,
    set_linked,
    show_blend,
    show_checkerboard,
    show_flicker_phase,
    show_red_cyan,
)
from DeepRegLib.scene.results import remove_results
from DeepRegLib.scene.transforms import add_transform
from DeepRegLib.scene.volumes import add_volume, image_from_volume
from DeepRegLib.scene.world import voxels_of
from DeepRegLib.transforms import apply_to_image
from Testing.scene.nodes import all_ids
from Testing.scene.results import strong_transform
from Testing.synthetic import blobs, geometry_in

GRID = geometry_in("oblique", (24, 26, 22))
OTHER_GRID = geometry_in("anisotropic", (22, 24, 26))


@pytest.fixture
def views(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    nodes = []
    for name in ("Red", "Yellow", "Green"):
        node = slicer.vtkMRMLSliceCompositeNode()
        node.SetLayoutName(name)
        nodes.append(scene.AddNode(node))
    return nodes


@pytest.fixture
def fixed(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    return add_volume(scene, blobs(GRID), "fixed")


@pytest.fixture
def warped(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    image = blobs(GRID, seed=1)
    return add_volume(scene, image.with_array(image.array * 3 + 100), "warped")


def shown(node: slicer.vtkMRMLSliceCompositeNode) -> tuple:
    return (
        node.GetBackgroundVolumeID(),
        node.GetForegroundVolumeID(),
        node.GetForegroundOpacity(),
        node.GetCompositing(),
        node.GetLinkedControl(),
        node.GetHotLinkedControl(),
    )


def displayed(volume: slicer.vtkMRMLScalarVolumeNode) -> tuple:
    display = volume.GetDisplayNode()
    return display.GetColorNodeID(), display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()


def test_a_blend_shows_the_warped_volume_over_the_fixed_one(scene, views, fixed, warped) -> None:
    show_blend(scene, fixed, warped, 0.3)
    alpha = slicer.vtkMRMLSliceCompositeNode.Alpha
    assert all(shown(view)[:4] == (fixed.GetID(), warped.GetID(), 0.3, alpha) for view in views)


def test_flicker_shows_one_or_the_other(scene, views, fixed, warped) -> None:
    show_blend(scene, fixed, warped, 1.0)
    for phase in (0, 1):
        show_flicker_phase(scene, phase)
        assert all(view.GetForegroundOpacity() == phase for view in views)


def test_red_and_cyan_add_up_each_in_its_own_window(scene, views, fixed, warped) -> None:
    show_red_cyan(scene, fixed, warped)
    assert all(view.GetCompositing() == slicer.vtkMRMLSliceCompositeNode.Add for view in views)
    for volume, colours in ((fixed, "Red"), (warped, "Cyan")):
        display = volume.GetDisplayNode()
        assert display.GetColorNode().GetName() == colours
        low, high = np.percentile(voxels_of(volume.GetImageData()), (1, 99))
        assert display.GetWindowLevelMin() == pytest.approx(low, abs=1)
        assert display.GetWindowLevelMax() == pytest.approx(high, rel=0.02)


def test_linked_views_move_together(scene, views) -> None:
    set_linked(scene, True)
    assert all(view.GetLinkedControl() and view.GetHotLinkedControl() for view in views)
    set_linked(scene, False)
    assert not any(view.GetLinkedControl() or view.GetHotLinkedControl() for view in views)


def as_grey(image: Image) -> np.ndarray:
    low, high = np.percentile(image.array, (1, 99))
    return np.clip((image.array.astype(float) - low) / (high - low) * 255, 0, 255)


def test_a_checkerboard_takes_turns(scene, views, fixed, warped) -> None:
    helper = show_checkerboard(scene, fixed, warped, squares=4)
    assert all(view.GetBackgroundVolumeID() == helper.GetID() for view in views)
    assert helper.GetHideFromEditors()
    board = image_from_volume(helper)
    assert board.geometry.is_close(GRID)
    from_fixed = np.abs(board.array - as_grey(image_from_volume(fixed))) < 2
    from_warped = np.abs(board.array - as_grey(image_from_volume(warped))) < 2
    assert np.all(from_fixed | from_warped)
    # A fourth of the longest edge: 6 or 7 voxels of 26.
    assert from_fixed[:6, :6, :6].all()
    assert from_warped[:6, :6, 7:12].all()
    assert from_warped[:6, 7:12, :6].all()
    assert from_fixed[:6, 7:12, 7:12].all()


def test_a_slice_between_two_layers_of_cubes_still_shows_cubes(scene, views, fixed, warped) -> None:
    # Linear interpolation would show half of each volume everywhere, just where a view is centred.
    assert not show_checkerboard(scene, fixed, warped, squares=4).GetDisplayNode().GetInterpolate()


def test_cubes_of_a_checkerboard_are_as_wide_as_high_in_mm(scene, views) -> None:
    grid = geometry_in("LPS", (40, 20, 8), (1.0, 2.0, 5.0))
    black = add_volume(scene, Image(np.zeros(grid.shape, np.uint8), grid), "black")
    noise = np.random.default_rng(0).integers(100, 200, grid.shape).astype(np.uint8)
    board = image_from_volume(show_checkerboard(scene, black, add_volume(scene, Image(noise, grid), "noise"), 4)).array
    for axis, count in ((0, 8), (1, 20), (2, 40)):
        line = np.moveaxis(board, axis, 0)[:, 0, 0] > 0
        edges = np.flatnonzero(np.diff(line)) + 1
        assert set(edges) <= set(range(0, count, count // 4))


def test_a_checkerboard_of_another_grid_is_resampled(scene, views, fixed) -> None:
    other = blobs(OTHER_GRID, seed=1)
    helper = show_checkerboard(scene, fixed, add_volume(scene, other, "other"), squares=2)
    expected = resample(other, GRID, background=float(other.array.min()))
    board = image_from_volume(helper).array
    low, high = np.percentile(expected.array, (1, 99))
    grey = np.clip((expected.array - low) / (high - low) * 255, 0, 255)
    assert np.abs(board[:12, :12, 14:] - grey[:12, :12, 14:]).max() < 3


def test_a_moving_volume_under_its_transform_can_be_compared(scene, views, fixed) -> None:
    moving, transform = blobs(OTHER_GRID, seed=1), strong_transform()
    node = add_volume(scene, moving, "moving")
    node.SetAndObserveTransformNodeID(add_transform(scene, transform, "result").GetID())
    helper = show_checkerboard(scene, fixed, node, squares=2)
    expected = apply_to_image(transform, moving, GRID).array
    low, high = np.percentile(expected, (1, 99))
    grey = np.clip((expected - low) / (high - low) * 255, 0, 255)
    board = image_from_volume(helper).array
    assert np.abs(board[:12, :12, 14:] - grey[:12, :12, 14:]).max() < 3


def test_leaving_puts_views_and_colours_back(scene, views, fixed, warped) -> None:
    views[0].SetBackgroundVolumeID(warped.GetID())
    views[1].SetForegroundOpacity(0.7)
    views[2].SetLinkedControl(True)
    warped.GetDisplayNode().SetAutoWindowLevel(True)
    nodes = all_ids(scene)
    before = [shown(view) for view in views], [displayed(volume) for volume in (fixed, warped)]
    state = capture(scene)
    set_linked(scene, True)
    show_red_cyan(scene, fixed, warped)
    show_checkerboard(scene, fixed, warped)
    show_blend(scene, fixed, warped, 0.5)
    show_flicker_phase(scene, 1)
    restore(scene, state)
    assert ([shown(view) for view in views], [displayed(volume) for volume in (fixed, warped)]) == before
    assert all_ids(scene) == nodes


def test_a_second_checkerboard_takes_the_place_of_the_first(scene, views, fixed, warped) -> None:
    first = show_checkerboard(scene, fixed, warped, squares=4)
    nodes = all_ids(scene)
    assert show_checkerboard(scene, fixed, warped, squares=2) is first
    assert all_ids(scene) == nodes


def test_removing_results_removes_the_helper(scene, views, fixed, warped) -> None:
    nodes = all_ids(scene)
    show_checkerboard(scene, fixed, warped)
    remove_results(scene)
    assert all_ids(scene) == nodes


def test_volumes_and_views_deleted_meanwhile_are_done_without(scene, views, fixed, warped) -> None:
    views[0].SetBackgroundVolumeID(fixed.GetID())
    state = capture(scene)
    show_red_cyan(scene, fixed, warped)
    scene.RemoveNode(fixed)
    scene.RemoveNode(views[1])
    restore(scene, state)
    assert views[0].GetBackgroundVolumeID() is None


def test_without_views_nothing_happens(scene, fixed, warped) -> None:
    state = capture(scene)
    show_blend(scene, fixed, warped, 0.5)
    show_red_cyan(scene, fixed, warped)
    show_flicker_phase(scene, 0)
    show_checkerboard(scene, fixed, warped)
    set_linked(scene, True)
    restore(scene, state)
