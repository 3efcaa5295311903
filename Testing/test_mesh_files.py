"""Models moved: against VTK's own readers and writers, for they come from Slicer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.mesh_files import SUFFIXES, move_model
from DeepRegLib.transforms import LinearTransform

vtk = pytest.importorskip("vtk", exc_type=ImportError)
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

TURN = LinearTransform(np.array([[0.0, -1, 0, 5], [1, 0, 0, -3], [0, 0, 1, 20], [0, 0, 0, 1]]))
KINDS = (
    *("ascii.vtk", "binary.vtk", "ascii.stl", "binary.stl", "plain.obj", "ascii.ply", "binary.ply"),
    *("ascii.vtp", "binary.vtp", "appended.vtp", "raw.vtp", "large.vtp", "unpacked.vtp", "rawlarge.vtp"),
)
MODES = {"ascii": 0, "binary": 1, "unpacked": 1}


def sphere() -> object:
    source = vtk.vtkSphereSource()
    source.SetRadius(30.0)
    source.SetCenter(10.0, 20.0, 30.0)
    source.Update()
    return source.GetOutput()


def write(path: Path, kind: str, header: str = "3D Slicer output. SPACE=LPS") -> None:
    form, suffix = kind.split(".")
    writers = {
        "vtk": vtk.vtkPolyDataWriter,
        "stl": vtk.vtkSTLWriter,
        "obj": vtk.vtkOBJWriter,
        "ply": vtk.vtkPLYWriter,
        "vtp": vtk.vtkXMLPolyDataWriter,
    }
    writer, surface = writers[suffix](), sphere()
    writer.SetFileName(str(path))
    if suffix in ("vtk", "stl"):
        writer.SetHeader(header)
    if suffix in ("vtk", "stl", "ply"):
        writer.SetFileType(1 if form == "ascii" else 2)
    if suffix == "ply":
        writer.AddComment(header[-9:])
    if suffix == "vtp":  # in the modes and with the field that Slicer writes, and in VTK's others
        space = vtk.vtkStringArray()
        space.SetName("SPACE")
        space.InsertNextValue(header[-3:])
        surface.GetFieldData().AddArray(space)
        writer.SetDataMode(MODES.get(form, 2))
        writer.SetEncodeAppendedData("raw" not in form)
        writer.SetHeaderType(64 if "large" in form else 32)
        writer.SetBlockSize(1024)
        if form == "unpacked":
            writer.SetCompressorTypeToNone()
    writer.SetInputData(surface)
    assert writer.Write()


def read(path: Path) -> tuple[np.ndarray, int]:
    readers = {
        ".vtk": vtk.vtkPolyDataReader,
        ".stl": vtk.vtkSTLReader,
        ".obj": vtk.vtkOBJReader,
        ".ply": vtk.vtkPLYReader,
        ".vtp": vtk.vtkXMLPolyDataReader,
    }
    reader = readers[path.suffix]()
    reader.SetFileName(str(path))
    reader.Update()
    output = reader.GetOutput()
    return vtk_to_numpy(output.GetPoints().GetData()).astype(float), output.GetNumberOfCells()


@pytest.mark.parametrize("kind", KINDS)
def test_points_move_and_cells_stay(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / kind, tmp_path / f"moved_{kind}"
    write(source, kind)
    before, cells = read(source)
    assert move_model(source, target, TURN.apply_to_points) >= len(before)
    after, cells_after = read(target)
    assert cells_after == cells > 0
    np.testing.assert_allclose(after, TURN.apply_to_points(before), atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.endswith("obj")])
def test_a_file_that_says_ras_is_moved_as_ras(tmp_path: Path, kind: str) -> None:
    flip = np.array([-1.0, -1.0, 1.0])
    write(tmp_path / kind, kind, "3D Slicer output. SPACE=RAS")
    move_model(tmp_path / kind, tmp_path / f"moved_{kind}", TURN.apply_to_points)
    before, after = read(tmp_path / kind)[0], read(tmp_path / f"moved_{kind}")[0]
    np.testing.assert_allclose(after, TURN.apply_to_points(before * flip) * flip, atol=1e-4)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b"# vtk DataFile Version 3.0\nx\nBINARY\nDATASET POLYDATA\nPOINTS 9 float\nab"]
)
def test_a_damaged_file_is_refused_and_nothing_written(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(InputError):
        move_model(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", TURN.apply_to_points)
    assert not (tmp_path / f"b{suffix}").exists()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not end as"):
        move_model(tmp_path / "a.vtk", tmp_path / "b.stl", TURN.apply_to_points)
