"""Models coloured by what has changed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from vtk.util.numpy_support import vtk_to_numpy

from DeepRegLib.change import distance_to_surface
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.scene.changes import add_changes, surface_with_distance
from Testing.panel.nodes import segmentation

GRID = Geometry((30, 30, 30), (1.0, 1.0, 1.0), origin=(-10.0, 5.0, 2.0))


def ball(radius: float) -> np.ndarray:
    return np.linalg.norm(np.argwhere(np.ones(GRID.shape)) - 14.5, axis=1).reshape(GRID.shape) < radius


def test_a_ball_that_grew_lies_that_far_outside_of_the_other_and_where_the_scan_lies() -> None:
    distance = distance_to_surface(Image(np.zeros(GRID.shape), GRID), ball(7.0))
    surface = surface_with_distance(ball(10.0), distance)
    apart = vtk_to_numpy(surface.GetPointData().GetScalars())
    assert abs(apart.mean() - 3.0) < 0.5
    assert apart.std() < 0.6
    points = vtk_to_numpy(surface.GetPoints().GetData())
    np.testing.assert_allclose(points.mean(axis=0), GRID.centre * (-1, -1, 1), atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(points - points.mean(axis=0), axis=1), 10.0, atol=0.8)


def test_each_common_segment_becomes_a_model_with_its_scalars_and_a_row(scene) -> None:
    import slicer

    slicer.mrmlScene = scene
    fixed, carried = segmentation("plan"), segmentation("registered")
    grid = Geometry((60, 60, 60), (2.0, 2.0, 2.0), origin=(10.0, 10.0, 10.0))
    found = add_changes(scene, grid, fixed, carried)
    table = scene.GetNodeByID(found.table)
    assert len(found.models) == table.GetNumberOfRows() > 0
    for identifier in found.models:
        node = scene.GetNodeByID(identifier)
        display = node.GetDisplayNode()
        assert display.GetScalarVisibility()
        assert display.GetActiveScalarName() == "distance (mm)"
        assert np.abs(vtk_to_numpy(node.GetPolyData().GetPointData().GetScalars())).max() < 1.0
    for row in range(table.GetNumberOfRows()):
        assert table.GetTable().GetValue(row, 3).ToString() == "0.000"
