"""Both images made comparable: finite, scaled to [0, 1], with a foreground and a weight a voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.evaluation import structure_agreement
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.keeping import Keeping, made_once
from DeepRegLib.masks import checked_mask, grown
from DeepRegLib.models import usable_bundle
from DeepRegLib.models.denoising import denoised_by
from DeepRegLib.models.manifest import DENOISE, TRANSLATE
from DeepRegLib.models.translation import DOUBTFUL_SYNTHESIS, translated_by
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.continuing import continued
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.preprocessing import (
    background_is_blank,
    bias_field_corrected,
    blank_region,
    check_not_constant,
    couch_in,
    ct_window_for_registration,
    denoise,
    finite,
    foreground_mask,
    is_ct,
    normalise,
    scanned_cylinder,
    smooth_and_resample,
    window,
)
from DeepRegLib.recipes import DENOISING_METHODS, Prepare, Translate
from DeepRegLib.transforms import Transform, transform_to_sitk

# A brain cut out of its head keeps less than this share of the head's volume.
STRIPPED_SHARE = 0.55
FOREGROUND_MARGIN = 0.04
# Of a voxel of a working grid that must be known for its intensity to be.
LEAST_SHARE = 1e-3
# The weight of a voxel that nothing from beyond the field of view has bled into.
WHOLE = 0.999


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image, prepared.

    Parameters
    ----------
    original
        As given.
    intensity
        float32 in [0, 1] on the original grid.
    known
        bool: voxels that were scanned and are finite, and lie inside the user's mask.
    foreground
        bool: the anatomy, inside `known`.
    is_ct
        Whether the values are Hounsfield units.
    scanned, anatomy
        What `known` and `foreground` would be without the user's mask.
    measured
        What the scanner measured, as `intensity`, where that is what a network made of it; else None.
    keeping
        What was made of it for a comparison; None where no other comparison follows.
    """

    original: Image
    intensity: Image
    known: Image
    foreground: Image
    is_ct: bool
    scanned: Image
    anatomy: Image
    measured: Image | None = None
    keeping: Keeping | None = None

    def without_mask(self) -> Prepared:
        """Return the same image as if the user had given no mask."""
        return replace(self, known=self.scanned, foreground=self.anatomy)

    def as_measured(self) -> Prepared:
        """Return the same image with intensities as the scanner measured them."""
        return self if self.measured is None else replace(self, intensity=self.measured, measured=None)


@dataclass(frozen=True, eq=False)
class PreparedPair:
    """Both images, what was found out about them, and what the user should know."""

    fixed: Prepared
    moving: Prepared
    decisions: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def is_synthetic(self) -> bool:
        """Whether a network made one of the intensities."""
        return self.fixed.measured is not None or self.moving.measured is not None

    @property
    def synthetic(self) -> tuple[Prepared, Image] | None:
        """The side that a network made the intensities of, and these; None where it made none."""
        return next(((side, side.intensity) for side in (self.fixed, self.moving) if side.measured is not None), None)

    def as_measured(self) -> PreparedPair:
        """Return the same pair with intensities as the scanners measured them."""
        if not self.is_synthetic:
            return self
        return replace(self, fixed=self.fixed.as_measured(), moving=self.moving.as_measured())


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """One image with all that can be prepared of it before the other is known, and what the user should know."""

    side: Prepared
    warnings: tuple[str, ...]


def prepare_scan(
    image: Image, recipe: Prepare, mask: Image | None = None, *, poll: Poll = never_cancel
) -> PreparedScan:
    """Prepare one image, to be compared with several others; parameters and errors as of `prepare_pair`.

    What each comparison makes of it is kept for the next one.
    """
    scan = _prepared_scan(image, recipe, mask, poll)
    return replace(scan, side=replace(scan.side, keeping=Keeping()))


