"""Transforms that other tools wrote, read as they mean them: beside what each tool makes of its own file.

`tools/make.py` made the files, for a fixed image in each orientation and a moving image in another.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import read_image
from DeepRegLib.transforms import LinearTransform, apply_to_image, read_transform
from DeepRegLib.transforms.afni import afni_transform
from DeepRegLib.transforms.fsl import fsl_transform
from DeepRegLib.transforms.lta import lta_transform
from DeepRegLib.transforms.niftyreg import niftyreg_transform
from Testing.synthetic import ORIENTATIONS, geometry_in, random_linear

TOOLS = Path(__file__).resolve().parent / "tools"
FILES = {
    "itk": "transform.tfm",
    "ants": "transform.mat",
    "elastix": "transform.tfm",
    "niftyreg": "transform.txt",
    "afni": "transform.aff12.1D",
    "fsl": "transform.mat",
    "freesurfer": "transform.lta",
    "x5": "transform.x5",
}
RESAMPLED = ("itk", "ants", "elastix", "niftyreg")
MAPPED = ("itk", "ants", "elastix", "afni", "fsl", "freesurfer", "x5")


def found(tool: str, orientation: str) -> LinearTransform:
    """Read what a tool wrote."""
    if tool == "x5":
        pytest.importorskip("h5py", reason="h5py is not installed, so X5 is not read")
    folder = TOOLS / orientation
    grids = [read_image(folder / f"{side}.nii.gz").geometry for side in ("fixed", "moving")]
    transform = read_transform(folder / tool / FILES[tool], fixed=grids[0], moving=grids[1])
    assert isinstance(transform, LinearTransform)
    return transform


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("tool", MAPPED)
def test_points_go_where_the_tool_takes_them(tool: str, orientation: str) -> None:
    points = json.loads((TOOLS / orientation / "points.json").read_text(encoding="utf-8"))
    moved = found(tool, orientation).apply_to_points(points["fixed"])
    # elastix and nitransforms print a few digits; a point of another frame would be centimetres away
    np.testing.assert_allclose(moved, points["moving"][tool], rtol=0, atol=2e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("tool", RESAMPLED)
def test_the_moving_image_comes_to_where_the_tool_brings_it(tool: str, orientation: str) -> None:
    folder = TOOLS / orientation
    fixed, moving = (read_image(folder / f"{side}.nii.gz") for side in ("fixed", "moving"))
    theirs = read_image(folder / tool / "warped.nii.gz").array.astype(float)
    ours = apply_to_image(found(tool, orientation), moving, fixed.geometry, background=0).array.astype(float)
    inside = (ours > 0) & (theirs > 0)  # tools differ in the half voxel at the border
    assert inside.mean() > 0.5
    assert np.abs(ours - theirs)[inside].mean() < 1.0  # one is cut off to whole numbers, the other rounded
    assert np.abs(fixed.array.astype(float) - theirs)[inside].mean() < 12.0  # and the tool did align them


@pytest.mark.parametrize("tool", ["fsl", "afni"])
def test_a_matrix_of_fsl_or_afni_needs_both_images(tool: str) -> None:
    with pytest.raises(InputError, match="grids of both images"):
        read_transform(TOOLS / "RAS" / tool / FILES[tool])


def test_afni_takes_a_tilted_image_for_a_straight_one() -> None:
    """Its axes go to the nearest of the world about the first voxel, whichever those are."""
    tilted = geometry_in("oblique", (9, 8, 7), 2.0)
    straight = geometry_in("LPS", (12, 10, 8))
    text = "1 0 0 4\n0 1 0 -3\n0 0 1 2"
    read = afni_transform(text, straight, tilted)
    index = np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 3.0]])
    nearest = np.sign(tilted.axes) * (np.abs(tilted.axes) > 0.8)
    assert (np.abs(nearest).sum(axis=0) == 1).all()
    taken_for = (index * tilted.spacing) @ nearest.T + tilted.origin  # where AFNI takes these voxels to be
    np.testing.assert_allclose(read.apply_to_points(taken_for - (4.0, -3.0, 2.0)), tilted.to_world(index), atol=1e-9)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("# nothing\n", "twelve numbers"),
        ("1 0 0 0 0 1 0 0 0 0 1", "twelve numbers"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3, "holds 3 transforms"),
        ("1 0 0 0 0 1 0 0 0 0 1 x", "no number"),
        ("1 0 0 0 0 0 0 0 0 0 1 0", "singular"),
        ("1 0 0 nan 0 1 0 0 0 0 1 0", "not a finite"),
    ],
)
def test_what_is_no_matrix_of_afni_is_refused(text: str, what: str) -> None:
    grid = geometry_in("LPS", (5, 5, 5))
    with pytest.raises(InputError, match=what):
        afni_transform(text, grid, grid, "a.aff12.1D")


@pytest.mark.parametrize("fixed", ORIENTATIONS)
@pytest.mark.parametrize("moving", ORIENTATIONS)
def test_flirt_counts_from_the_first_voxel_and_mirrors_right_handed_images(fixed: str, moving: str) -> None:
    grids = geometry_in(fixed, (11, 9, 7)), geometry_in(moving, (8, 12, 10), 3.0)
    truth = random_linear(5)

    def to_flirt(grid: Geometry, points: np.ndarray) -> np.ndarray:
        index = grid.to_index(points)
        if np.linalg.det(grid.axes) > 0:
            index[:, 0] = grid.size[0] - 1 - index[:, 0]
        return index * grid.spacing

    fixed_points = grids[0].corners()
    ends = to_flirt(grids[0], fixed_points), to_flirt(grids[1], truth.apply_to_points(fixed_points))
    homogeneous = np.c_[ends[1], np.ones(8)]
    matrix = np.linalg.lstsq(homogeneous, np.c_[ends[0], np.ones(8)], rcond=None)[0].T
    text = "\n".join("  ".join(f"{x:.12f}" for x in row) for row in matrix)
    read = fsl_transform(text, *grids)
    np.testing.assert_allclose(read.apply_to_points(fixed_points), truth.apply_to_points(fixed_points), atol=1e-6)


def volume_info(grid: Geometry) -> str:
    """Describe a grid as FreeSurfer does: axes in RAS, and the place of the voxel in the middle."""
    ras = np.array([-1.0, -1.0, 1.0])
    lines = ["valid = 1  # volume info valid", "filename = ", f"volume = {' '.join(map(str, grid.size))}"]
    lines.append(f"voxelsize = {' '.join(f'{step:.15e}' for step in grid.spacing)}")
    for name, axis in zip(("xras", "yras", "zras"), grid.axes.T, strict=True):
        lines.append(f"{name}   = {' '.join(f'{x:.15e}' for x in axis * ras)}")
    middle = grid.to_world(np.array(grid.size) / 2) * ras
    return "\n".join([*lines, f"cras   = {' '.join(f'{x:.15e}' for x in middle)}"])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_lta_of_voxels_is_read_with_its_grids(orientation: str) -> None:
    fixed, moving = geometry_in(orientation, (11, 9, 7)), geometry_in("oblique", (8, 12, 10), 3.0)
    truth = random_linear(4)
    voxels = fixed.world_to_index @ truth.inverse().matrix @ moving.index_to_world  # source to destination
    rows = "\n".join(" ".join(f"{x:.15e}" for x in row) for row in voxels)
    text = f"type      = 0\nnxforms   = 1\nmean = 0 0 0\nsigma = 1\n1 4 4\n{rows}\n"
    text += f"src volume info\n{volume_info(moving)}\ndst volume info\n{volume_info(fixed)}\n"
    np.testing.assert_allclose(lta_transform(text).matrix, truth.matrix, atol=1e-6)
    with pytest.raises(InputError, match="does not know the grids"):
        lta_transform(text.replace("valid = 1", "valid = 0"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 0 0\n0 1 0\n0 0 1", "four rows of four numbers"),
        ("1 0 0 a\n0 1 0 0\n0 0 1 0\n0 0 0 1", "no number"),
        ("1 0 0 0\n0 0 0 0\n0 0 1 0\n0 0 0 1", "singular"),
        ("1 0 0 nan\n0 1 0 0\n0 0 1 0\n0 0 0 1", "not a finite"),
    ],
)
def test_what_is_no_matrix_is_refused(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        niftyreg_transform(text, "aff.txt")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("type      = 1", "type      = 14"), "register.dat"),
        (("nxforms   = 1", "nxforms   = 2"), "holds 2 transforms"),
        (("1 4 4", "1 3 4"), "not a readable LTA"),
        (("type      = 1", "type      = one"), "not a readable LTA"),
    ],
)
def test_another_lta_is_refused_by_name(change: tuple[str, str], what: str) -> None:
    text = (TOOLS / "RAS" / "freesurfer" / "transform.lta").read_text(encoding="utf-8")
    assert change[0] in text
    with pytest.raises(InputError, match=what):
        lta_transform(text.replace(*change), "x.lta")


def test_an_lta_of_voxels_without_grids_is_refused() -> None:
    text = (TOOLS / "RAS" / "freesurfer" / "transform.lta").read_text(encoding="utf-8")
    head = text.replace("type      = 1", "type      = 0").partition("dst volume info")[0]
    with pytest.raises(InputError, match="grids of both images"):
        lta_transform(head)


def test_itks_own_text_is_not_taken_for_another_tools(tmp_path: Path) -> None:
    from DeepRegLib.transforms import write_transform

    truth = random_linear(2)
    for name in ("itk.txt", "itk.mat"):
        write_transform(truth, tmp_path / name)
        np.testing.assert_allclose(
            read_transform(tmp_path / name).apply_to_points([1, 2, 3]), truth.apply_to_points([1, 2, 3])
        )


@pytest.mark.parametrize("content", ["rubbish", "hdf5"])
def test_a_file_that_is_no_x5_is_refused(content: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed, so X5 is not read")
    path = tmp_path / "a.x5"
    if content == "rubbish":
        path.write_bytes(b"rubbish")
    else:
        with h5py.File(path, "w") as file:
            file["x"] = 1
    with pytest.raises(InputError, match="X5"):
        read_transform(path)


def test_without_h5py_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py.*Install h5py"):
        read_transform(TOOLS / "RAS" / "x5" / "transform.x5")
