"""Slices are rendered as in the application: the right voxels at the right place, with what lies over them."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)


def test_pictures_stand_side_by_side_with_their_tops_level():
    from Testing.desktop.views import side_by_side

    tall, small = np.full((4, 2, 3), 10, np.uint8), np.full((2, 3, 3), 20, np.uint8)
    picture = side_by_side([tall, small], gap=1)
    assert picture.shape == (4, 6, 3)
    assert picture[0, 0, 0] == 10
    assert picture[0, 2, 0] == 255
    assert picture[0, 3, 0] == 20
    assert picture[3, 3, 0] == 255
    assert side_by_side([tall, small], gap=1, columns=1).shape == (7, 3, 3)


def test_a_picture_is_the_same_after_writing_and_reading(tmp_path):
    from Testing.desktop.views import read_picture, write_picture

    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_picture(picture, tmp_path / "picture.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "picture.png"), picture)


@pytest.fixture(scope="module")
def gl():
    """Skip where nothing can be rendered."""
    from Testing.desktop.views import rendering_available

    if not rendering_available():
        pytest.skip("VTK finds no OpenGL to render with (install libosmesa6)")


@pytest.fixture
def volume(scene):
    """Return a volume that is dark on the patient's left, grey on the right, and white on top; 1 mm voxels."""
    voxels = np.zeros((21, 40, 40), np.float32)
    voxels[:, :, 20:] = 50
    voxels[20] = 100
    node = slicer.util.addVolumeFromArray(voxels, ijkToRAS=np.eye(4), name="Steps")
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(0, 100)
    return node


@pytest.fixture
def view(gl, scene):
    """Yield an axial view of 200 by 200 pixels."""
    from Testing.desktop.views import SliceView

    view = SliceView("Test", "Axial", (200, 200))
    yield view
    view.close()


def test_a_slice_shows_the_patients_right_on_the_left(view, volume):
    view.show(volume)
    view.jump_to((20, 20, 10))
    picture = view.picture()
    assert picture[100, 50].tolist() == pytest.approx([127] * 3, abs=2)
    assert picture[100, 150].tolist() == [0, 0, 0]


def test_a_slice_moves_through_the_volume(view, volume):
    view.show(volume)
    view.jump_to((20, 20, 20))
    assert view.picture()[100, 100].tolist() == [255] * 3


def test_a_coronal_slice_has_the_head_up(gl, volume):
    from Testing.desktop.views import SliceView

    view = SliceView("Test", "Coronal", (200, 200))
    view.show(volume)
    view.jump_to((20, 20, 10))
    picture = view.picture()
    view.close()
    column = np.flatnonzero(picture[:, 150].max(axis=1) > 200)
    assert 0 < column.size < 15
    assert column.mean() < 80


def test_a_segment_is_blended_over_the_volume(view, volume):
    view.show(volume)
    view.jump_to((20, 20, 10))
    plain = view.picture()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("a", "a", (1, 0, 0))
    mask = np.zeros((21, 40, 40), np.uint8)
    mask[:, 10:30, 22:38] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    picture = view.picture()
    red, green, _ = picture[100, 50].tolist()
    assert red > 180
    assert 50 < green < plain[100, 50, 1]
    assert picture[100, 150].tolist() == [0, 0, 0]


def test_a_markup_is_drawn_at_its_place(view, volume):
    view.show(volume)
    view.jump_to((20, 20, 10))
    plain = view.picture().astype(int)
    markup = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    markup.CreateDefaultDisplayNodes()
    markup.GetDisplayNode().SetPointLabelsVisibility(False)
    markup.AddControlPoint(10, 20, 10)
    changed = np.argwhere(np.abs(view.picture() - plain).max(axis=2) > 50)
    assert changed.mean(axis=0) == pytest.approx([100, 150], abs=6)