def prepare_pair(
    fixed: Image,
    moving: Image,
    recipe: Prepare,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    *,
    prepared_fixed: PreparedScan | None = None,
    translate: Translate | None = None,
    poll: Poll = never_cancel,
) -> PreparedPair:
    """Prepare a fixed and a moving image for comparison.

    Parameters
    ----------
    fixed, moving
        As given.
    recipe
        Clamp, bias correction and denoising.
    fixed_mask, moving_mask
        Nonzero where the image counts, on its own grid.
    prepared_fixed
        What `prepare_scan` made of the fixed image and its mask; None makes it here.
    translate
        The model that shows one of them as the other's modality would; None for none.
    poll
        Called now and then; may raise to stop.

    Raises
    ------
    InputError
        If an image is empty, constant or without a finite voxel, or a mask is empty or on another grid.
    ModelError
        If the model that takes noise out, or the one that translates, cannot be used.
    """
    prepared = [prepared_fixed or _prepared_scan(fixed, recipe, fixed_mask, poll)]
    poll()
    prepared.append(_prepared_scan(moving, replace(recipe, ultrasound=False), moving_mask, poll))
    poll()
    fixed_side, moving_side = (scan.side for scan in prepared)
    warnings = [warning for scan in prepared for warning in scan.warnings]
    fixed_side, moving_side, note = _without_one_sided_blank(fixed_side, moving_side, poll)
    if fixed_side.is_ct and moving_side.is_ct:
        limits = ct_window_for_registration(fixed, moving)
        fixed_side, moving_side = (_windowed(side, limits, poll) for side in (fixed_side, moving_side))
        decisions = [f"Both images are CT: compared between {limits[0]:g} and {limits[1]:g} HU."]
    else:
        fixed_side, moving_side = (_scaled(side, recipe, poll) for side in (fixed_side, moving_side))
        decisions = [f"{side.original.name} is CT." for side in (fixed_side, moving_side) if side.is_ct]
    pair = PreparedPair(fixed_side, moving_side, (*decisions, *note), tuple(warnings))
    return pair if translate is None or not translate.model else _translated(pair, translate, recipe, poll)


def working_image(
    side: Prepared,
    geometry: Geometry,
    device: torch.device,
    transform: Transform | None = None,
    *,
    poll: Poll = never_cancel,
) -> WorkingImage:
    """Bring a prepared image onto a working grid.

    Parameters
    ----------
    side
        The image.
    geometry
        An isotropic grid.
    device
        Where the tensors go.
    transform
        Takes points of `geometry` to points of the image; None for the identity.
    poll
        Called now and then; may raise to stop.
    """

    def make() -> WorkingImage:
        return _working_image(side, geometry, device, transform, poll)

    if transform is not None:
        return make()
    return made_once(side.keeping, ("working image", geometry, device), (side.intensity, side.known), make)


def _working_image(
    side: Prepared, geometry: Geometry, device: torch.device, transform: Transform | None, poll: Poll
) -> WorkingImage:
    chain = None if transform is None else transform_to_sitk(transform)
    weight = _tensor(resample(_as_float(side.known), geometry, transform=chain, poll=poll).array, device).clamp(0, 1)
    if side.known.array.all():
        intensity = _tensor(smooth_and_resample(side.intensity, geometry, chain, poll=poll).array, device)
        known = weight > WHOLE
    else:
        # Unknown voxels must not bleed into their neighbours.
        scanned = _as_float(side.known)
        masked = side.intensity.with_array(np.multiply(side.intensity.array, scanned.array))
        product = _tensor(smooth_and_resample(masked, geometry, chain, poll=poll).array, device)
        share = _tensor(smooth_and_resample(scanned, geometry, chain, poll=poll).array, device)
        intensity, known = product / share.clamp_min(LEAST_SHARE), share > LEAST_SHARE
    return WorkingImage(continued(intensity, known), weight, geometry)


