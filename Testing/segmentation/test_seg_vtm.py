"""Segmentations of closed surfaces in Slicer's files, moved without voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.segmentation.seg_vtm import move_surfaces
from DeepRegLib.transforms import LinearTransform
from Testing.scene.surfaces import TERMINOLOGY, points_of, surface_node, terminology

TURN = LinearTransform(np.array([[0.0, -1, 0, 5], [1, 0, 0, -3], [0, 0, 1, 20], [0, 0, 0, 1]]))
FLIP = np.array([-1.0, -1.0, 1.0])
NAMES = ("a name with spaces & <signs>", "肝臓")


def save(scene, node, path: Path) -> None:
    import slicer

    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.WriteData(node)


def test_slicer_reads_moved_surfaces_with_names_colours_and_terminology(scene, tmp_path: Path) -> None:
    import slicer

    node = surface_node(scene, NAMES)
    save(scene, node, tmp_path / "my plan.seg.vtm")
    assert move_surfaces(tmp_path / "my plan.seg.vtm", tmp_path / "there.seg.vtm", TURN.apply_to_points) == 2
    again = slicer.util.loadSegmentation(str(tmp_path / "there.seg.vtm"))
    before, after = node.GetSegmentation(), again.GetSegmentation()
    assert after.GetSourceRepresentationName() == "Closed surface"
    for number, name in enumerate(NAMES):
        one, other = before.GetNthSegment(number), after.GetNthSegment(number)
        assert (other.GetName(), other.GetColor()) == (name, one.GetColor())
        assert terminology(other) == terminology(one) == TERMINOLOGY
        points, moved = points_of(one), points_of(other)
        np.testing.assert_allclose(moved, TURN.apply_to_points(points * FLIP) * FLIP, atol=1e-4)
        surfaces = [each.GetRepresentation("Closed surface") for each in (one, other)]
        assert surfaces[0].GetNumberOfPolys() == surfaces[1].GetNumberOfPolys() > 0


TABLE = '<VTKFile type="vtkMultiBlockDataSet"><vtkMultiBlockDataSet>{}</vtkMultiBlockDataSet></VTKFile>'


@pytest.mark.parametrize(
    "file", ["../other.vtp", "/etc/passwd", "C:/a.vtp", "a\\..\\b.vtp", "plan.seg/a.stl", "link/a.vtp", "missing.vtp"]
)
def test_a_table_that_leads_elsewhere_is_refused_and_nothing_written(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    (tmp_path / "other.vtp").write_text("secret", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path)
    (tmp_path / "a.vtp").write_text("secret", encoding="utf-8")
    (folder / "plan.seg.vtm").write_text(TABLE.format(f'<DataSet index="0" file="{file}"/>'), encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError):
        move_surfaces(folder / "plan.seg.vtm", out / "b.seg.vtm", TURN.apply_to_points)
    assert list(out.iterdir()) == []


def test_another_ending_an_empty_table_and_a_taken_folder_are_refused(scene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not end as"):
        move_surfaces(tmp_path / "a.seg.vtm", tmp_path / "b.vtp", TURN.apply_to_points)
    (tmp_path / "a.seg.vtm").write_text(TABLE.format(""), encoding="utf-8")
    with pytest.raises(InputError, match="no segmentation of closed surfaces"):
        move_surfaces(tmp_path / "a.seg.vtm", tmp_path / "b.seg.vtm", TURN.apply_to_points)
    save(scene, surface_node(scene, NAMES[1:]), tmp_path / "c.seg.vtm")
    (tmp_path / "b.seg").mkdir()
    (tmp_path / "b.seg" / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        move_surfaces(tmp_path / "c.seg.vtm", tmp_path / "b.seg.vtm", TURN.apply_to_points)
    assert not (tmp_path / "b.seg.vtm").exists()
