"""Segmentation files: names, colours and terminology there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from DeepRegLib.segmentation import Segment
from DeepRegLib.segmentation.seg_nrrd import read_segmentation, write_segmentation
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