def foreground_weight(
    side: Prepared,
    geometry: Geometry,
    device: torch.device,
    transform: Transform | None = None,
    *,
    poll: Poll = never_cancel,
) -> torch.Tensor:
    """Return the foreground with a soft margin on a working grid, shape ``(D, H, W)``, 0 to 1; `poll` may stop it."""

    def make() -> torch.Tensor:
        return _foreground_weight(side, geometry, device, transform, poll)

    if transform is not None:
        return make()
    return made_once(side.keeping, ("foreground", geometry, device), (side.foreground,), make)


def _foreground_weight(
    side: Prepared, geometry: Geometry, device: torch.device, transform: Transform | None, poll: Poll
) -> torch.Tensor:
    chain = None if transform is None else transform_to_sitk(transform)
    inside = resample(_as_float(side.foreground), geometry, transform=chain, poll=poll)
    # The outline itself is information, so the foreground counts a little past its border.
    margin = max(FOREGROUND_MARGIN * float(np.min(side.original.geometry.extent)), geometry.spacing[0])
    poll()
    share = _tensor(inside.array, device)
    blurred, covered = smooth(torch.stack([share, torch.ones_like(share)]), margin / geometry.spacing[0])
    return (4 * blurred / covered).clamp_(0, 1)


def _prepared_scan(image: Image, recipe: Prepare, mask: Image | None, poll: Poll) -> PreparedScan:
    warnings: list[str] = []
    side = _prepare(image, recipe, mask, warnings, poll)
    return PreparedScan(side, tuple(warnings))


def _prepare(image: Image, recipe: Prepare, mask: Image | None, warnings: list[str], poll: Poll) -> Prepared:
    intensity, bad = finite(image)
    check_not_constant(intensity, poll=poll)
    poll()
    known = np.ones(image.array.shape, dtype=np.bool_)
    if recipe.denoise:
        intensity = _denoised(intensity, recipe.denoise, poll)
    if bad is not None:
        count = int(np.count_nonzero(bad.array))
        warnings.append(f"{image.name} has {count} NaN or infinite voxels; they were left out.")
        known = np.logical_and(known, np.logical_not(bad.array))
    shown = _shown(intensity, recipe, poll)
    if shown is not None:
        known = np.logical_and(known, shown.array)
    if recipe.cone_beam:
        couch = couch_in(intensity, image.with_array(known), poll=poll)
        known = np.logical_and(known, np.logical_not(couch.array))
    scanned = image.with_array(known)
    ct = not recipe.cone_beam and is_ct(intensity)
    found = foreground_mask(intensity, poll=poll).array if shown is None else known
    anatomy = _inside(scanned, found)
    inside = None if mask is None else grown(image, checked_mask(image, mask), recipe.mask_margin)
    masked = scanned if inside is None else image.with_array(np.logical_and(known, inside))
    foreground = anatomy if mask is None else _inside(masked, found)
    if recipe.bias_correction and not ct:
        intensity = bias_field_corrected(intensity, foreground, poll=poll)
    return Prepared(image, intensity, masked, foreground, ct, scanned, anatomy)


def _shown(image: Image, recipe: Prepare, poll: Poll) -> Image | None:
    """Return the part of a volume that its scanner reconstructed, of those scanners that the recipe names; or None."""
    if recipe.cone_beam:
        return scanned_cylinder(image)
    if recipe.ultrasound and background_is_blank(image, poll=poll):
        return image.with_array(np.logical_not(blank_region(image, poll=poll).array))
    return None


def _denoised(image: Image, how: str, poll: Poll) -> Image:
    """Take noise out by a filter, or by the model of a name or folder."""
    if how in DENOISING_METHODS:
        poll()
        return denoise(image, how)
    return denoised_by(usable_bundle(how, DENOISE), image, poll=poll)


