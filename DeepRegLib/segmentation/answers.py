"""What a network says of a scan, and how its probabilities become labels on the scan's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.segmenting import with_small_numbers
from DeepRegLib.segments import Segment


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network says of a scan.

    Parameters
    ----------
    labels
        Label map on the scan's grid.
    confidence
        Probability of that label, float32 on the scan's grid.
    segments
        All that the network knows.
    identity
        Name, version and hash of the weights.
    decisions
        How it was asked.
    """

    labels: Image
    confidence: Image
    segments: tuple[Segment, ...]
    identity: Mapping[str, str]
    decisions: tuple[str, ...]


def most_probable(
    likely: NDArray[np.float32], grid: Geometry, scan: Image, labels: Sequence[int], poll: Poll
) -> tuple[Image, Image]:
    """Return the most probable label of each voxel of a scan, and its probability.

    Parameters
    ----------
    likely
        Probabilities of the classes, shape ``(C, D, H, W)``.
    grid
        Where they lie.
    scan
        Whose grid is wanted.
    labels
        Of the classes.
    poll
        Called now and then; may raise to stop.
    """
    shape = scan.geometry.shape
    best, found = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
    for number, label in enumerate(labels):
        outside = 1.0 if label == 0 else 0.0
        here = np.asarray(
            resample(Image(likely[number], grid), scan.geometry, background=outside, poll=poll).array, dtype=np.float32
        )
        more = here > best
        found[more], best[more] = label, here[more]
    return (
        Image(with_small_numbers(found), scan.geometry, "segmentation"),
        Image(np.minimum(best, 1), scan.geometry, "confidence"),
    )
