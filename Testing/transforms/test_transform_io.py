"""Transform files: what SimpleITK (and so Slicer) reads, what is read back, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image
from DeepRegLib.transforms import (
    DisplacementField,
    DisplacementPlanes,
    LinearTransform,
    Transform,
    compose,
    displacement_on_grid,
    read_transform,
    transform_from_sitk,
    write_transform,
)
from DeepRegLib.transforms.io import FIELD_SUFFIXES, TRANSFORM_SUFFIXES
from Testing.synthetic import ORIENTATIONS, geometry_in, points_in, random_linear, smooth_field

GRID = geometry_in("oblique", (10, 9, 8), 4.0)
FIELD = smooth_field(GRID, 5.0, seed=1)
AFFINE = random_linear(3, 25, 30, 0.2, 0.2)
KINDS: dict[str, Transform] = {"linear": AFFINE, "field": FIELD, "composite": compose(AFFINE, FIELD, random_linear(5))}
POINTS = points_in(GRID, 100, seed=6)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_transform(path)
    assert path.name in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", TRANSFORM_SUFFIXES)
def test_simpleitk_reads_the_file_and_maps_points_the_same_way(kind: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"transform{ending}"
    if ending == ".mat" and kind == "composite":
        # ITK writes such a file and then cannot read it.
        with pytest.raises(InputError, match=r"\.mat"):
            write_transform(KINDS[kind], path)
        return
    write_transform(KINDS[kind], path)
    ours = KINDS[kind].apply_to_points(POINTS)
    itk = sitk.ReadTransform(str(path))
    theirs = np.array([itk.TransformPoint(tuple(p)) for p in POINTS])
    assert np.abs(theirs - ours).max() < 1e-4
    assert np.abs(read_transform(str(path)).apply_to_points(POINTS) - ours).max() < 1e-4
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_linear_result_stays_twelve_numbers(tmp_path: Path) -> None:
    write_transform(AFFINE, tmp_path / "t.tfm")
    assert (tmp_path / "t.tfm").stat().st_size < 1000
    back = read_transform(tmp_path / "t.tfm")
    assert isinstance(back, LinearTransform)
    np.testing.assert_allclose(back.matrix, AFFINE.matrix, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("ending", FIELD_SUFFIXES)
def test_a_field_file_on_a_grid_is_the_transform_at_its_voxels(
    ending: str, orientation: str, kind: str, tmp_path: Path
) -> None:
    path, grid = tmp_path / f"field{ending}", geometry_in(orientation, (7, 6, 10), 4.0)
    write_transform(KINDS[kind], path, grid)
    centres = grid.points()
    expected = KINDS[kind].apply_to_points(centres)
    picture = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    itk = sitk.DisplacementFieldTransform(picture)
    theirs = np.array([itk.TransformPoint(tuple(p)) for p in centres[1:-1, 1:-1, 1:-1].reshape(-1, 3)])
    assert np.abs(theirs - expected[1:-1, 1:-1, 1:-1].reshape(-1, 3)).max() < 1e-4
    back = read_transform(path)
    assert isinstance(back, DisplacementField)
    assert np.abs(back.geometry.corners() - grid.corners()).max() < 1e-4
    assert np.abs(centres + back.array - expected).max() < 1e-4


def test_a_field_without_a_grid_keeps_its_own(tmp_path: Path) -> None:
    write_transform(FIELD, tmp_path / "f.nrrd")
    back = read_transform(tmp_path / "f.nrrd")
    assert isinstance(back, DisplacementField)
    assert back.geometry.is_close(GRID)
    np.testing.assert_allclose(back.array, FIELD.array, atol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "composite"])
def test_another_transform_needs_a_grid(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{kind}.*grid") as caught:
        write_transform(KINDS[kind], tmp_path / "f.nrrd")
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_displacement_on_grid_is_the_way_of_every_voxel_centre(orientation: str, kind: str) -> None:
    grid = geometry_in(orientation, (8, 7, 6), 3.0)
    centres = grid.points()
    displacement = displacement_on_grid(KINDS[kind], grid)
    np.testing.assert_allclose(displacement, KINDS[kind].apply_to_points(centres) - centres, atol=1e-8)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_planes_are_those_of_the_whole_grid(orientation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = geometry_in(orientation, (8, 7, 6), 3.0)
    monkeypatch.setattr("DeepRegLib.transforms.planes.PLANES_VOXELS", 3 * 56)
    beside = smooth_field(geometry_in(orientation, (9, 5, 7), 2.3), 4.0)
    for transform in (KINDS["composite"], KINDS["field"], beside):
        whole, planes = displacement_on_grid(transform, grid), DisplacementPlanes(transform, grid)
        assert planes.shape == whole.shape
        for part in (slice(0, 2), slice(1, 3), slice(2, 5), slice(0, 6), slice(4, 9)):
            np.testing.assert_allclose(planes[part], whole[part], atol=1e-5)


def test_a_transform_in_itks_other_forms_is_read(tmp_path: Path) -> None:
    """What other programs write: rotation centres, versors, scales, composites."""
    euler = sitk.Euler3DTransform((10, 20, 30), 0.1, -0.2, 0.3, (1, 2, 3))
    similarity = sitk.Similarity3DTransform(1.2, (0.0, 0.6, 0.8), 0.4, (4, 5, 6), (10, 0, -10))
    affine = sitk.AffineTransform(3)
    affine.SetCenter((7, 8, 9))
    affine.Rotate(0, 1, 0.3)
    composite = sitk.CompositeTransform([euler, affine, similarity])
    others = [
        euler,
        similarity,
        affine,
        sitk.VersorRigid3DTransform((0.0, 0.6, 0.8), 0.4, (4, 5, 6), (1, 0, 0)),
        sitk.ScaleTransform(3, (1.1, 0.9, 1.3)),
        sitk.TranslationTransform(3, (1, 2, 3)),
        composite,
    ]
    for number, itk in enumerate(others):
        path = tmp_path / f"{number}.h5"
        sitk.WriteTransform(itk, str(path))
        transform = read_transform(path)
        expected = [itk.TransformPoint(tuple(p)) for p in POINTS]
        np.testing.assert_allclose(transform.apply_to_points(POINTS), expected, atol=1e-6)
        assert isinstance(transform, LinearTransform), itk.GetName()


def test_a_composite_inside_a_composite_is_read_in_order() -> None:
    turn = sitk.Euler3DTransform((10, 20, 30), 0.1, -0.2, 0.3)
    inner = sitk.CompositeTransform([turn, sitk.ScaleTransform(3, (1, 2, 3))])
    outer = sitk.CompositeTransform([sitk.TranslationTransform(3, (1, 2, 3)), inner, sitk.ScaleTransform(3, (3, 1, 2))])
    expected = [outer.TransformPoint(tuple(p)) for p in POINTS]
    np.testing.assert_allclose(transform_from_sitk(outer).apply_to_points(POINTS), expected, atol=1e-6)


def test_an_empty_composite_moves_nothing() -> None:
    transform = transform_from_sitk(sitk.CompositeTransform(3))
    np.testing.assert_array_equal(transform.apply_to_points(POINTS), POINTS)


# Bad files


@pytest.mark.parametrize("itk", [sitk.BSplineTransform(3), sitk.Euler2DTransform()], ids=["b-spline", "2-D"])
def test_a_transform_of_another_kind_is_refused_by_name(itk: sitk.Transform, tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    sitk.WriteTransform(itk, str(path))
    refusal(path)


def test_a_singular_transform_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "flat.tfm"
    write_transform(LinearTransform.identity(), path)
    path.write_text(path.read_text().replace("Parameters: 1 0 0 0 1 0 0 0 1", "Parameters: 1 0 0 0 1 0 0 0 0"))
    assert "singular" in refusal(path)


def test_a_field_with_missing_vectors_is_refused_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "holes.nrrd"
    picture = sitk.GetImageFromArray(np.full((4, 4, 4, 3), np.nan, dtype=np.float32), isVector=True)
    sitk.WriteImage(picture, str(path))
    assert "NaN" in refusal(path)


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".mat", ".nrrd", ".nii.gz", ".xyz"])
def test_missing_empty_and_text_files(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{ending}"
    assert "does not exist" in refusal(path)
    path.touch()
    refusal(path)
    path.write_text("I am not a transform.\n" * 30)
    refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("ending", [".h5", ".nrrd", ".nii.gz", ".nii", ".mha"])
def test_a_truncated_file_is_not_read_as_a_smaller_motion(ending: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut{ending}"
    write_transform(FIELD, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(path)


def test_an_ordinary_volume_is_no_field(tmp_path: Path) -> None:
    write_image(Image(np.zeros((4, 4, 4), dtype=np.float32), Geometry((4, 4, 4))), tmp_path / "v.nrrd")
    assert "vectors" in refusal(tmp_path / "v.nrrd")


def test_a_folder_is_no_transform(tmp_path: Path) -> None:
    refusal(tmp_path)


@pytest.mark.parametrize("name", ["t.json", "t", "t.nii.bz2"])
def test_an_unknown_ending_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.h5"):
        write_transform(AFFINE, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_file_is_the_same_whoever_looks_after_a_change_of_the_array(tmp_path: Path) -> None:
    """ITK objects hold copies: changing one afterwards does not reach into the library's arrays."""
    itk = sitk.DisplacementFieldTransform(sitk.GetImageFromArray(np.ones((4, 4, 4, 3)), isVector=True))
    transform = transform_from_sitk(itk)
    itk.SetParameters([0.0] * len(itk.GetParameters()))
    np.testing.assert_array_equal(transform.apply_to_points([[1.0, 1.0, 1.0]]), [[2.0, 2.0, 2.0]])
