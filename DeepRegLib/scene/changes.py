"""What has changed between two aligned scans: surfaces coloured by their distance to the other scan's, and a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DeepRegLib.change import SegmentChange, distance_to_surface, segment_changes
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.scene.hierarchy import put_into, result_folder
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, new_node
from DeepRegLib.scene.segmentations import LabelPair, common_steps, layers_from_node
from DeepRegLib.scene.steps import run_through
from DeepRegLib.scene.tables import fill_table

SCALARS = "distance (mm)"
COLOURS = "vtkMRMLColorTableNodeRainbow"
LEAST_RANGE = 1.0  # mm that the colours span to either side
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
COLUMNS = ("Segment", "Fixed (ml)", "Moving (ml)", "Added (ml)", "Lost (ml)", "Apart (mm)", "95 % (mm)", "Largest (mm)")


@dataclass(frozen=True)
class ChangeNodes:
    """Ids of what was added: a folder's models, one a segment, and the table."""

    models: tuple[str, ...]
    table: str


def add_changes(
    scene: slicer.vtkMRMLScene,
    grid: Geometry,
    fixed: slicer.vtkMRMLNode,
    registered: slicer.vtkMRMLNode,
) -> ChangeNodes:
    """Add a model a segment of the fixed scan, coloured by how far outside (or inside, below 0) the other it lies.

    Parameters
    ----------
    scene
        Where to add them.
    grid
        Of the fixed volume, on which segments are compared.
    fixed
        Segmentation or label map of the fixed scan.
    registered
        That of the moving scan, carried over. Segments belong together by their names.

    Raises
    ------
    InputError
        If a node is missing or empty, or they have no segment name in common.
    """
    pair = run_through(common_steps(layers_from_node(fixed), layers_from_node(registered), grid, grid))
    if pair is None:
        raise InputError(
            "The two segmentations have no segment name in common, so they cannot be compared.",
            "Give the same structure the same name in both.",
        )
    folder = result_folder(scene, f"{registered.GetName()} changes", registered)
    changes = segment_changes(pair.fixed, pair.moving)
    models = [_model(scene, pair, change.label) for change in changes if change.mean_mm is not None]
    table = _table(scene, pair, changes)
    for node in (*models, table):
        node.SetAttribute(RESULT_ATTRIBUTE, "1")
        put_into(scene, folder, node)
    return ChangeNodes(tuple(node.GetID() for node in models), table.GetID())


def surface_with_distance(inside: NDArray[np.bool_], distance: Image) -> vtk.vtkPolyData:
    """Return the surface of a segment in RAS mm with, at each point, the distance there.

    Parameters
    ----------
    inside
        The segment, ``(k, j, i)``.
    distance
        On the same grid, mm.
    """
    framed = np.pad(inside.astype(np.float32), 1)
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(_image_data(framed))
    contour.SetValue(0, 0.5)
    contour.ComputeNormalsOff()
    contour.Update()
    surface = vtk.vtkPolyData()
    surface.DeepCopy(contour.GetOutput())
    index = vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64) - 1
    world = distance.geometry.to_world(index) * LPS_TO_RAS
    surface.GetPoints().SetData(numpy_to_vtk(np.ascontiguousarray(world, dtype=np.float32), deep=True))
    scalars = numpy_to_vtk(_sampled(distance.array, index).astype(np.float32), deep=True)
    scalars.SetName(SCALARS)
    surface.GetPointData().SetScalars(scalars)
    return surface


def _sampled(values: NDArray[np.generic], index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values at ``(i, j, k)`` places, linear in between."""
    top = np.array(values.shape[::-1]) - 1
    place = np.clip(index, 0, top)
    low = np.minimum(np.floor(place).astype(np.int64), np.maximum(top - 1, 0))
    share = place - low
    found = np.zeros(len(index))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1 - share), axis=1)
        i, j, k = np.minimum(low + corner, top).T
        found += weight * values[k, j, i]
    return found


def _image_data(array: NDArray[np.float32]) -> vtk.vtkImageData:
    data = vtk.vtkImageData()
    data.SetDimensions(*array.shape[::-1])
    data.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    return data


def _model(scene: slicer.vtkMRMLScene, pair: LabelPair, label: int) -> slicer.vtkMRMLModelNode:
    distance = distance_to_surface(pair.moving, pair.moving.array == label)
    surface = surface_with_distance(pair.fixed.array == label, distance)
    node = new_node(scene, "vtkMRMLModelNode", f"{pair.names[label]} change")
    node.SetAndObservePolyData(surface)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    low, high = surface.GetPointData().GetScalars().GetRange()
    reach = max(-low, high, LEAST_RANGE)
    display.SetActiveScalarName(SCALARS)
    display.SetAndObserveColorNodeID(COLOURS)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(-reach, reach)
    display.SetScalarVisibility(True)
    return node


def _table(scene: slicer.vtkMRMLScene, pair: LabelPair, changes: tuple[SegmentChange, ...]) -> slicer.vtkMRMLTableNode:
    node = new_node(scene, "vtkMRMLTableNode", "Changes")
    rows = []
    for change in changes:
        volumes = change.fixed_ml, change.moving_ml, change.added_ml, change.lost_ml
        apart = change.mean_mm, change.p95_mm, change.largest_mm
        numbers = [f"{ml:.3f}" for ml in volumes] + ["" if mm is None else f"{mm:.2f}" for mm in apart]
        rows.append([pair.names[change.label], *numbers])
    fill_table(node, COLUMNS, rows)
    return node
