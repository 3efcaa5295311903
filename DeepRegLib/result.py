"""What a registration hands back: transforms, the warped image, and how far to trust them. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.recipes import Recipe
from DeepRegLib.transforms import Transform

OK, CHECK, FAILED = "ok", "check", "failed"
# Enough voxels for percentiles; all of a large scan would take a second.
SAMPLED_VOXELS = 1_000_000


@dataclass(frozen=True)
class Verdict:
    """How far a result can be trusted.

    Parameters
    ----------
    level
        ``"ok"``, ``"check"`` or ``"failed"``.
    reasons
        Plain sentences, the gravest first.
    """

    level: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class WorstPlace:
    """A place of the fixed anatomy to look at first.

    Parameters
    ----------
    position
        x, y, z, LPS mm.
    expected_mm
        Error to be expected there.
    reason
        What is wrong there, in words.
    """

    position: tuple[float, float, float]
    expected_mm: float
    reason: str


@dataclass(frozen=True)
class CarriedLabel:
    """What became of one label that was carried over.

    Parameters
    ----------
    label
        Its number.
    volume_before, volume_after
        As it was drawn on the moving scan, and on the fixed grid, in ml; the latter is 0 where it vanished.
    mean_jacobian
        Mean determinant of the transform in it, moving volume per fixed volume; None where it vanished.
    outside
        Share of it that lies outside of the fixed scan, 0 to 1.
    """

    label: int
    volume_before: float
    volume_after: float
    mean_jacobian: float | None
    outside: float


@dataclass(frozen=True)
class Measures:
    """Numbers on a result; those that need labels or landmarks are None without them.

    Parameters
    ----------
    ncc_before, ncc_after
        Normalised cross correlation of fixed and moving inside the common foreground, -1 to 1.
    nmi_before, nmi_after
        Normalised mutual information, 1 (independent) to 2 (identical).
    structure_before, structure_linear, structure_after
        Agreement of edge directions, 0 (none beyond chance) to 1; independent of contrast. In between: as the
        deformable stage began, by a linear transform, which unlike a field cannot make unrelated images alike.
    overlap
        Share of the fixed foreground that the moving field of view covers, 0 to 1.
    folds
        Voxels of the fixed grid where a digital Jacobian determinant is zero or negative.
    volume_scale
        Determinant of the linear part: volume in the moving image per volume in the fixed one.
    log_jacobian_sd, jacobian_min, jacobian_max
        Of the whole transform inside the fixed foreground; the sd is of the deformation without its linear part.
    inverse_error_mean, inverse_error_p99
        Distance in mm between foreground points and their way there and back.
    dice_before, dice_after
        Per label, if fixed and moving labels were given.
    tre_before, tre_after
        Mean target registration error in mm, if landmark pairs were given.
    coverage
        The larger of two shares: of the fixed foreground that the moving field of view covers, and of the moving
        foreground that the fixed one covers.
    masked_share
        Of the anatomy that masks leave, the smaller of both scans' shares; 1 without masks.
    information, information_close, information_nearby, information_elsewhere
        Mutual information as a share of the joint entropy, 0 to 1, on a coarse grid: at the pose the deformable stage
        started from, the most at displacements of that by a tenth of the anatomy's radius, by a quarter and a half of
        it, and the most at other poses that a search of the whole space found. A right pose has clearly more.
    edges, edges_nearby, edges_elsewhere
        The same of the correlation of edge directions, -1 to 1.
    elsewhere_mm
        How far the pose with the most information elsewhere lies from the result's, as mean distance in the anatomy.
    mirrored_information, mirrored_edges
        What the best pose that mirrors a scan has of information and edges, over what the pose itself has: above 1, the
        scan of the other side fits better.
    explained
        Of a recipe for ultrasound: the share of it that the other scan explains (LC2) at the pose the deformable stage
        started from, 0 to 1. Information and edges are that share too, and what lies elsewhere is near.
    landmark_spread, landmark_residual
        Root mean square distance of the fixed landmarks from their centre, and the mean error with which the rigid fit
        of the other pairs predicts each pair, in mm; None without landmarks, the latter with fewer than five as well.
    landmarks_outside
        How many fixed or moving landmarks lie outside their scan.
    led_astray
        Of the place where the motion of its surroundings fits clearly better than its own: how far they are apart, mm.
        None without a field.
    inverse_folds
        Voxels of the moving grid where the inverse folds, as `folds` are counted; None in results of older versions.
    """

    ncc_before: float
    ncc_after: float
    nmi_before: float
    nmi_after: float
    structure_before: float
    structure_linear: float
    structure_after: float
    overlap: float
    folds: int
    volume_scale: float
    log_jacobian_sd: float
    jacobian_min: float
    jacobian_max: float
    inverse_error_mean: float
    inverse_error_p99: float
    dice_before: Mapping[int, float] | None = None
    dice_after: Mapping[int, float] | None = None
    tre_before: float | None = None
    tre_after: float | None = None
    coverage: float | None = None
    masked_share: float | None = None
    information: float | None = None
    information_close: float | None = None
    information_nearby: float | None = None
    information_elsewhere: float | None = None
    edges: float | None = None
    edges_nearby: float | None = None
    edges_elsewhere: float | None = None
    elsewhere_mm: float | None = None
    mirrored_information: float | None = None
    mirrored_edges: float | None = None
    explained: float | None = None
    landmark_spread: float | None = None
    landmark_residual: float | None = None
    landmarks_outside: int | None = None
    led_astray: float | None = None
    inverse_folds: int | None = None


@dataclass(frozen=True)
class StartMeasures:
    """Those `Measures` of a result that every result of its pair with the same linear part shares."""

    ncc_before: float
    nmi_before: float
    structure_before: float
    structure_linear: float
    information: float | None
    information_close: float | None
    information_nearby: float | None
    information_elsewhere: float | None
    edges: float | None
    edges_nearby: float | None
    edges_elsewhere: float | None
    elsewhere_mm: float | None
    mirrored_information: float | None
    mirrored_edges: float | None
    explained: float | None


def start_measures(measures: Measures) -> StartMeasures:
    """Return what other results of a pair with the same linear part need not measure again."""
    return StartMeasures(**{each.name: getattr(measures, each.name) for each in fields(StartMeasures)})


@dataclass(frozen=True, eq=False)
class Registration:
    """The result of one run, as data; `DeepRegLib.registration.Registration` adds what is done with it.

    Parameters
    ----------
    fixed, moving
        The images as given.
    transform, inverse
        Fixed points to moving points, and back (LPS, mm).
    warped
        The moving image on the fixed grid, in its own intensities and type, resampled once.
    field_of_view
        Bool image on the fixed grid, true where `warped` was scanned.
    warped_labels
        Moving labels on the fixed grid, or None.
    warped_layers
        Further label maps on the fixed grid, in the order they were given; `DeepRegLib.propagation.with_layers`.
    warped_fractions
        Shares of voxels on the fixed grid, in the order they were given; `DeepRegLib.propagation.with_fractions`.
    jacobian
        float32 determinant of the transform on the fixed grid (1 keeps volume), or None if nobody asked for it.
    uncertainty
        float32, mm, on the fixed grid: how far a model's answers to the same pair differ; None if nobody asked for it.
    explanation
        float32, mm, on the fixed grid: how far a model's field moves at each place if the fixed image is hidden there;
        None if nobody asked for it.
    trust
        float32, mm, on the fixed grid: the error to be expected inside the fixed foreground, 0 outside; None of a
        result made before there was such a map.
    synthetic
        What a network made of the scan that the recipe translates, on that scan's own grid; None where none was.
    worst_places
        Where most error is to be expected, the worst first; at most three, none near another.
    carried
        What became of each of the moving labels, ascending; empty without any.
    carried_layers
        The same of each of the warped layers.
    fixed_foreground
        Bool image on the fixed grid: where the measures were taken.
    measures, verdict, warnings
        How good it is.
    decisions
        What `auto` chose and why, as sentences.
    recipe
        The recipe as run, every `auto` replaced by the choice made.
    curves
        Similarity per iteration, one array a stage and level, in the order they ran.
    timings
        Seconds a stage, in the order they ran.
    provenance
        Versions, device, seed, hashes of the inputs.
    """

    fixed: Image
    moving: Image
    transform: Transform
    inverse: Transform
    warped: Image
    field_of_view: Image
    fixed_foreground: Image
    measures: Measures
    verdict: Verdict
    recipe: Recipe
    warped_labels: Image | None = None
    warped_layers: tuple[Image, ...] = ()
    warped_fractions: tuple[Image, ...] = ()
    jacobian: Image | None = None
    uncertainty: Image | None = None
    explanation: Image | None = None
    trust: Image | None = None
    synthetic: Image | None = None
    worst_places: tuple[WorstPlace, ...] = ()
    carried: tuple[CarriedLabel, ...] = ()
    carried_layers: tuple[tuple[CarriedLabel, ...], ...] = ()
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """Name and version of the model that was asked; empty if none was."""
        asked = self.provenance.get("model")
        return f"{asked['name']} {asked['version']}" if asked else ""

    def uncertainty_percentiles(self) -> tuple[float, float] | None:
        """Return median and 95th percentile of the uncertainty inside the fixed foreground, in mm.

        Of a regular sample of it, where the foreground is large.

        Returns
        -------
        tuple of float, or None
            None if there is no map, or no foreground.
        """
        return self._percentiles(self.uncertainty)

    def trust_percentiles(self) -> tuple[float, float] | None:
        """Return the same of the error to be expected."""
        return self._percentiles(self.trust)

    def explanation_agreement(self) -> float | None:
        """Return how the explanation goes with the error to be expected: their rank correlation (Spearman).

        Below 0 the model relied most on what the scans show where least error is expected.

        Returns
        -------
        float, or None
            Of a sample as in `uncertainty_percentiles`; None if a map is missing, or the same everywhere.
        """
        if self.explanation is None or self.trust is None:
            return None
        samples = self._sample(self.explanation), self._sample(self.trust)
        if not all(values.size and np.ptp(values) > 0 for values in samples):
            return None
        return float(np.corrcoef([_ranks(values) for values in samples])[0, 1])

    def _percentiles(self, image: Image | None) -> tuple[float, float] | None:
        values = np.empty(0) if image is None else self._sample(image)
        if not values.size:
            return None
        median, high = np.percentile(values, (50, 95))
        return float(median), float(high)

    def _sample(self, image: Image) -> NDArray[np.float64]:
        """Return the values of a map inside the fixed foreground, of a regular sample where that is large."""
        # An odd step does not stay in one column of voxels.
        step = max(1, image.array.size // SAMPLED_VOXELS) | 1
        inside = self.fixed_foreground.array.reshape(-1)[::step].astype(np.bool_)
        return image.array.reshape(-1)[::step][inside].astype(np.float64)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value; equal ones share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]
