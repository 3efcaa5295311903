"""Carry a segmentation over, and measure the overlap with one of the fixed scan.

python examples/04_labels.py FIXED MOVING FIXED_LABELS MOVING_LABELS OUT [RECIPE]
"""

import sys

from DeepRegLib import read_image, register


def main(fixed: str, moving: str, fixed_labels: str, moving_labels: str, out: str, recipe: str = "auto") -> None:
    """Register by the images alone, then carry the labels over and compare."""
    result = register(fixed, moving, recipe=recipe)
    result = result.with_labels(read_image(moving_labels), read_image(fixed_labels))

    before, after = result.measures.dice_before or {}, result.measures.dice_after or {}
    for label, dice in sorted(after.items()):
        print(f"label {label}: Dice {before.get(label, 0.0):.2f} -> {dice:.2f}")

    result.save(out)  # with warped_labels.nii.gz


if __name__ == "__main__":
    main(*sys.argv[1:])
