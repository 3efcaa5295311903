"""Tables of text, and the measures of a result as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import slicer
import vtk

from DeepRegLib.grading import INFORMATION, items_of, overall
from DeepRegLib.result import Measures, Registration
from DeepRegLib.scene.nodes import new_node

COLUMNS = ("Measure", "Before", "After", "Unit", "Limit", "Grade")

Row = tuple[str, float | None, float | None, str]


def fill_table(node: slicer.vtkMRMLTableNode, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Fill a table node with text in place of what it holds; the user cannot edit it.

    Parameters
    ----------
    node
        The table.
    columns
        Their titles.
    rows
        One text a column each.
    """
    node.RemoveAllColumns()
    for number, title in enumerate(columns):
        column = vtk.vtkStringArray()
        column.SetName(title)
        for row in rows:
            column.InsertNextValue(row[number])
        node.AddColumn(column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)


def add_measures_table(
    scene: slicer.vtkMRMLScene,
    registration: Registration,
    name: str,
    label_names: Mapping[int, str] | None = None,
) -> slicer.vtkMRMLTableNode:
    """Add the measures of a result to a scene.

    Parameters
    ----------
    scene
        Where to add them.
    registration
        The result.
    name
        Of the node; a number is appended where the scene has the name.
    label_names
        What the labels of `Measures.dice_after` are called; without it, their numbers stand.
    """
    node = new_node(scene, "vtkMRMLTableNode", name)
    set_measures(node, registration, label_names)
    return node


def set_measures(
    node: slicer.vtkMRMLTableNode,
    registration: Registration,
    label_names: Mapping[int, str] | None = None,
    segment_names: Mapping[tuple[int, int], str] | None = None,
) -> None:
    """Fill a table node as `add_measures_table` does, in place of what it holds.

    `segment_names` are those of the segments that were brought along, by layer and label.
    """
    maps = [*_uncertainty_rows(registration), *_explanation_rows(registration), *_trust_rows(registration)]
    rows = [*_rows(registration.measures, label_names or {}), *_volume_rows(registration, segment_names or {}), *maps]
    changed = node.StartModify()
    cells = [[measure, _text(before), _text(after), unit, "", ""] for measure, before, after, unit in rows]
    cells.insert(0, ["Verdict", "", registration.verdict.level, "", "", ""])
    cells += _graded(registration)
    fill_table(node, COLUMNS, cells)
    node.EndModify(changed)


def _graded(registration: Registration) -> list[list[str]]:
    """Return the lines of the quality sheet, each beside its limit."""
    items = items_of(registration)
    lines = [
        [f"Quality: {item.name}", "", _text(item.value), item.unit, item.limit, item.grade]
        for item in items
        if item.grade != INFORMATION and not item.structure
    ]
    return [*lines, ["Quality: gravest grade", "", "", "", "", overall(items)]]


def _rows(m: Measures, label_names: Mapping[int, str]) -> Iterator[Row]:
    yield "Structure agreement", m.structure_before, m.structure_after, "0 chance, 1 everywhere"
    yield "Mutual information", m.nmi_before, m.nmi_after, "1 unrelated, 2 identical"
    yield "Cross correlation", m.ncc_before, m.ncc_after, "-1 to 1"
    before, after = m.dice_before or {}, m.dice_after or {}
    for label in sorted(before.keys() | after.keys()):
        name = label_names.get(label, f"label {label}")
        yield f"Dice of {name}", before.get(label), after.get(label), "0 apart, 1 identical"
    if m.tre_after is not None:
        yield "Landmark distance, mean", m.tre_before, m.tre_after, "mm"
    yield "Fixed anatomy covered", None, 100 * m.overlap, "%"
    yield "Folds", None, m.folds, "voxels"
    if m.inverse_folds is not None:
        yield "Folds of the inverse", None, m.inverse_folds, "voxels"
    yield "Volume change, whole", None, m.volume_scale, "times"
    yield "Volume change, smallest", None, m.jacobian_min, "times"
    yield "Volume change, largest", None, m.jacobian_max, "times"
    yield "Irregularity (sd of log Jacobian)", None, m.log_jacobian_sd, ""
    yield "Inverse error, mean", None, m.inverse_error_mean, "mm"
    yield "Inverse error, 99 % below", None, m.inverse_error_p99, "mm"


def _volume_rows(registration: Registration, names: Mapping[tuple[int, int], str]) -> Iterator[Row]:
    for layer, rows in enumerate(registration.carried_layers):
        for row in rows:
            name = names.get((layer, row.label), f"label {row.label}")
            yield f"Volume of {name}", row.volume_before, row.volume_after, "ml"
            if row.outside > 0:
                yield f"Outside of the fixed scan, {name}", None, 100 * row.outside, "%"


def _uncertainty_rows(registration: Registration) -> Iterator[Row]:
    percentiles = registration.uncertainty_percentiles()
    if percentiles is not None:
        median, high = percentiles
        yield "Model uncertainty, median", None, median, "mm"
        yield "Model uncertainty, 95 % below", None, high, "mm"


def _explanation_rows(registration: Registration) -> Iterator[Row]:
    agreement = registration.explanation_agreement()
    if agreement is not None:
        yield "Model explanation with expected error", None, agreement, "rank correlation"


def _trust_rows(registration: Registration) -> Iterator[Row]:
    percentiles = registration.trust_percentiles()
    if percentiles is not None:
        median, high = percentiles
        yield "Expected error, median", None, median, "mm"
        yield "Expected error, 95 % below", None, high, "mm"


def _text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
