"""Slicer's segmentation files as the labels of `deepreg register`: all layers drive, are measured, and come back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.cli.label_files import carried_file, read_label_pair
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.segmentation.fractional import Fractions, read_fractions, write_fractions
from DeepRegLib.segmentation.seg_nrrd import read_layers, write_layers
from DeepRegLib.segments import Segment
from DeepRegLib.transforms import apply_to_image
from Testing.cli.conftest import Deepreg, Files
from Testing.small import small_pair, small_registration

NAMED = Segment(2, "Région 肝", (1.0, 0.5, 0.0), "a~b"), Segment(7, "seven", (0.5, 0.5, 0.5))
WHOLE = Segment(2, "all of it", (0.0, 0.0, 1.0))  # of a number that the first layer has too


def plan(labels: Image, path: Path) -> tuple[tuple[Image, ...], tuple[tuple[Segment, ...], ...]]:
    """Write a segmentation whose second layer overlaps the first, saved in a box of its own."""
    crop = tuple(slice(1, n - 1) for n in labels.array.shape)
    grid = labels.geometry
    inner = Geometry(tuple(n - 2 for n in grid.size), grid.spacing, tuple(grid.to_world([1, 1, 1])), grid.direction)
    box = Image(np.ascontiguousarray(labels.array[crop]), inner, "plan")
    layers = box, box.with_array(((box.array > 0) * 2).astype(np.uint8))
    segments = (*NAMED, Segment(250, "big", (0.0, 1.0, 0.0))), (WHOLE,)
    write_layers(layers, segments, path)
    return layers, segments


def test_overlapping_segments_come_back_from_a_registration_as_from_apply(
    deepreg: Deepreg, files: Files, tmp_path: Path
) -> None:
    fixed, moving = small_pair()[2:4]
    _, segments = plan(moving, tmp_path / "moving.seg.nrrd")
    plan(fixed, tmp_path / "fixed.seg.nrrd")
    given = ("--moving-labels", tmp_path / "moving.seg.nrrd", "--fixed-labels", tmp_path / "fixed.seg.nrrd")
    words = ("register", files.fixed, files.moving, "-o", tmp_path / "out", "--recipe", files.recipe, "--device", "cpu")
    outcome = deepreg(*words, *given)
    assert outcome.code == 0, outcome.err
    table = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert table["files"]["warped_segmentation"] == "warped_segmentation.seg.nrrd"
    assert set(table["measures"]["dice_after"]) == {"2", "7", "250"}
    layers, found = read_layers(tmp_path / "out" / "warped_segmentation.seg.nrrd")
    assert found == segments
    transform = tmp_path / "out" / "transform.h5"
    again = ("apply", transform, tmp_path / "moving.seg.nrrd", "--reference", files.fixed)
    assert deepreg(*again, "-o", tmp_path / "again.seg.nrrd").code == 0
    for one, other in zip(layers, read_layers(tmp_path / "again.seg.nrrd")[0], strict=True):
        np.testing.assert_array_equal(one.array, other.array)
        assert one.array.any()
    np.testing.assert_array_equal(layers[0].array, read_image(tmp_path / "out" / "warped_labels.nii.gz").array)


def test_segments_saved_in_a_box_lie_on_their_scan_and_numbers_that_meet_are_told_apart(
    files: Files, tmp_path: Path
) -> None:
    fixed_scan, scan, fixed, moving = small_pair()
    plan(moving, tmp_path / "moving.seg.nrrd")
    renamed = [replace(NAMED[0], label=9), replace(NAMED[1], label=2)]
    write_layers(
        [fixed.with_array(np.select([fixed.array == 2, fixed.array == 7], [9, 2], 0).astype(np.uint8))],
        [renamed],
        tmp_path / "f.seg.nrrd",
    )
    found = read_label_pair(
        (files.fixed, fixed_scan, tmp_path / "f.seg.nrrd"), (files.moving, scan, tmp_path / "moving.seg.nrrd")
    )
    assert found.moving is not None
    assert found.fixed is not None
    inside = np.zeros(moving.array.shape, bool)
    inside[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_array_equal(found.moving.array, np.where(inside, moving.array, 0))
    np.testing.assert_array_equal(found.fixed.array == 2, fixed.array == 2)  # by the name, whatever its number
    assert [each.name for each in found.structures] == ["Région 肝", "seven", "big", "all of it"]
    labels = [each.label for each in found.structures]
    assert labels[:3] == [2, 7, 250]
    assert labels[3] not in labels[:3]
    np.testing.assert_array_equal(found.layers[0].array == labels[3], (moving.array > 0) & inside)


def test_fractional_segments_drive_where_they_hold_a_half_and_come_back_fractional(tmp_path: Path) -> None:
    fixed_scan, scan, _, moving = small_pair()
    shares = moving.with_array(np.where(moving.array == 2, 0.7, np.where(moving.array == 7, 0.4, 0)).astype(np.float32))
    write_fractions(Fractions((shares,), (replace(NAMED[0], label=1),)), tmp_path / "m.seg.nrrd")
    found = read_label_pair((tmp_path, fixed_scan, None), (tmp_path, scan, tmp_path / "m.seg.nrrd"))
    assert found.moving is not None
    np.testing.assert_array_equal(found.moving.array > 0, moving.array == 2)
    result = small_registration()
    assert carried_file(found.segmented, result.transform, fixed_scan.geometry, tmp_path) == {
        "warped_segmentation": "warped_segmentation.seg.nrrd"
    }
    carried = read_fractions(tmp_path / "warped_segmentation.seg.nrrd")
    assert carried is not None
    assert carried.segments == (replace(NAMED[0], label=1),)
    expected = apply_to_image(result.transform, shares, fixed_scan.geometry, background=0.0)
    np.testing.assert_allclose(carried.images[0].array, expected.array, atol=1 / 108)


def test_a_segmentation_of_another_place_is_one_sentence(tmp_path: Path) -> None:
    fixed_scan, scan, _, moving = small_pair()
    far = replace(moving, geometry=replace(moving.geometry, origin=(9000.0, 0.0, 0.0)))
    write_layers([far], [NAMED], tmp_path / "far.seg.nrrd")
    with pytest.raises(InputError, match="no segment with a voxel"):
        read_label_pair((tmp_path, fixed_scan, None), (tmp_path, scan, tmp_path / "far.seg.nrrd"))


def test_a_plain_label_map_has_no_segmentation_file(tmp_path: Path) -> None:
    fixed_scan, scan, _, moving = small_pair()
    write_image(moving, tmp_path / "m.nii.gz")
    found = read_label_pair((tmp_path, fixed_scan, None), (tmp_path, scan, tmp_path / "m.nii.gz"))
    assert found.segmented is None
    assert carried_file(None, small_registration().transform, fixed_scan.geometry, tmp_path) == {}
