"""The floor: the seconds that moving the deformable stage's data through memory takes, however fast the arithmetic.

An iteration is counted as six passes, each of which reads what it needs once and writes what it makes once; within a
pass nothing goes back to memory, as if every pass were one kernel with tiles that fit the cache. A channel is one
float32 for each voxel of the level; the field lives on a grid half as fine, so a channel of it is an eighth of one.

=========================  =====================================================  ======================================
pass                       on the grid of the images                              on the grid of the field
=========================  =====================================================  ======================================
warp                       read moving, write warped                              read field 3
similarity and force       read warped, fixed (its 12 features for MIND), weight  write force 3
smooth the force                                                                  read 3, write 3
Adam                                                                              read force 3 and moments 3 + 1, write
                                                                                  moments 3 + 1 and update 3
compose                                                                           read update 3 and field 3, write 3
smooth the field                                                                  read 3, write 3
=========================  =====================================================  ======================================

That is 5 channels of the images (16 for MIND, 9 for two contrasts of either) and 41 of the field, 10.1 (21.1, 14.1)
times four bytes for each voxel. Left out, so that the floor lies a little low: what is done once a level or every tenth
iteration, reading neighbours twice at the edges of tiles, and the stages before and after the iterations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from DeepRegLib.optimization.field_grid import RATIO
from DeepRegLib.recipes import FEATURES, LNCC_NGF

BYTES = 4
# Channels of the fixed image that the similarity reads; of features as many as the default network gives.
FIXED: Mapping[str, int] = MappingProxyType(
    {"ssd": 1, "ssim": 1, "ncc": 1, "lncc": 1, LNCC_NGF: 2, "mind": 12, "ngf": 1, "lc2": 1, FEATURES: 16}
)
# Channels of the moving image, each read, written warped and read again, where there is more than one.
MOVING: Mapping[str, int] = MappingProxyType({LNCC_NGF: 2, FEATURES: 16})
FIELD = 3 + 3 + 6 + 14 + 9 + 6


def bytes_per_voxel(similarity: str) -> float:
    """Return the bytes that an iteration moves for each voxel of its level."""
    images = 3 * MOVING.get(similarity, 1) + FIXED[similarity] + 1
    return BYTES * (images + FIELD / RATIO**3)


def floor_seconds(levels: Iterable[Mapping[str, int]], similarity: str, bandwidth: float) -> float:
    """Return the floor of a deformable stage.

    Parameters
    ----------
    levels
        "voxels" of each level's grid and the "iterations" that were run on it.
    similarity
        What was compared.
    bandwidth
        Of the memory in bytes a second, reading and writing together.
    """
    steps = sum(level["voxels"] * level["iterations"] for level in levels)
    return steps * bytes_per_voxel(similarity) / bandwidth
