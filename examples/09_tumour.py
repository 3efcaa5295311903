"""A tumour drawn before the operation, on the scan after it: its place, its volume, and what has moved around it.

python examples/09_tumour.py FIXED MOVING TUMOUR [CAVITY] [RECIPE]
"""

import sys

import numpy as np

from DeepRegLib import read_image, register
from DeepRegLib.transforms import linear_part

NEAR = 15.0  # mm


def main(fixed: str, moving: str, tumour: str, cavity: str = "", recipe: str = "follow-up") -> None:
    """Register after (fixed) to before (moving); a cavity drawn on the scan after is left out of the comparison."""
    mask = read_image(cavity) if cavity else None
    if mask is not None:
        mask = mask.with_array((mask.array == 0).astype(np.uint8))
    result = register(fixed, moving, recipe=recipe, fixed_mask=mask).with_labels(read_image(tumour))
    for row in result.carried:
        print(f"label {row.label}: {row.volume_before:.2f} ml before, where it was: {row.volume_after:.2f} ml")

    k, j, i = np.nonzero(result.warped_labels.array)
    centre = result.fixed.geometry.to_world(np.stack([i, j, k], axis=-1)).mean(axis=0)  # LPS mm
    k, j, i = np.nonzero(result.fixed_foreground.array)
    points = result.fixed.geometry.to_world(np.stack([i, j, k], axis=-1)[::29])
    rigid = linear_part(result.transform).apply_to_points(points)
    moved = np.linalg.norm(result.transform.apply_to_points(points) - rigid, axis=-1)
    radius = NEAR + (3000 * sum(row.volume_after for row in result.carried) / (4 * np.pi)) ** (1 / 3)
    near = np.linalg.norm(points - centre, axis=-1) < radius
    print(
        f"beyond the rigid motion, tissue moved {moved[near].mean():.1f} mm near it, {moved.mean():.1f} mm on the whole"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
