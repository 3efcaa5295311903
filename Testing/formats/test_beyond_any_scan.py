"""Numbers that no scan has: finite, and so far off that nothing sensible comes of them; refused in one sentence."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.landmark_alignment import check_landmarks
from DeepRegLib.landmarks import read_points
from DeepRegLib.mesh_files import move_surface
from DeepRegLib.request import Drivers
from DeepRegLib.transforms import DisplacementField, LinearTransform, hdf5, read_transform, write_transform

GRID = Geometry((6, 5, 4))
FAR = 1e20


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message


def scan(dtype: str = "int16") -> Image:
    return Image(np.arange(120).reshape(GRID.shape).astype(dtype), GRID)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_a_slope_that_makes_values_infinite_is_refused(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    write_image(scan(dtype), path)
    content = bytearray(path.read_bytes())
    for slope, intercept in ((1e38, 0.0), (-1e38, 0.0), (1e38, 3e38)):
        content[112:120] = struct.pack("<ff", slope, intercept)
        path.write_bytes(content)
        assert "beyond all numbers" in refusal(lambda: read_image(path))


def test_values_that_are_not_finite_in_the_file_itself_are_left_to_the_one_who_prepares_them(tmp_path: Path) -> None:
    path = tmp_path / "v.nii"
    array = scan("float32").array.copy()
    array[0, 0, :2] = np.nan, np.inf
    write_image(Image(array, GRID), path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 2.0, 1.0)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path).array, 2 * array + 1)


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_values_that_single_precision_cannot_hold_are_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    picture = sitk.GetImageFromArray(scan("float64").array * 1e300)
    sitk.WriteImage(picture, str(path))
    assert "beyond" in refusal(lambda: read_image(path))


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize(("spacing", "origin"), [(1e30, 0.0), (1e-30, 0.0), (1.0, 1e20), (1.0, -1e20)])
def test_a_grid_of_no_scan_is_refused(ending: str, spacing: float, origin: float, tmp_path: Path) -> None:
    path = tmp_path / f"v{ending}"
    picture = sitk.GetImageFromArray(scan("float32").array)
    picture.SetSpacing((spacing, 1.0, 1.0))
    picture.SetOrigin((0.0, origin, 0.0))
    sitk.WriteImage(picture, str(path))
    assert path.name in refusal(lambda: read_image(path))


@pytest.mark.parametrize("spacing", [4e-6, 1e-3, 12.0])
def test_grids_of_microscopes_and_of_coarse_scans_are_read(spacing: float) -> None:
    assert Geometry((3, 3, 3), (spacing,) * 3, (2e5, -3e4, 10.0)).spacing[0] == spacing


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".h5"])
def test_a_displacement_beyond_any_scan_is_refused(ending: str, tmp_path: Path) -> None:
    array = np.zeros((*GRID.shape, 3), dtype=np.float32)
    path = tmp_path / f"f{ending}"
    for value, refused in ((9e3, False), (-2e4, True), (1e20, True)):
        array[1, 2, 3, 0] = value
        write_transform(DisplacementField(array, GRID), path)
        if refused:
            assert "displacement" in refusal(lambda: read_transform(path))
        else:
            read_transform(path)


def linear(entry: float, place: tuple[int, int]) -> LinearTransform:
    matrix = np.eye(4)
    matrix[place] = entry
    return LinearTransform(matrix)


@pytest.mark.parametrize("place", [(0, 1), (2, 3)])
@pytest.mark.parametrize("ending", [".tfm", ".mat", ".h5", ".txt"])
def test_a_linear_transform_with_such_a_number_is_refused(ending: str, place: tuple[int, int], tmp_path: Path) -> None:
    write_transform(linear(FAR, place), tmp_path / f"t{ending}")
    assert "farther away" in refusal(lambda: read_transform(tmp_path / f"t{ending}"))


def test_so_are_those_of_other_tools(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("1 0 0 1e20\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    (tmp_path / "a.aff12.1D").write_text("1 0 0 1e20 0 1 0 0 0 0 1 0\n")
    for name in ("n.txt", "a.aff12.1D"):
        assert name in refusal(lambda name=name: read_transform(tmp_path / name, fixed=GRID, moving=GRID))  # type: ignore[misc]


def test_a_transform_or_landmarks_that_are_given_are_looked_at_too() -> None:
    assert "farther" in refusal(lambda: Drivers(initial_transform=linear(FAR, (0, 3))))
    points = np.zeros((4, 3))
    assert "farther" in refusal(lambda: check_landmarks(points, points + FAR))


def json_points(value: float) -> str:
    points = [{"label": "a", "position": [1.0, value, 3.0]}]
    return json.dumps({"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}]})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "x,y,z\n1,{},3\n"),
        ("p.fcsv", "# CoordinateSystem = LPS\n# columns = id,x,y,z\n1,{},2,3\n"),
        ("p.mrk.json", ""),
    ],
)
def test_a_landmark_beyond_any_scan_is_refused(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for value in (FAR, -FAR):
        path.write_text(text.format(value) if text else json_points(value))
        assert "farther away" in refusal(lambda: read_points(path))
    path.write_text(text.format(5.0) if text else json_points(5.0))
    assert read_points(path).shape == (1, 3)


def test_a_model_with_such_a_point_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.obj"
    path.write_text(f"v 0 0 0\nv 1 0 0\nv 0 {FAR} 0\nf 1 2 3\n")
    assert "farther away" in refusal(lambda: move_surface(path, lambda points: points))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process writes to")
def test_a_file_of_kilobytes_that_claims_a_gigabyte_does_not_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters that were never written are zeros to HDF5, however many there are said to be."""
    import subprocess

    count, claimed, dataspace, layout = 3 * 10**3, 170_000_000, hdf5._dataspace, hdf5._plain_layout
    nowhere = 2**64 - 1
    monkeypatch.setattr(hdf5, "_dataspace", lambda n: dataspace(claimed if n == count else n))
    monkeypatch.setattr(
        hdf5, "_plain_layout", lambda at, size: layout(nowhere, 4 * claimed) if size == 4 * count else layout(at, size)
    )
    write_transform(DisplacementField(np.zeros((10, 10, 10, 3), np.float32), Geometry((10, 10, 10))), tmp_path / "t.h5")
    program = (
        "import resource, sys\n"
        "from DeepRegLib.errors import InputError\n"
        "from DeepRegLib.transforms import read_transform\n"
        "try:\n    read_transform(sys.argv[1])\n"
        "except InputError as error:\n    print(error.message)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "t.h5")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "needs more memory" in told[0]
    assert int(told[1]) < 700  # MB; 2,115 without a limit
