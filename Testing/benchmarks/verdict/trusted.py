"""Whether the map of expected errors tells where a result is wrong: scans deformed by known fields."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.evaluation.trust import Signs, expected_error
from DeepRegLib.image import Image
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.pipeline import register
from DeepRegLib.preparation import Prepared, prepare_pair
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, apply_to_image
from DeepRegLib.trust_map import coarse_grid, signs_of
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing
from Testing.benchmarks.verdict.scans import FIGURES, LIMITS, Pair, names_of, pair_of

TITLE = "Where a result can be trusted"
SCANS = (
    *("brain_multimodal_stroke", "brain_t1_nirep_na02", "brain_t1_nirep_na04", "head_t1_freesurfer_sub01"),
    *("head_t1_freesurfer_sub04", "lung_ct", "lung_proton", "cardiac_cine_acdc_patient102"),
    *("cardiac_cine_acdc_patient110", "liver_mr_breathing_eth18_cyc_1", "liver_mr_breathing_eth19_cyc_1_6"),
    *("hippocampus_mr_msd_001", "hippocampus_mr_msd_004", "knee", "prostate", "brain_preop"),
)
SPACING = 4.0
# Of the grid's longest side: how wide the bumps of the field are, and how far they move.
WIDTHS, LARGEST = (0.06, 0.15), 0.05
NOISE = (0.02, 0.12)
BIAS = 0.15
MOST_VOXELS = 5000


@dataclass(frozen=True, eq=False)
class Seen:
    """Signs and true error at some voxels of one result, in voxels of the map where they are lengths."""

    scan: str
    half: str
    how: str
    columns: NDArray[np.float64]
    error: NDArray[np.float64]
    expected: NDArray[np.float64]
    spacing: float


def measure(options: Options) -> Table:
    """Deform scans, register some of them, and compare the expected with the true error."""
    names = [name for name in names_of(options.data, options.only) if name.startswith(SCANS)]
    if not names:
        return nothing(TITLE, f"There is no case for it in {options.data}.")
    found = []
    for name in names:
        found += list(of_scan(pair_of(options.data, name, SPACING)))
        print(f"  {name}", flush=True)
    return table_of(found)


def table_of(found: list[Seen]) -> Table:
    """Return what the map is worth, by scan, and what least squares would make of the limits' half."""
    rows = [
        {
            "scan": each.scan,
            "half": each.half,
            "field": each.how,
            "true mm": float(each.error.mean() * each.spacing),
            "expected mm": float(each.expected.mean()),
            "correlation": _correlation(each.expected, each.error * each.spacing),
        }
        for each in found
    ]
    summary = [line for half in (FIGURES, LIMITS) for line in _summary([s for s in found if s.half == half], half)]
    fitted = fit([each for each in found if each.half == LIMITS])
    names = ("everywhere", "by unlikeness", "by shift", "by stretch")
    summary.append("Least squares on the half for limits: " + ", ".join(map("{} {:.2f}".format, names, fitted)) + ".")
    return Table(TITLE, ("scan", "half", "field", "true mm", "expected mm", "correlation"), rows, summary)


def of_scan(pair: Pair) -> Iterator[Seen]:
    """Yield what is seen of a scan that a known field has deformed: as it is, and after a registration."""
    rng = np.random.default_rng(sum(pair.name.encode()))
    for how in ("as it is", "registered"):
        truth = _field(pair.fixed, rng, 1.0 if how == "as it is" else 2.0)
        fixed = _spoilt(apply_to_image(truth, pair.fixed, pair.fixed.geometry), rng)
        if how == "registered":
            result = register(fixed, pair.fixed, _recipe(), device="cpu")
            transform, inverse = result.transform, result.inverse
        else:
            transform = inverse = LinearTransform.identity()
        yield _seen(pair, how, fixed, truth, transform, inverse, rng)


