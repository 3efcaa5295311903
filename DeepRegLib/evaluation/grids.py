"""The check that what is compared lies on one grid."""

from __future__ import annotations

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image


def require_one_grid(first: Image, *others: Image) -> None:
    """Raise InputError unless all images lie on the grid of the first."""
    for image in others:
        require_on_grid(first.geometry, image, first.name)


def require_on_grid(geometry: Geometry, image: Image, owner: str = "the fixed image") -> None:
    """Raise InputError unless an image lies on a grid, which the message calls that of `owner`."""
    if not geometry.is_close(image.geometry):
        raise InputError(f"{image.name} does not lie on the grid of {owner}.", "Resample it onto that grid first.")
