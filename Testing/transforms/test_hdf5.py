"""Transform files in HDF5: ITK reads what was written, they are small, and the same transform gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.formats.isolated import read_elsewhere
from DeepRegLib.transforms import CompositeTransform, read_transform, write_transform
from DeepRegLib.transforms.hdf5 import StoredTransform, lookup3, write_hdf5
from DeepRegLib.transforms.io import file_precision
from DeepRegLib.transforms.own_hdf5 import read_own_hdf5
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


@pytest.mark.parametrize("size", [(3, 4, 5), (90, 80, 70)])
def test_our_own_layout_is_read_at_once_and_to_the_bit_as_by_itk(size: tuple[int, int, int], tmp_path: Path) -> None:
    field = smooth_field(geometry_in("oblique", size, 2.0), 4.0, seed=2)
    first, last = random_linear(1, 5, 4), random_linear(2, 8, 3)
    path = tmp_path / "t.h5"
    for transform in (CompositeTransform((first, field, last)), field, first):
        write_transform(transform, path)
        own = read_own_hdf5(path)
        assert own is not None
        table, arrays = read_elsewhere("transform", path)
        for ours, theirs in zip(own[0]["parts"], table["parts"], strict=True):
            assert ours == {key: theirs[key] for key in ours}
        for ours, theirs in zip(own[1], arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_itk_has_written_is_left_to_itk(tmp_path: Path) -> None:
    path = tmp_path / "itk.h5"
    sitk.WriteTransform(sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), str(path))
    assert read_own_hdf5(path) is None
    np.testing.assert_array_equal(read_transform(path).apply_to_points([0.0, 0.0, 0.0]), [1.0, 2.0, 3.0])


def test_a_damaged_file_of_our_own_is_never_read_as_something_else(tmp_path: Path) -> None:
    field = smooth_field(geometry_in("LPS", (20, 21, 22), 2.0), 4.0, seed=3)
    path = tmp_path / "t.h5"
    write_transform(field, path)
    whole = path.read_bytes()
    right = read_own_hdf5(path)
    assert right is not None
    random = np.random.default_rng(0)
    for _ in range(300):
        at, bit = int(random.integers(len(whole))), int(random.integers(8))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        found = read_own_hdf5(path)  # None, or a bit that says nothing, or a number that is no more than that
        assert found is None or found[1][0].shape == right[1][0].shape
    for length in random.integers(0, len(whole), 50):
        path.write_bytes(whole[:length])
        assert read_own_hdf5(path) is None


def test_a_file_that_claims_too_much_is_left_to_itk(tmp_path: Path) -> None:
    count = 3 * 300**3  # zeros: a thousandth of their size once they are packed
    fixed = np.array([300, 300, 300, 0, 0, 0, 1, 1, 1, *np.eye(3).ravel()], dtype=np.float64)
    path = tmp_path / "t.h5"
    write_hdf5([StoredTransform("DisplacementFieldTransform_double_3_3", fixed, np.zeros(count, np.float32))], path)
    assert path.stat().st_size < count * 4 / 40
    assert read_own_hdf5(path) is None
