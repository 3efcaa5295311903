"""From how far away the pipeline finds home: scans deformed by random smooth fields that are known."""

from __future__ import annotations

import time
from statistics import fmean
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from DeepRegLib.errors import DeepRegError
from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.networks.fields import integrate
from DeepRegLib.pipeline import register
from DeepRegLib.stages.deformable import to_displacement_field
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, apply_to_image
from Testing.benchmarks.cases import find_cases, preferred
from Testing.benchmarks.learned.variants import WITH, WITHOUT, variants
from Testing.benchmarks.options import Options
from Testing.benchmarks.poses import fine_enough, foreground_points
from Testing.benchmarks.tables import Table, nothing

TITLE = "How far away it finds home"
SCANS = (
    "head_t1_freesurfer_sub01_sub02",
    "abdomen_ct_totalseg_amos0336",
    "liver_mr_breathing_eth18_cyc_1_10",
    "lung_ct_elastix_baseline_followup",
)
ERRORS_MM = (5.0, 10.0, 20.0, 40.0)
HOME_MM, INSIDE_MM = 2.0, 15.0
COMPARED = (WITHOUT, WITH)
# Larger motion is smoother too, as that of organs and limbs is.
SMOOTHNESS_MM, SMOOTHNESS_PER_MM = 15.0, 0.75
NOISE = 0.02
SQUARINGS = 7
SCALINGS = 4


def measure(options: Options) -> Table:
    """Deform each scan by each mean error, register it back, and count what ends below `HOME_MM`."""
    cases = preferred(find_cases(options.data, options.only), SCANS)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    recipes = {name: recipe for name, recipe in variants(options.recipe, options.model).items() if name in COMPARED}
    rows = []
    for case in cases:
        scan = fine_enough(case.images()[0], case.name)
        for number, error in enumerate(ERRORS_MM):
            moved, truth, points = deformed(scan, error, seed=number)
            if len(points) == 0:
                print(f"  {case.name} is too small to be moved by {error:g} mm.", flush=True)
                continue
            before = float(distances(truth, None, points).mean())
            row: dict[str, Any] = {"scan": case.name, "mm asked": error, "mm before": before}
            for name, recipe in recipes.items():
                start = time.perf_counter()
                try:
                    found = register(scan, moved, recipe)
                    left = distances(truth, found.transform, points)
                    row |= {name: float(left.mean()), f"home {name}": float((left < HOME_MM).mean())}
                except DeepRegError as failure:
                    row |= {name: np.inf, f"home {name}": 0.0}
                    print(f"  {failure.message}", flush=True)
                row[f"seconds {name}"] = time.perf_counter() - start
            rows.append(row)
            print(
                f"  {case.name}: " + ", ".join(f"{name} {row[name]:.2f}" for name in ("mm before", *recipes)),
                flush=True,
            )
    return Table(TITLE, tuple(rows[0]), rows, summed_up(rows))


def summed_up(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return how many scans, and what share of their points, end below `HOME_MM`, by how far away they began."""
    sentences = []
    for error in sorted({row["mm asked"] for row in rows}):
        of_error = [row for row in rows if row["mm asked"] == error]
        shares = (
            f"{name} {sum(row[name] < HOME_MM for row in of_error)}/{len(of_error)} scans on average, "
            f"{fmean(row[f'home {name}'] for row in of_error):.0%} of their points"
            for name in COMPARED
        )
        sentences.append(f"From {error:g} mm below {HOME_MM:g} mm: {'; '.join(shares)}.")
    return tuple(sentences)


def deformed(scan: Image, error: float, seed: int) -> tuple[Image, DisplacementField, NDArray[np.float64]]:
    """Deform a scan at random and by a mean distance in its anatomy.

    Parameters
    ----------
    scan
        With isotropic voxels.
    error
        Mean distance in mm.
    seed
        Of the deformation and of the noise that is added.

    Returns
    -------
    Image, DisplacementField, NDArray
        The deformed scan; the field from points of the scan to where they are in it; and those points of the anatomy,
        ``(n, 3)``, LPS mm, that are `INSIDE_MM` inside both fields of view: nearer to its edge, half of what would tell
        where a point has gone may be missing. None where the scan is too small for such a motion.
    """
    geometry, rng = scan.geometry, np.random.default_rng(seed)
    points = foreground_points(scan)
    sigma = (SMOOTHNESS_MM + SMOOTHNESS_PER_MM * error) / geometry.spacing[0]
    noise = rng.normal(size=(3, *geometry.shape))
    smooth = [sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(axis), sigma) for axis in noise]
    velocity = torch.from_numpy(np.stack([sitk.GetArrayFromImage(axis) for axis in smooth])).float()
    for _ in range(SCALINGS):
        velocity *= error / distances(followed(velocity, geometry), None, points).mean()
    truth = followed(velocity, geometry)
    moved = apply_to_image(followed(-velocity, geometry), scan, geometry).array.astype(np.float32)
    spread = np.percentile(moved, 99) - np.percentile(moved, 1)
    moved = moved + rng.normal(scale=NOISE * spread, size=moved.shape).astype(np.float32)
    seen = inside(geometry, points) & inside(geometry, truth.apply_to_points(points))
    return Image(moved, geometry, "deformed"), truth, points[seen]


def inside(geometry: Geometry, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which points lie `INSIDE_MM` or more within the outer voxels of a grid."""
    margin = INSIDE_MM / np.array(geometry.spacing)
    index = geometry.to_index(points)
    return np.asarray(np.all((index >= margin) & (index <= np.array(geometry.size) - 1 - margin), axis=1))


def followed(velocity: torch.Tensor, geometry: Geometry) -> DisplacementField:
    """Return where a velocity in voxels, ``(3, D, H, W)``, leads in unit time."""
    return to_displacement_field(integrate(velocity[None], SQUARINGS)[0], geometry)


def distances(truth: DisplacementField, found: Transform | None, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances in mm of where two transforms take points; None leaves them where they are."""
    return target_registration_error(found or LinearTransform.identity(), points, truth.apply_to_points(points))
