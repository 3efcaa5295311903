"""The couch in a CT or a cone-beam CT: dense, apart from the patient, and the same in nearly every slice."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.image import Image, to_sitk
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.arrays import float_array
from DeepRegLib.preprocessing.foreground import (
    MASK_VOXELS,
    array_axis,
    filled_across_axial_slices,
    on_grid_of,
    otsu_threshold,
    radius_in_voxels,
)
from DeepRegLib.preprocessing.resampling import shrink

# mm: what is thinner than twice the first is taken off the patient, who gets back the second; the couch gets the third.
OPENING, REGAINED, MARGIN = 9.0, 13.0, 6.0
SAME_IN = 0.8  # of the slices: arms are not


def couch_in(image: Image, known: Image, *, poll: Poll = never_cancel) -> Image:
    """Return where a couch lies.

    Of what is dense, the largest part that an opening leaves is the patient. Of the rest, what goes through nearly all
    slices at the same place and lies behind or before the patient is a couch; arms beside the body are not.

    Parameters
    ----------
    image
        A CT or a cone-beam CT, whatever the scale of its values.
    known
        Bool on its grid: where it was scanned.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image
        Bool on the image's grid, with a margin of some mm; all false where there is none.
    """
    coarse = shrink(image, MASK_VOXELS)
    shares = shrink(known.with_array(known.array.astype(np.float32)), MASK_VOXELS)
    scanned = float_array(shares) > 0.99
    poll()
    if not scanned.any():
        return image.with_array(np.zeros(image.array.shape, np.bool_))
    values = float_array(coarse)
    dense = np.logical_and(values > otsu_threshold(values[scanned].reshape(1, 1, -1).astype(np.float32)), scanned)
    patient = _patient(coarse.with_array(dense))
    elsewhere = np.logical_not(patient)
    loose = np.logical_and(dense, elsewhere)
    poll()
    axis = array_axis(image, 2)
    slices = np.maximum(scanned.sum(axis=axis, keepdims=True), 1)
    through = np.logical_and(loose, loose.sum(axis=axis, keepdims=True) >= SAME_IN * slices)
    couch = coarse.with_array(_beyond(through, patient, array_axis(image, 1)))
    grown = sitk.BinaryDilate(_as_picture(couch), radius_in_voxels(coarse, MARGIN))
    return on_grid_of(image, coarse.with_array(np.logical_and(_array(grown), elsewhere)), poll)


def _patient(dense: Image) -> NDArray[np.bool_]:
    """Return the largest part of what is dense, holes in its slices filled."""
    opened = sitk.BinaryMorphologicalOpening(_as_picture(dense), radius_in_voxels(dense, OPENING))
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(opened), sortByObjectSize=True)
    regained = sitk.BinaryDilate(sitk.BinaryThreshold(parts, 1, 1, 1, 0), radius_in_voxels(dense, REGAINED))
    return filled_across_axial_slices(dense, _array(regained))


def _beyond(parts: NDArray[np.bool_], patient: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Keep the parts most of which lie outside of the range of the patient along an axis."""
    rows = np.flatnonzero(patient.any(axis=tuple(other for other in range(3) if other != axis)))
    numbers = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(parts.astype(np.uint8))))
    row = np.arange(parts.shape[axis]).reshape([-1 if other == axis else 1 for other in range(3)])
    outside = np.logical_or(row < rows.min(initial=0), row > rows.max(initial=0))
    total, beyond = (
        np.bincount(numbers[where].ravel(), minlength=numbers.max() + 1) for where in (parts, parts & outside)
    )
    return np.isin(numbers, np.flatnonzero((2 * beyond > total) & (total > 0))) & parts


def _as_picture(mask: Image) -> sitk.Image:
    return to_sitk(mask.with_array(mask.array.astype(np.uint8)))


def _array(picture: sitk.Image) -> NDArray[np.bool_]:
    return sitk.GetArrayFromImage(picture).astype(np.bool_)
