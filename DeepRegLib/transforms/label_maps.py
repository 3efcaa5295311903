"""Label maps brought through a transform: no label is invented, and nothing thin is lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform
from DeepRegLib.transforms.itk import displacement_on_grid, transform_to_sitk
from DeepRegLib.transforms.label_votes import Voter
from DeepRegLib.transforms.thin_labels import with_lost_labels

VOXELS_AT_ONCE = 1 << 17


def apply_to_labels(
    transform: Transform, labels: Image, geometry: Geometry, *, smooth: bool = True, poll: Poll = never_cancel
) -> Image:
    """Bring a label map onto a fixed grid; no label is invented between two others.

    Parameters
    ----------
    transform
        Fixed points to moving points.
    labels
        Label map on the moving side, integer or bool.
    geometry
        The fixed grid.
    smooth
        True: every label is interpolated linearly and the largest wins, on a tie that of the nearest voxel. A voxel of
        a line, or one that is alone, carries its label to all places nearest to it. A label that falls between the
        fixed voxels keeps about its volume, one voxel at least. On its own grid a label map stays what it is.
        False: nearest neighbour.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        On `geometry`, dtype of `labels`, 0 outside the moving field of view.

    Examples
    --------
    >>> from DeepRegLib.transforms import LinearTransform
    >>> grid, matrix = Geometry((4, 1, 1)), np.eye(4)
    >>> matrix[0, 3] = 0.6
    >>> labels = Image(np.array([[[5, 5, 9, 9]]], dtype=np.uint8), grid)
    >>> apply_to_labels(LinearTransform(matrix), labels, grid).array.tolist()  # 5 or 9, and nothing between
    [[[5, 9, 9, 0]]]
    """
    if not smooth:
        return resample(labels, geometry, interpolation="nearest", transform=transform_to_sitk(transform), poll=poll)
    displacement = displacement_on_grid(transform, geometry, poll=poll)
    result = np.zeros(geometry.shape, dtype=labels.array.dtype)
    voter = Voter(labels.array)

    def places(slab: slice) -> NDArray[np.float64]:
        return _indices(slab, geometry, labels.geometry, displacement)

    slabs = _slabs(geometry)
    for slab in slabs:
        poll()
        result[slab] = voter.winners(places(slab)).reshape(result[slab].shape)
    with_lost_labels(result, labels, geometry, places, slabs, poll)
    return Image(result, geometry, labels.name)


def _slabs(geometry: Geometry) -> list[slice]:
    depth, height, width = geometry.shape
    thickness = max(1, VOXELS_AT_ONCE // (height * width))
    return [slice(start, min(start + thickness, depth)) for start in range(0, depth, thickness)]


def _indices(
    slab: slice, geometry: Geometry, moving: Geometry, displacement: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where the voxels of a slab lie in the moving grid, ``(n, 3)`` as (i, j, k)."""
    k, j, i = np.meshgrid(
        np.arange(slab.start, slab.stop, dtype=np.float64),
        np.arange(geometry.shape[1], dtype=np.float64),
        np.arange(geometry.shape[2], dtype=np.float64),
        indexing="ij",
    )
    matrix = moving.world_to_index @ geometry.index_to_world
    index = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T + matrix[:3, 3]
    index += displacement[slab] @ moving.world_to_index[:3, :3].T
    return index.reshape(-1, 3)
