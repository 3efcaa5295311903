"""Fractional segments: their shares read, carried over linearly and written again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.segmentation import Segment
from DeepRegLib.segmentation.carrying import carried_scan, read_segmented, volume_rows, write_segmented
from DeepRegLib.segmentation.fractional import Fractions, Scale, read_fractions, write_fractions
from DeepRegLib.segmentation.seg_nrrd import read_layers, read_segmentation, write_segmentation
from DeepRegLib.segmentation.seg_nrrd_header import FRACTIONAL, keys_of, write_stack
from DeepRegLib.transforms import LinearTransform
from Testing.synthetic import geometry_in

GRID = geometry_in("oblique", (14, 12, 10), 2.0)
SEGMENTS = (Segment(1, "Läsion 1", (0.8, 0.2, 0.1), "SCT^1~"), Segment(2, "肝", (0.0, 0.5, 1.0)))


def ball(radius: float, centre: tuple[float, float, float]) -> Image:
    """Return the share of each voxel that a ball holds, about."""
    away = np.linalg.norm(np.indices(GRID.shape) - np.reshape(centre, (3, 1, 1, 1)), axis=0)
    return Image(np.clip(radius + 0.5 - away, 0, 1).astype(np.float32), GRID)


def balls(scale: Scale | None = None) -> Fractions:
    images = ball(3.2, (5, 6, 5)), ball(2.4, (5, 5, 8))
    return Fractions(images, SEGMENTS) if scale is None else Fractions(images, SEGMENTS, scale)


@pytest.mark.parametrize(
    ("scale", "step"),
    [(None, 1 / 216), (Scale(0, 255, "u1"), 1 / 255), (Scale(0, 1, "f4"), 1e-6), (Scale(-5, 5, "i2"), 0.1)],
)
def test_shares_come_back_as_they_were_stored(tmp_path: Path, scale: Scale | None, step: float) -> None:
    given = balls(scale)
    write_fractions(given, tmp_path / "a.seg.nrrd")
    again = read_fractions(tmp_path / "a.seg.nrrd")
    assert again is not None
    assert (again.segments, again.scale) == (given.segments, given.scale)
    for one, other in zip(given.images, again.images, strict=True):
        np.testing.assert_allclose(other.array, one.array, atol=step / 2 + 1e-6)
        assert other.geometry.is_close(GRID)


def test_what_needs_label_maps_gets_what_holds_a_half(tmp_path: Path) -> None:
    given = balls()
    write_fractions(given, tmp_path / "a.seg.nrrd")
    layers, segments = read_layers(tmp_path / "a.seg.nrrd")
    for layer, image, each in zip(layers, given.images, segments, strict=True):
        sure = np.abs(image.array - 0.5) > 0.01
        np.testing.assert_array_equal((layer.array == each[0].label)[sure], (image.array > 0.5)[sure])
    labels, found = read_segmentation(tmp_path / "a.seg.nrrd")
    assert found == given.segments
    more = given.images[0].array > given.images[1].array + 0.02
    assert set(np.unique(labels.array[more & (given.images[0].array > 0.52)])) == {1}


def test_they_are_carried_linearly_and_come_back_fractional(tmp_path: Path) -> None:
    given = balls(Scale(0, 1, "f4"))
    write_fractions(given, tmp_path / "a.seg.nrrd")
    half = np.eye(4)
    half[:3, 3] = GRID.axes[:, 0] * GRID.spacing[0] / 2  # half of a voxel along i
    content = read_segmented(tmp_path / "a.seg.nrrd")
    carried, warnings = carried_scan(content, LinearTransform(half), GRID)
    write_segmented(carried, tmp_path / "b.seg.nrrd")
    again = read_fractions(tmp_path / "b.seg.nrrd")
    assert again is not None
    assert (again.segments, again.scale, warnings) == (given.segments, given.scale, ())
    for one, other in zip(given.images, again.images, strict=True):
        between = (one.array[..., :-1] + one.array[..., 1:]) / 2
        np.testing.assert_allclose(other.array[..., :-1], between, atol=1e-5)
    for row, image in zip(volume_rows(content, carried), given.images, strict=True):
        volume = float(image.array.sum()) * GRID.voxel_volume / 1000
        assert row["volume_before_ml"] == pytest.approx(volume, rel=1e-4)
        assert row["volume_after_ml"] == pytest.approx(volume, rel=0.01)


def test_a_file_without_a_range_is_read_in_slicers_and_empty_outside_of_its_boxes(tmp_path: Path) -> None:
    # As Slicer's writer lays it out: bytes with a sign, no word of the range, 0 (a half) around a segment's box.
    given = balls()
    keys = keys_of(GRID, [[replace(segment, label=1)] for segment in SEGMENTS], FRACTIONAL)
    layers = []
    for number, image in enumerate(given.images):
        stored = given.scale.stored(image.array)
        there = np.argwhere(image.array > 0)
        low, high = there.min(axis=0), there.max(axis=0)
        box = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
        layers.append(np.zeros_like(stored))
        layers[-1][box] = stored[box]
        keys[f"Segment{number}_Extent"] = " ".join(f"{a} {b}" for a, b in zip(low[::-1], high[::-1], strict=True))
    write_stack(tmp_path / "slicer.seg.nrrd", GRID, np.stack(layers, axis=-1), keys)
    again = read_fractions(tmp_path / "slicer.seg.nrrd")
    assert again is not None
    assert again.segments == SEGMENTS
    for one, other in zip(given.images, again.images, strict=True):
        np.testing.assert_allclose(other.array, one.array, atol=1 / 216 + 1e-6)


def test_a_file_of_labels_has_no_shares_and_a_wrong_range_is_one_sentence(tmp_path: Path) -> None:
    write_segmentation(balls().merged, SEGMENTS, tmp_path / "labels.seg.nrrd")
    assert read_fractions(tmp_path / "labels.seg.nrrd") is None
    write_fractions(balls(), tmp_path / "a.seg.nrrd")
    content = (tmp_path / "a.seg.nrrd").read_bytes()
    for bad in (b"108 -108", b"0 x", b"nan 1"):
        (tmp_path / "bad.seg.nrrd").write_bytes(content.replace(b"-108 108", bad))
        with pytest.raises(InputError):
            read_segmented(tmp_path / "bad.seg.nrrd")
