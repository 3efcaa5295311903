"""Measures of a registration: overlap, distances, folds, inverse error, similarity. Pure functions."""

from __future__ import annotations

from DeepRegLib.evaluation.coverage import covered
from DeepRegLib.evaluation.grids import comparison_grid
from DeepRegLib.evaluation.labels import SurfaceDistance, dice, mean_dice, surface_distances
from DeepRegLib.evaluation.landmarks import LandmarkFit, count_outside, landmark_fit, target_registration_error
from DeepRegLib.evaluation.regularity import (
    InverseConsistency,
    JacobianStatistics,
    digital_folds,
    folded_voxels,
    folds_and_statistics,
    inverse_consistency,
    jacobian_statistics,
)
from DeepRegLib.evaluation.segments import (
    Mistaken,
    SegmentMeasures,
    SegmentTable,
    confusion_as_csv,
    measure_segments,
    table_as_csv,
)
from DeepRegLib.evaluation.similarity import ncc, normalised_mutual_information, overlap
from DeepRegLib.evaluation.structure import FixedEdges, fixed_edges, structure_agreement

__all__ = [
    "FixedEdges",
    "InverseConsistency",
    "JacobianStatistics",
    "LandmarkFit",
    "Mistaken",
    "SegmentMeasures",
    "SegmentTable",
    "SurfaceDistance",
    "comparison_grid",
    "confusion_as_csv",
    "count_outside",
    "covered",
    "dice",
    "digital_folds",
    "fixed_edges",
    "folded_voxels",
    "folds_and_statistics",
    "inverse_consistency",
    "jacobian_statistics",
    "landmark_fit",
    "mean_dice",
    "measure_segments",
    "ncc",
    "normalised_mutual_information",
    "overlap",
    "structure_agreement",
    "surface_distances",
    "table_as_csv",
    "target_registration_error",
]
