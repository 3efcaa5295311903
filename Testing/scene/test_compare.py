from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.image import Image, resample
from DeepRegLib.scene.compare import blend, checkerboard, red_cyan, remove_helpers
from DeepRegLib.scene.results import remove_results
from DeepRegLib.scene.transforms import add_transform
from DeepRegLib.scene.views import link, put_back, put_back_all, remember, show_layers
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
    show_layers(views, blend(fixed, warped, 0.3))
    alpha = slicer.vtkMRMLSliceCompositeNode.Alpha
    assert all(shown(view)[:4] == (fixed.GetID(), warped.GetID(), 0.3, alpha) for view in views)


def test_red_and_cyan_add_up_each_in_its_own_window(scene, views, fixed, warped) -> None:
    before = [displayed(volume) for volume in (fixed, warped)]
    layers = red_cyan(scene, fixed, warped)
    assert layers.compositing == slicer.vtkMRMLSliceCompositeNode.Add
    assert [displayed(volume) for volume in (fixed, warped)] == before
    for volume, identifier, colours in ((fixed, layers.background, "Red"), (warped, layers.foreground, "Cyan")):
        helper = scene.GetNodeByID(identifier)
        assert helper.GetImageData().GetPointData().GetScalars() is volume.GetImageData().GetPointData().GetScalars()
        assert image_from_volume(helper).geometry.is_close(image_from_volume(volume).geometry)
        display = helper.GetDisplayNode()
        assert display.GetColorNode().GetName() == colours
        low, high = np.percentile(voxels_of(volume.GetImageData()), (1, 99))
        assert display.GetWindowLevelMin() == pytest.approx(low, abs=1)
        assert display.GetWindowLevelMax() == pytest.approx(high, rel=0.02)


def test_a_coloured_volume_stays_under_its_transform(scene, fixed, warped) -> None:
    warped.SetAndObserveTransformNodeID(add_transform(scene, strong_transform(), "result").GetID())
    helper = scene.GetNodeByID(red_cyan(scene, fixed, warped).foreground)
    assert helper.GetTransformNodeID() == warped.GetTransformNodeID()


def test_linked_views_move_together(scene, views) -> None:
    link(views, True)
    assert all(view.GetLinkedControl() and view.GetHotLinkedControl() for view in views)
    link(views, False)
    assert not any(view.GetLinkedControl() or view.GetHotLinkedControl() for view in views)


def board_of(scene, fixed, warped, squares) -> slicer.vtkMRMLScalarVolumeNode:
    """Return the helper that shows a checkerboard."""
    return scene.GetNodeByID(checkerboard(scene, fixed, warped, squares).background)


def as_grey(image: Image) -> np.ndarray:
    low, high = np.percentile(image.array, (1, 99))
    return np.clip((image.array.astype(float) - low) / (high - low) * 255, 0, 255)


def test_a_checkerboard_takes_turns(scene, views, fixed, warped) -> None:
    helper = board_of(scene, fixed, warped, 4)
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
    assert not board_of(scene, fixed, warped, 4).GetDisplayNode().GetInterpolate()


def test_cubes_of_a_checkerboard_are_as_wide_as_high_in_mm(scene, views) -> None:
    grid = geometry_in("LPS", (40, 20, 8), (1.0, 2.0, 5.0))
    black = add_volume(scene, Image(np.zeros(grid.shape, np.uint8), grid), "black")
    noise = np.random.default_rng(0).integers(100, 200, grid.shape).astype(np.uint8)
    board = image_from_volume(board_of(scene, black, add_volume(scene, Image(noise, grid), "noise"), 4)).array
    for axis, count in ((0, 8), (1, 20), (2, 40)):
        line = np.moveaxis(board, axis, 0)[:, 0, 0] > 0
        edges = np.flatnonzero(np.diff(line)) + 1
        assert set(edges) <= set(range(0, count, count // 4))


def test_a_checkerboard_of_another_grid_is_resampled(scene, views, fixed) -> None:
    other = blobs(OTHER_GRID, seed=1)
    helper = board_of(scene, fixed, add_volume(scene, other, "other"), 2)
    expected = resample(other, GRID, background=float(other.array.min()))
    board = image_from_volume(helper).array
    low, high = np.percentile(expected.array, (1, 99))
    grey = np.clip((expected.array - low) / (high - low) * 255, 0, 255)
    assert np.abs(board[:12, :12, 14:] - grey[:12, :12, 14:]).max() < 3


def test_a_moving_volume_under_its_transform_can_be_compared(scene, views, fixed) -> None:
    moving, transform = blobs(OTHER_GRID, seed=1), strong_transform()
    node = add_volume(scene, moving, "moving")
    node.SetAndObserveTransformNodeID(add_transform(scene, transform, "result").GetID())
    helper = board_of(scene, fixed, node, 2)
    expected = apply_to_image(transform, moving, GRID).array
    low, high = np.percentile(expected, (1, 99))
    grey = np.clip((expected - low) / (high - low) * 255, 0, 255)
    board = image_from_volume(helper).array
    assert np.abs(board[:12, :12, 14:] - grey[:12, :12, 14:]).max() < 3


def test_leaving_puts_views_back(scene, views, fixed, warped) -> None:
    views[0].SetBackgroundVolumeID(warped.GetID())
    views[1].SetForegroundOpacity(0.7)
    views[2].SetLinkedControl(True)
    nodes, before = all_ids(scene), [shown(view) for view in views]
    for layers in (blend(fixed, warped, 0.5), red_cyan(scene, fixed, warped), checkerboard(scene, fixed, warped)):
        remember(views)  # again and again: the first time counts
        link(views, True)
        show_layers(views, layers)
    put_back(views)
    remove_helpers(scene)
    assert [shown(view) for view in views] == before
    assert all_ids(scene) == nodes
    put_back(views)
    assert [shown(view) for view in views] == before


def test_removing_results_removes_the_helpers(scene, views, fixed, warped) -> None:
    nodes = all_ids(scene)
    checkerboard(scene, fixed, warped)
    red_cyan(scene, fixed, warped)
    remove_results(scene)
    assert all_ids(scene) == nodes


def test_volumes_and_views_deleted_meanwhile_are_done_without(scene, views, fixed, warped) -> None:
    views[0].SetBackgroundVolumeID(fixed.GetID())
    remember(views)
    show_layers(views, red_cyan(scene, fixed, warped))
    scene.RemoveNode(fixed)
    scene.RemoveNode(views[1])
    put_back_all(scene)
    assert views[0].GetBackgroundVolumeID() is None


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"opacity": "x"}', "[" * 100_000, '{"opacity": 1e999, "compositing": {}}']
)
def test_what_someone_else_wrote_on_a_view_does_no_harm(scene, views, fixed, text) -> None:
    views[0].SetAttribute("DeepReg.Before", text)
    views[0].SetBackgroundVolumeID(fixed.GetID())
    put_back_all(scene)
    assert shown(views[0]) == (None, None, 0.0, slicer.vtkMRMLSliceCompositeNode.Alpha, False, False)
    assert views[0].GetAttribute("DeepReg.Before") is None
