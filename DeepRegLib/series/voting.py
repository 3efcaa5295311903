"""Labels of many members on one grid: each votes with its weight, and the most win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll
from DeepRegLib.transforms import Transform, apply_to_labels

Votes = Mapping[int, NDArray[np.float64]]


def votes_of(members: Iterable[tuple[Image, Transform, float]], grid: Geometry, poll: Poll) -> Votes:
    """Return for each label the weight of the members that have it, float64 at each voxel of a grid.

    Parameters
    ----------
    members
        Label map, transform from the grid to it, and weight of each.
    grid
        Where votes are counted.
    poll
        May raise to stop.
    """
    votes = dict[int, NDArray[np.float64]]()
    for labels, transform, weight in members:
        carried = apply_to_labels(transform, labels, grid, poll=poll).array
        for label in np.unique(carried).tolist():
            own = weight * (carried == label)
            votes[label] = votes[label] + own if label in votes else own
    return votes


def elected(votes: Votes, grid: Geometry) -> Image:
    """Return the label with the most weight at each voxel, int32; of equal ones the smaller."""
    most: NDArray[np.float64] = np.zeros(grid.shape)
    best = np.zeros(grid.shape, dtype=np.int32)
    for label in sorted(votes):
        better = votes[label] > most
        best[better], most = label, np.maximum(votes[label], most)
    return Image(best, grid, "labels")
