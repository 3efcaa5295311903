"""Use a saved transform: on other volumes, on points, backwards, after another one.

python examples/06_transforms.py TRANSFORM FIXED MOVING OUT
"""

import sys
from pathlib import Path

from DeepRegLib import apply_to_image, compose, invert, jacobian_determinant, read_image, read_transform, write_image


def main(file: str, fixed: str, moving: str, out: str) -> None:
    """Write the moving scan on the fixed grid, the fixed scan on the moving grid, and the map of volume change."""
    transform = read_transform(file)  # fixed points to moving points, LPS mm
    inverse = invert(transform)
    there, here = read_image(moving), read_image(fixed)

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    write_image(apply_to_image(transform, there, here.geometry), folder / "moving_on_fixed.nii.gz")
    write_image(apply_to_image(inverse, here, there.geometry), folder / "fixed_on_moving.nii.gz")
    write_image(jacobian_determinant(transform, here.geometry), folder / "volume_change.nii.gz")

    middle = here.geometry.centre
    print("middle of the fixed scan:", middle.round(1).tolist())
    print("lies in the moving one at:", transform.apply_to_points(middle).round(1).tolist())
    print("there and back:", compose(transform, inverse).apply_to_points(middle).round(1).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
