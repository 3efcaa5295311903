"""How far registrations of four scans and more contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.transforms import Transform

FEWEST = 4


def distance_discordance(
    transforms: Mapping[tuple[int, int], Transform], reference: int, points: ArrayLike
) -> NDArray[np.float64]:
    """Return the mean distance between the places that other scans say a point of the reference is at.

    Points are taken to every other scan, and from each of these on to every further one. In each scan, the places that
    were reached over different scans would be one if all registrations were right.

    Parameters
    ----------
    transforms
        By pairs of numbers (from, to): points of scan `from` to points of scan `to`, LPS mm. All ordered pairs that do
        not end in the reference are needed.
    reference
        The scan that the points lie in.
    points
        LPS mm, shape ``(n, 3)``.

    Returns
    -------
    NDArray
        mm, shape ``(n,)``.

    Raises
    ------
    InputError
        If there are fewer than four scans, or a pair is missing.

    References
    ----------
    Saleh et al., "The distance discordance metric - a novel approach to quantifying spatial uncertainties in intra- and
    inter-patient deformable image registration", Physics in Medicine and Biology 2014.
    """
    scans = sorted({scan for pair in transforms for scan in pair})
    others = [scan for scan in scans if scan != reference]
    if len(scans) < FEWEST or reference not in scans:
        raise InputError(
            f"Distance discordance needs the registrations of {FEWEST} scans; {len(scans)} were given.",
            "Register more scans with each other.",
        )
    missing = [(first, last) for first in scans for last in others if first != last and (first, last) not in transforms]
    if missing:
        first, last = missing[0]
        raise InputError(f"The registration of scan {first} to scan {last} is missing.", "Register these two.")
    start = np.asarray(points, dtype=np.float64)
    over = {scan: transforms[reference, scan].apply_to_points(start) for scan in others}
    distances = []
    for last in others:
        places = [transforms[scan, last].apply_to_points(over[scan]) for scan in others if scan != last]
        distances += [np.linalg.norm(one - other, axis=-1) for one, other in combinations(places, 2)]
    return np.asarray(np.mean(distances, axis=0))
