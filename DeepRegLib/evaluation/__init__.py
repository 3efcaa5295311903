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
from DeepRegLib.evaluation.similarity import ncc, normalised_mutual_information, overlap
from DeepRegLib.evaluation.structure import FixedEdges, fixed_edges, structure_agreement

__all__ = [
    "FixedEdges",
    "InverseConsistency",
    "JacobianStatistics",
    "LandmarkFit",
    "SurfaceDistance",
    "comparison_grid",
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
    "ncc",
    "normalised_mutual_information",
    "overlap",
    "structure_agreement",
    "surface_distances",
    "target_registration_error",
]
