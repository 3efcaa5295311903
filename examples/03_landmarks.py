"""Let half of the landmarks pull, and measure with the other half.

python examples/03_landmarks.py FIXED MOVING FIXED_POINTS MOVING_POINTS [RECIPE]
"""

import sys

from DeepRegLib import register
from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.landmarks import read_points


def main(fixed: str, moving: str, fixed_points: str, moving_points: str, recipe: str = "auto") -> None:
    """Print how far kept landmarks lie apart with and without the pull of the others."""
    ends = read_points(fixed_points), read_points(moving_points)  # LPS mm, row by row
    pulling = [points[::2] for points in ends]
    kept = [points[1::2] for points in ends]  # what has pulled measures nothing any more

    alone = register(fixed, moving, recipe=recipe)
    pulled = register(fixed, moving, recipe=recipe, fixed_landmarks=pulling[0], moving_landmarks=pulling[1])
    for name, result in {"without": alone, "with": pulled}.items():
        print(f"{name} landmarks: {target_registration_error(result.transform, *kept).mean():.2f} mm")


if __name__ == "__main__":
    main(*sys.argv[1:])
