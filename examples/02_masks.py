"""Compare inside a mask only: what lies outside does not mislead.

python examples/02_masks.py FIXED MOVING FIXED_MASK [RECIPE]
"""

import sys

import numpy as np

from DeepRegLib import read_image, register


def main(fixed: str, moving: str, mask: str, recipe: str = "auto") -> None:
    """Register with and without the mask, and say how far the two results lie apart inside it."""
    inside = read_image(mask)
    free = register(fixed, moving, recipe=recipe)
    masked = register(fixed, moving, recipe=recipe, fixed_mask=inside)

    k, j, i = np.nonzero(inside.array)
    points = inside.geometry.to_world(np.stack([i, j, k], axis=-1)[::97])  # LPS mm
    apart = np.linalg.norm(free.transform.apply_to_points(points) - masked.transform.apply_to_points(points), axis=-1)
    print(f"inside the mask the results lie {apart.mean():.2f} mm apart, {apart.max():.2f} mm at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