def _translated(pair: PreparedPair, translate: Translate, recipe: Prepare, poll: Poll) -> PreparedPair:
    """Let one side be seen as a network shows it in the other's modality, and say how far that can be believed."""
    side = pair.moving if translate.side == "moving" else pair.fixed
    made = translated_by(usable_bundle(translate.model, TRANSLATE), side.original, poll=poll)
    agreement = structure_agreement(side.intensity, made, side.foreground, poll=poll)
    known = None if side.known.array.all() else side.known
    check_not_constant(made, poll=poll)
    scaled = replace(normalise(made, *recipe.clamp, known, poll=poll), name=made.name)
    seen = replace(side, intensity=scaled, measured=side.intensity)
    name = side.original.name
    note = (
        f"{name} was compared as {made.name}, whose edges run like those of the scan to {agreement:.0%}; measures and "
        "verdict are of the scan itself."
    )
    doubts = []
    if agreement < DOUBTFUL_SYNTHESIS:
        doubts.append(
            f"The synthetic scan made of {name} agrees with it to {agreement:.0%} only: parts may be left out or "
            "invented. Use another model, or none."
        )
    changed = replace(pair, moving=seen) if translate.side == "moving" else replace(pair, fixed=seen)
    return replace(changed, decisions=(*pair.decisions, note), warnings=(*pair.warnings, *doubts))


def _inside(known: Image, found: NDArray[np.generic]) -> Image:
    """Return a foreground inside what is known; all of that where nothing is left."""
    inside = np.logical_and(found, known.array)
    return known.with_array(inside if inside.any() else known.array.copy())


def _scaled(side: Prepared, recipe: Prepare, poll: Poll) -> Prepared:
    poll()
    if side.is_ct:
        return _windowed(side, ct_window_for_registration(side.intensity), poll)

    def scaled() -> Prepared:
        known = side.known if not side.known.array.all() else None
        return replace(side, intensity=normalise(side.intensity, *recipe.clamp, known, poll=poll))

    return _once(side, ("scaled", *recipe.clamp), scaled)


def _windowed(side: Prepared, limits: tuple[float, float], poll: Poll) -> Prepared:
    return _once(side, ("window", *limits), lambda: replace(side, intensity=window(side.intensity, *limits, poll=poll)))


def _once(side: Prepared, what: tuple[object, ...], make: Callable[[], Prepared]) -> Prepared:
    """Make of an image what follows from it, or take what was made of it for an earlier comparison."""
    return made_once(side.keeping, what, (side.intensity, side.known), make)


def _without_one_sided_blank(
    fixed: Prepared, moving: Prepared, poll: Poll
) -> tuple[Prepared, Prepared, tuple[str, ...]]:
    """Where one image is a cut-out (a stripped brain) and the other is not, its blank surroundings are unknown."""
    volumes = [float(np.count_nonzero(s.foreground.array)) * s.original.geometry.voxel_volume for s in (fixed, moving)]
    smaller = fixed if volumes[0] < volumes[1] else moving
    if min(volumes) > STRIPPED_SHARE * max(volumes) or not background_is_blank(smaller.intensity, poll=poll):
        return fixed, moving, ()
    shown = np.logical_not(blank_region(smaller.intensity, poll=poll).array)
    cut = replace(
        smaller,
        known=smaller.known.with_array(np.logical_and(smaller.known.array, shown)),
        foreground=smaller.foreground.with_array(np.logical_and(smaller.foreground.array, shown)),
        scanned=smaller.scanned.with_array(np.logical_and(smaller.scanned.array, shown)),
        anatomy=smaller.anatomy.with_array(np.logical_and(smaller.anatomy.array, shown)),
    )
    note = (
        f"{smaller.original.name} is a cut-out (blank around, {min(volumes) / max(volumes):.0%} of the other image's "
        "foreground): its blank surroundings count as unknown.",
    )
    return (cut, moving, note) if smaller is fixed else (fixed, cut, note)


def _as_float(mask: Image) -> Image:
    return mask.with_array(mask.array.astype(np.float32))


def _tensor(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
