"""A template of a group, plain data, and what is asked of it: the change between two visits of one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.recipes import Recipe
from DeepRegLib.result import Verdict
from DeepRegLib.transforms import Transform, jacobian_determinant

LEAST_VOLUME = 1e-3


@dataclass(frozen=True)
class MemberRow:
    """What was found of one member.

    Parameters
    ----------
    index, name
        Which one.
    verdict
        How far its registration to the template can be trusted.
    used
        Whether it is part of the template; members whose registration failed are not.
    weight
        With which it counts.
    displacement
        Mean length of the displacement from the template in its anatomy, mm; None of one that was left out.
    folds
        Voxels of the template where the transform folds.
    inverse_folds
        Voxels of the member where the inverse folds.
    inverse_error
        Mean distance in mm of points of the template from their way there and back.
    """

    index: int
    name: str
    verdict: Verdict
    used: bool
    weight: float
    displacement: float | None = None
    folds: int | None = None
    inverse_folds: int | None = None
    inverse_error: float | None = None


@dataclass(frozen=True, eq=False)
class Template:
    """The mean of a group in intensities and shape.

    Parameters
    ----------
    image
        float32: the mean of the members' intensities in the mean of their shapes.
    variability
        float32: standard deviation of the intensities.
    shape_variability
        float32: root mean square length of the members' displacements, mm.
    labels
        The label that most members have at each voxel, or None where no labels were given.
    transforms, inverses
        One a member: points of the template to points of the member, and back (LPS, mm); None of those left out.
    rows
        What was found of each member.
    bias
        Mean length of the mean displacement of all members from the template, mm.
    shifts
        By how much the shape was moved after each pass, mm on average.
    verdict, warnings, recipe, provenance
        How far to trust it, what to know, how members were registered, and with which versions.
    """

    image: Image
    variability: Image
    shape_variability: Image
    labels: Image | None
    transforms: Sequence[Transform | None]
    inverses: Sequence[Transform | None]
    rows: tuple[MemberRow, ...]
    bias: float
    shifts: tuple[float, ...]
    verdict: Verdict
    recipe: Recipe
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def change_between(template: Template, first: int, second: int, *, poll: Poll = never_cancel) -> Image:
    """Return the volume at one visit per volume at another, in the space of their template.

    Both visits are measured from the mean between them, so that neither is favoured, and the map of the other order is
    one divided by this one (Reuter et al., NeuroImage 61, 2012).

    Parameters
    ----------
    template
        Of the visits of one person.
    first, second
        Numbers of the visits, in the order they were given.
    poll
        May raise to stop.

    Returns
    -------
    Image
        float32: above 1 where tissue has grown from the first to the second.

    Raises
    ------
    InputError
        If there is no such visit, or it was left out.
    """
    volumes = [
        np.maximum(
            jacobian_determinant(_used(template, number), template.image.geometry, poll=poll).array, LEAST_VOLUME
        )
        for number in (first, second)
    ]
    return Image((volumes[1] / volumes[0]).astype(np.float32), template.image.geometry, "change")


def _used(template: Template, number: int) -> Transform:
    transform = template.transforms[number] if 0 <= number < len(template.transforms) else None
    if transform is None:
        used = ", ".join(str(row.index) for row in template.rows if row.used)
        raise InputError(f"Member {number} is no part of the template.", f"Give one of {used}.")
    return transform
