"""The table of measures: names, units, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.image import Image
from DeepRegLib.result import CarriedLabel
from DeepRegLib.scene.nodes import new_node
from DeepRegLib.scene.tables import add_measures_table, set_measures
from Testing.scene.results import FIXED_GRID, made_registration


def test_the_table_names_measures_and_labels_in_words(scene: slicer.vtkMRMLScene) -> None:
    node = add_measures_table(scene, made_registration(), "measures", {1: "liver"})
    table = node.GetTable()
    titles = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert titles == ["Measure", "Before", "After", "Unit", "Limit", "Grade"]
    graded = {
        node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (2, 4, 5)] for n in range(node.GetNumberOfRows())
    }
    assert graded["Quality: folded voxels"] == ["0", "0", "pass"]
    assert graded["Verdict"][1:] == ["", ""]
    rows = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    assert rows["Verdict"] == ["", "check", ""]
    assert rows["Dice of liver"] == ["0.4", "0.9", "0 apart, 1 identical"]
    assert rows["Dice of label 2"] == ["0.5", "0.95", "0 apart, 1 identical"]
    assert rows["Folds"] == ["", "0", "voxels"]
    assert rows["Fixed anatomy covered"] == ["", "97", "%"]
    assert rows["Cross correlation"][:2] == ["0.3", "0.92"]
    assert "Landmark distance, mean" not in rows


def test_the_table_tells_the_uncertainty_inside_the_foreground(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    inside = np.zeros(FIXED_GRID.shape, dtype=np.bool_)
    inside[4:20, 10:30, 8:25] = True
    told = replace(registration, fixed_foreground=Image(inside, FIXED_GRID))
    node = add_measures_table(scene, told, "measures")
    rows = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    median, high = np.percentile(registration.uncertainty.array[inside], (50, 95))
    assert rows["Model uncertainty, median"] == ["", f"{median:.4g}", "mm"]
    assert rows["Model uncertainty, 95 % below"] == ["", f"{high:.4g}", "mm"]
    silent = add_measures_table(scene, replace(registration, uncertainty=None), "measures")
    assert "Model uncertainty" not in "".join(silent.GetCellText(n, 0) for n in range(silent.GetNumberOfRows()))


def test_the_table_shows_landmarks_and_leaves_out_what_is_not_known(scene: slicer.vtkMRMLScene) -> None:
    registration = made_registration()
    measures = replace(registration.measures, tre_before=8.25, tre_after=1.5, ncc_before=float("nan"))
    node = add_measures_table(scene, replace(registration, measures=measures), "measures")
    rows = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    assert rows["Landmark distance, mean"] == ["8.25", "1.5", "mm"]
    assert rows["Cross correlation"][0] == ""


def test_the_volume_of_each_segment_is_told_by_its_name(scene: slicer.vtkMRMLScene) -> None:
    rows = ((CarriedLabel(2, 12.5, 11.0, 1.1, 0.25),), (CarriedLabel(2, 3.0, 0.0, None, 0.0),))
    registration = replace(made_registration(), carried_layers=rows)
    node = new_node(scene, "vtkMRMLTableNode", "measures")
    set_measures(node, registration, None, {(0, 2): "Leber 肝", (1, 2): "nerve"})
    told = {node.GetCellText(n, 0): [node.GetCellText(n, c) for c in (1, 2, 3)] for n in range(node.GetNumberOfRows())}
    assert told["Volume of Leber 肝"] == ["12.5", "11", "ml"]
    assert told["Volume of nerve"] == ["3", "0", "ml"]
    assert told["Outside of the fixed scan, Leber 肝"] == ["", "25", "%"]
    assert "Outside of the fixed scan, nerve" not in told