def fit(found: list[Seen]) -> NDArray[np.float64]:
    """Return the four coefficients of `expected_error`, none below 0, by least squares over scans alike."""
    columns, error = np.concatenate([each.columns for each in found]), np.concatenate([each.error for each in found])
    kept = np.ones(columns.shape[1], dtype=np.bool_)
    while True:
        solution = np.zeros(columns.shape[1])
        solution[kept] = np.linalg.lstsq(columns[:, kept], error, rcond=None)[0]
        if (solution >= 0).all():
            return solution
        kept &= solution > 0


def _seen(
    pair: Pair,
    how: str,
    fixed: Image,
    truth: Transform,
    transform: Transform,
    inverse: Transform,
    rng: np.random.Generator,
) -> Seen:
    prepared = prepare_pair(fixed, pair.fixed, load_recipe("fast").prepare)
    grid = coarse_grid(fixed.geometry)
    foreground = prepared.fixed.foreground
    known = fixed.with_array(np.ones(fixed.array.shape, dtype=np.bool_))
    warped = apply_to_image(transform, _intensity(prepared.moving), fixed.geometry)
    images = _intensity(prepared.fixed), warped, known, foreground
    signs, inside = signs_of(*images, transform, inverse, grid)
    at = np.argwhere(inside)
    at = at[rng.permutation(len(at))[:MOST_VOXELS]]
    points = grid.to_world(at[:, ::-1])
    error = np.linalg.norm(transform.apply_to_points(points) - truth.apply_to_points(points), axis=1)
    step = grid.spacing[0]
    k, j, i = at.T
    return Seen(
        pair.name, pair.half, how, columns_of(signs)[k, j, i], error / step, expected_error(signs, step)[k, j, i], step
    )


def columns_of(signs: Signs) -> NDArray[np.float64]:
    """Return what the coefficients of `expected_error` multiply, ``(k, j, i, 4)``."""
    ones = np.ones_like(signs.unlike)
    return np.stack([ones, signs.unlike, signs.unlike * signs.shift, signs.stretch], axis=-1).astype(np.float64)


def _summary(found: list[Seen], half: str) -> Iterator[str]:
    if not found:
        return
    expected = np.concatenate([each.expected for each in found])
    error = np.concatenate([each.error * each.spacing for each in found])
    steps = np.quantile(expected, np.linspace(0, 1, 6))
    shares = [(expected >= low) & (expected <= high) for low, high in itertools.pairwise(steps)]
    fifths = ", ".join(f"{expected[s].mean():.1f} ({error[s].mean():.1f})" for s in shares)
    own = float(np.mean([_correlation(each.expected, each.error) for each in found]))
    yield (
        f"Half for {half}: correlation of expected and true error {_correlation(expected, error):.2f} over all voxels, "
        f"{own:.2f} inside a scan on average; by fifths of the expected error, mm, with the true one: {fifths}."
    )


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def _field(image: Image, rng: np.random.Generator, times: float) -> DisplacementField:
    shape, longest = image.geometry.shape, max(image.geometry.shape)
    noise = torch.from_numpy(rng.normal(size=(3, *shape)).astype(np.float32))
    bumps = smooth(noise, float(rng.uniform(*WIDTHS)) * longest).numpy()
    length = np.sqrt((bumps**2).sum(0)).max()
    most = rng.uniform(0.3, 1.0) * LARGEST * times * float(image.geometry.extent.max())
    return DisplacementField(np.moveaxis(bumps / length * most, 0, -1).astype(np.float64), image.geometry)


def _spoilt(image: Image, rng: np.random.Generator) -> Image:
    """Return an image with noise and a smooth change of brightness, as another scan of the same would have."""
    values = image.array.astype(np.float32)
    noise = rng.normal(size=values.shape) * values.std() * rng.uniform(*NOISE)
    bias = smooth(torch.from_numpy(rng.normal(size=values.shape).astype(np.float32)), 0.15 * max(values.shape)).numpy()
    bias = 1 + BIAS * bias / np.abs(bias).max()
    return image.with_array((values * bias + noise).astype(np.float32))


def _intensity(side: Prepared) -> Image:
    return side.intensity


def _recipe() -> Recipe:
    recipe = load_recipe("fast")
    return replace(
        recipe,
        search=replace(recipe.search, enabled=False),
        linear=replace(recipe.linear, model="rigid", iterations=20),
    )
