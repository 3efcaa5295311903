"""Transform files in HDF5: ITK reads what was written, they are small, and the same transform gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.transforms import CompositeTransform, write_transform
from DeepRegLib.transforms.hdf5 import StoredTransform, lookup3, write_hdf5
from DeepRegLib.transforms.io import file_precision
from Testing.synthetic import geometry_in, points_in, random_linear, smooth_field


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"", 0xDEADBEEF), (b"Four score and seven years ago", 0x17770551)],  # from lookup3.c itself
)
def test_the_checksum_is_that_of_its_author(text: bytes, value: int) -> None:
    assert lookup3(text) == value


@pytest.mark.parametrize("size", [(3, 4, 5), (30, 32, 34), (90, 80, 70)])
def test_itk_reads_a_field_between_linear_parts_as_it_is(size: tuple[int, int, int], tmp_path: Path) -> None:
    grid = geometry_in("oblique", size, 2.0)
    field = smooth_field(grid, 4.0, seed=2)
    chain = CompositeTransform((random_linear(1, 5, 4), field, random_linear(2, 8, 3)))
    points = points_in(grid, 2000, seed=1)
    for transform in (chain, field, chain.parts[0]):
        write_transform(transform, tmp_path / "t.h5")
        read = sitk.ReadTransform(str(tmp_path / "t.h5"))
        moved = np.array([read.TransformPoint(point.tolist()) for point in points])
        np.testing.assert_allclose(moved, transform.apply_to_points(points), atol=1e-4)


@pytest.mark.parametrize("count", [1, 20_000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 * (1 << 20)])
def test_every_number_comes_back_whatever_the_number_of_chunks(count: int, tmp_path: Path) -> None:
    side = np.random.default_rng(count)
    size = (1, 1, count)
    values = side.normal(size=3 * count).astype(np.float32)
    fixed = np.array([*size, 0, 0, 0, 1, 1, 1, *np.eye(3).ravel()], dtype=np.float64)
    write_hdf5([StoredTransform("DisplacementFieldTransform_double_3_3", fixed, values)], tmp_path / "t.h5")
    read = sitk.DisplacementFieldTransform(sitk.ReadTransform(str(tmp_path / "t.h5"))).GetDisplacementField()
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(read).ravel(), values)


def test_a_smooth_field_takes_a_quarter_and_the_same_field_the_same_bytes(tmp_path: Path) -> None:
    field = smooth_field(geometry_in("LPS", (80, 80, 80), 2.0), 6.0, seed=4)
    for name in ("a.h5", "b.h5"):
        write_transform(field, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.h5").stat().st_size < 3 * 8 * 80**3 / 4


def test_the_rounding_is_finer_where_the_voxels_are() -> None:
    for spacing, most in ((2.0, 1e-4), (0.05, 5e-5), (1e-3, 1e-6)):
        assert most / 2 < file_precision(geometry_in("LPS", (3, 3, 3), spacing)) <= most


def test_a_linear_transform_keeps_its_bits(tmp_path: Path) -> None:
    given = random_linear(4, 25, 300, 0.2, 0.1)
    write_transform(given, tmp_path / "t.h5")
    read = sitk.AffineTransform(sitk.ReadTransform(str(tmp_path / "t.h5")))
    np.testing.assert_array_equal(np.array(read.GetMatrix()).reshape(3, 3), given.matrix[:3, :3])
    np.testing.assert_array_equal(read.GetTranslation(), given.matrix[:3, 3])
