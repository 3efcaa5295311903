"""Segmentation files: names, colours and terminology there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from DeepRegLib.segmentation import Segment
from DeepRegLib.segmentation.seg_nrrd import read_layers, read_segmentation, write_layers, write_segmentation
from DeepRegLib.segmentation.segments import colour_of
from Testing.segmentation.atlases import SEGMENTS
from Testing.synthetic import geometry_in, label_map

GRID = geometry_in("oblique", (9, 8, 10), 2.5)


def test_names_colours_and_terminology_come_back(tmp_path: Path) -> None:
    labels = label_map(GRID)
    write_segmentation(labels, SEGMENTS, tmp_path / "plan.seg.nrrd")
    again, segments = read_segmentation(tmp_path / "plan.seg.nrrd")
    assert segments == SEGMENTS
    np.testing.assert_array_equal(again.array, labels.array)
    assert again.geometry.is_close(labels.geometry)


def test_five_hundred_segments_come_back(tmp_path: Path) -> None:
    labels = Image(np.arange(720, dtype=np.int32).reshape(10, 8, 9) % 501, GRID)
    segments = tuple(Segment(n, f"Région n° {n}", colour_of(n)) for n in range(1, 501))
    write_segmentation(labels, segments, tmp_path / "many.seg.nrrd")
    again, found = read_segmentation(tmp_path / "many.seg.nrrd")
    assert found == segments
    np.testing.assert_array_equal(again.array, labels.array)


def test_an_empty_segmentation_comes_back(tmp_path: Path) -> None:
    write_segmentation(Image(np.zeros(GRID.shape, np.uint8), GRID), (), tmp_path / "none.seg.nrrd")
    labels, segments = read_segmentation(tmp_path / "none.seg.nrrd")
    assert (int(labels.array.max()), segments) == (0, ())


def test_a_name_cannot_add_a_line_to_the_header(tmp_path: Path) -> None:
    evil = Segment(1, "a\nSegment1_LabelValue:=2\r\nSegment1_Name:=b", (1.0, 0.0, 0.0), "x\ny")
    labels = Image(np.ones((2, 3, 4), np.uint8), Geometry((4, 3, 2)))
    write_segmentation(labels, (evil,), tmp_path / "evil.seg.nrrd")
    _, found = read_segmentation(tmp_path / "evil.seg.nrrd")
    assert [(segment.label, segment.terminology) for segment in found] == [(1, "x y")]


def test_a_plain_label_map_has_no_names(tmp_path: Path) -> None:
    write_image(label_map(GRID), tmp_path / "labels.nii.gz")
    assert read_segmentation(tmp_path / "labels.nii.gz")[1] == ()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="End it in"):
        write_segmentation(label_map(GRID), (), tmp_path / "plan.nrrd")
    with pytest.raises(InputError, match="Number them from 0 to 65535"):
        write_segmentation(Image(np.full(GRID.shape, 70000), GRID), (), tmp_path / "plan.seg.nrrd")
    with pytest.raises(InputError, match="background"):
        Segment(0, "air", (0.0, 0.0, 0.0))
    assert list(tmp_path.iterdir()) == []


def test_slicer_reads_the_segments(scene, tmp_path: Path) -> None:
    import slicer

    write_segmentation(label_map(GRID), SEGMENTS, tmp_path / "plan.seg.nrrd")
    node = slicer.util.loadSegmentation(str(tmp_path / "plan.seg.nrrd"))
    segmentation = node.GetSegmentation()
    found = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    assert [segment.GetName() for segment in found] == [segment.name for segment in SEGMENTS]
    np.testing.assert_allclose([segment.GetColor() for segment in found], [s.colour for s in SEGMENTS], atol=1e-5)
    assert [segment.GetLabelValue() for segment in found] == [2, 7, 250]
    layers, segments = overlapping()
    write_layers(layers, segments, tmp_path / "overlapping.seg.nrrd")
    segmentation = slicer.util.loadSegmentation(str(tmp_path / "overlapping.seg.nrrd")).GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == [segment.name for each in segments for segment in each]
    assert segmentation.GetNumberOfLayers() == len(layers)


def overlapping() -> tuple[tuple[Image, ...], tuple[tuple[Segment, ...], ...]]:
    rng = np.random.default_rng(0)
    layers = tuple(Image((rng.random(GRID.shape) > 0.6) * np.uint8(top), GRID) for top in (1, 1, 7))
    segments = (
        (Segment(1, "肝臓", (0.8, 0.2, 0.1), "Segmentation category and type~SCT^123037004^Anatomical Structure~"),),
        (Segment(1, "a name with spaces", (0.1, 0.2, 0.3)),),
        (Segment(7, "Tumor", (0.5, 1.0, 0.0)),),
    )
    return layers, segments


def test_overlapping_segments_come_back_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    layers, segments = overlapping()
    write_layers(layers, segments, tmp_path / "plan.seg.nrrd")
    again, found = read_layers(tmp_path / "plan.seg.nrrd")
    assert found == segments
    for layer, other in zip(layers, again, strict=True):
        np.testing.assert_array_equal(layer.array, other.array)
        assert layer.geometry.is_close(other.geometry)


def test_itk_reads_overlapping_segments_as_components_on_the_same_grid(tmp_path: Path) -> None:
    layers, segments = overlapping()
    write_layers(layers, segments, tmp_path / "plan.seg.nrrd")
    picture = sitk.ReadImage(str(tmp_path / "plan.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(picture)[..., 2], layers[2].array)
    np.testing.assert_allclose(picture.GetDirection(), GRID.direction, atol=1e-6)
    np.testing.assert_allclose(picture.GetOrigin(), GRID.origin, atol=1e-6)
    assert picture.GetMetaData("Segment2_Name") == "Tumor"
    assert picture.GetMetaData("Segment1_Layer") == "1"


def test_a_segment_in_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    layers, segments = overlapping()
    write_layers(layers, segments, tmp_path / "plan.seg.nrrd")
    content = (tmp_path / "plan.seg.nrrd").read_bytes()
    (tmp_path / "plan.seg.nrrd").write_bytes(content.replace(b"Segment2_Layer:=2", b"Segment2_Layer:=9"))
    with pytest.raises(InputError, match="lies in the layer '9', of 3"):
        read_layers(tmp_path / "plan.seg.nrrd")


def test_one_layer_is_written_as_a_plain_segmentation(tmp_path: Path) -> None:
    write_layers((label_map(GRID),), (SEGMENTS,), tmp_path / "plan.seg.nrrd")
    assert read_segmentation(tmp_path / "plan.seg.nrrd")[1] == SEGMENTS
    assert read_layers(tmp_path / "plan.seg.nrrd")[1] == (SEGMENTS,)
