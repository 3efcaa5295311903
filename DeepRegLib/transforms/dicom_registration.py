"""DICOM registrations as transforms: which of a file's items is the fixed scan and which the moving one."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from DeepRegLib.dicom.registration_reading import Item, RegistrationObject, read_registration_object
from DeepRegLib.dicom.series import Series
from DeepRegLib.errors import InputError
from DeepRegLib.naming import shown
from DeepRegLib.transforms.composite import Transform, compose
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform

logger = logging.getLogger(__name__)

OF_NOTHING = 1e-9  # of a matrix that moves nothing


def read_dicom_registration(source: Path, fixed: Series | None = None, moving: Series | None = None) -> Transform:
    """Read a registration as the transform from fixed points to moving points, LPS mm.

    Parameters
    ----------
    source
        A Spatial Registration or Deformable Spatial Registration.
    fixed, moving
        The series of the images, where they are DICOM: the file's items are found by the images they name, then by
        their frame of reference, also if both are registered to a third one. Without them the file's own frame of
        reference is the fixed one and its one other item the moving one; where that leaves a choice, the log says
        what was taken.

    Raises
    ------
    InputError
        If the file cannot be read, or is of other series than the given ones.

    Examples
    --------
    >>> read_dicom_registration(Path("nowhere.dcm"))
    Traceback (most recent call last):
        ...
    DeepRegLib.errors.InputError: nowhere.dcm does not exist. Check the path.
    """
    content, name = read_registration_object(source), shown(source)
    _say_what_is_lost(content, name)
    if fixed is None and moving is None:
        still, moved = _by_itself(content, name)
    else:
        still, moved = _of_series(content, fixed, moving, name)
    first = LinearTransform.identity() if still is None else _to_registered(still, content.deformable)
    second = LinearTransform.identity() if moved is None else _from_registered(moved, content.deformable)
    return compose(first, second)


def _from_registered(item: Item, deformable: bool) -> Transform:
    """Return the transform from the registered frame to the item's."""
    if not deformable:
        return _matrix(item).inverse()
    before, after = (LinearTransform(matrix) for matrix in item.matrices)
    if item.grid is None:
        return after.after(before)
    return compose(before, DisplacementField(item.grid.array, item.grid.geometry), after)


def _to_registered(item: Item, deformable: bool) -> Transform:
    if not deformable:
        return _matrix(item)
    there = _from_registered(item, deformable)
    if isinstance(there, LinearTransform):
        return there.inverse()
    from DeepRegLib.transforms.inversion import invert

    return invert(there)


def _matrix(item: Item) -> LinearTransform:
    """Return the item's points to the registered frame: its first matrix acts first (PS3.3 C.20.2.1.1)."""
    result = LinearTransform.identity()
    for matrix in item.matrices:
        result = LinearTransform(matrix).after(result)
    return result


def _by_itself(content: RegistrationObject, name: str) -> tuple[Item | None, Item | None]:
    moved = [item for item in content.items if not _moves_nothing(item)]
    if len(moved) < 2:
        return None, moved[0] if moved else None
    if len(moved) == 2 and all(item.frame != content.frame for item in content.items):
        logger.warning(
            "%s registers two scans to a third frame of reference: its first item is taken for the fixed scan, the "
            "second for the moving one. Give both scans as DICOM to choose by what they are.",
            name,
        )
        return moved[0], moved[1]
    logger.warning(
        "%s registers %d scans: the first one that is not where it should be is taken for the moving scan, the "
        "file's own frame of reference for the fixed one. Give both scans as DICOM to choose by what they are.",
        name,
        len(moved),
    )
    return None, moved[0]


def _of_series(
    content: RegistrationObject, fixed: Series | None, moving: Series | None, name: str
) -> tuple[Item | None, Item | None]:
    still = None if fixed is None else _item_of(content, fixed, "fixed", name)
    moved = None if moving is None else _item_of(content, moving, "moving", name)
    if fixed is not None and moving is not None:
        if still is not None and still is moved:
            raise InputError(
                f"{name} does not tell the fixed scan from the moving one: both lie in one frame of reference.",
                "Give a registration that names the images of each.",
            )
        return still, moved
    known = still if moving is None else moved
    others = [item for item in content.items if item is not known and not _moves_nothing(item)]
    choices = len(others) + (known is not None and not _moves_nothing(known))
    if choices > 1:
        role = "moving" if moving is None else "fixed"
        logger.warning(
            "%s leaves open which of %d scans is the %s one: the first is taken. Give it as DICOM to choose.",
            name,
            choices,
            role,
        )
    other = others[0] if others else None
    return (still, other) if moving is None else (other, moved)


def _item_of(content: RegistrationObject, series: Series, role: str, name: str) -> Item | None:
    """Return the item of a series; None if the series lies in the registered frame itself."""
    named = [item for item in content.items if item.instances & series.instances]
    if len(named) == 1:
        return named[0]
    if series.frame and series.frame == content.frame and role == "fixed":
        return None
    alike = [item for item in content.items if series.frame and item.frame == series.frame]
    moved = [item for item in alike if not _moves_nothing(item)] or alike
    if len(moved) == 1:
        return moved[0]
    if series.frame and series.frame == content.frame:
        return None
    if moved:
        raise InputError(
            f"{name} registers several scans of the {role} scan's frame of reference and names none of its images.",
            "Give the registration that was made for this series.",
        )
    raise InputError(
        f"{name} registers other series: none of them is the {role} scan.",
        "Give the registration of these two scans, or scans of its frames of reference.",
    )


def _moves_nothing(item: Item) -> bool:
    return item.grid is None and all(np.abs(matrix - np.eye(4)).max() < OF_NOTHING for matrix in item.matrices)


def _say_what_is_lost(content: RegistrationObject, name: str) -> None:
    for item in content.items:
        if item.grid is not None and item.grid.unknown:
            logger.warning(
                "%s leaves %d of its %d vectors undefined: nothing is moved there.",
                name,
                item.grid.unknown,
                item.grid.array.shape[0] * item.grid.array.shape[1] * item.grid.array.shape[2],
            )
        if not content.deformable and len(item.matrices) > 1:
            logger.warning(
                "%s gives a scan's place by %d matrices: the first is applied first.", name, len(item.matrices)
            )
