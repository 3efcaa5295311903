"""The one scorer: SimpleITK applies whatever transform files a tool wrote; every tool is measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.evaluation.determinants import folds_and_determinants
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.preprocessing import finite, foreground_mask
from DeepRegLib.transforms.io import FIELD_SUFFIXES
from Testing.benchmarks.cases import Case
from Testing.benchmarks.pairs import common_dice

VERSION = 1  # raise it when a change here, or in what is called from here, changes a score

POINTS = 5000


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a case.

    Parameters
    ----------
    grid
        The fixed image's.
    foreground
        Bool image of the anatomy on that grid.
    labels
        Fixed and moving label maps.
    landmarks
        Corresponding fixed and moving points, LPS mm.
    """

    grid: Geometry
    foreground: Image
    labels: tuple[Image, Image] | None
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None


def known_truth(case: Case) -> Truth:
    """Read what is known of a case."""
    fixed, _ = finite(case.images()[0])
    return Truth(fixed.geometry, foreground_mask(fixed), case.labels(), case.landmarks())


def read_chain(paths: Sequence[str | Path]) -> sitk.Transform:
    """Return one transform from the files of several, in the order in which they are applied to fixed points.

    Raises
    ------
    RuntimeError
        If SimpleITK cannot read one.
    """
    parts = [_read_part(str(path)) for path in paths]
    return sitk.CompositeTransform(parts[::-1])  # ITK applies the transform added last first


def score(transform: sitk.Transform, truth: Truth) -> dict[str, float]:
    """Return Dice and TRE (mm) where there is truth, folds and standard deviation of log J on the fixed grid.

    Dice is the mean over the labels in both maps, the moving one resampled by nearest neighbour. "folds" are the voxels
    of the foreground with a digital fold, "folds outside" the others; log J is taken in the foreground where J > 0.

    Raises
    ------
    ValueError
        If the transform is not finite.
    """
    found: dict[str, float] = {}
    displacement = _displacement(transform, truth.grid)
    if not np.isfinite(displacement).all():
        raise ValueError("the transform is not finite")
    if truth.labels is not None:
        fixed, moving = truth.labels
        warped = resample(moving, fixed.geometry, interpolation="nearest", transform=transform)
        found["Dice"] = common_dice(fixed, warped, moving)
    if truth.landmarks is not None:
        fixed_points, moving_points = truth.landmarks
        mapped = np.array([transform.TransformPoint(point) for point in fixed_points.tolist()])
        found["TRE"] = float(np.linalg.norm(mapped - moving_points, axis=1).mean())
    return found | _regularity(displacement, truth)


def folds(transform: sitk.Transform, image: Image) -> int:
    """Return at how many voxels of an image's foreground a transform of its points folds."""
    known, _ = finite(image)
    truth = Truth(known.geometry, foreground_mask(known), None, None)
    return int(score(transform, truth)["folds"])


def moved(name: str, truth: Truth, *chain: sitk.Transform) -> dict[str, float]:
    """Return how far points of the fixed foreground end from where they began by one transform after another, mm.

    The mean and the 99th percentile of `POINTS` points, by the name of the chain.
    """
    inside = np.argwhere(truth.foreground.array)[:, ::-1]
    points = truth.grid.to_world(inside[np.random.default_rng(0).integers(0, len(inside), POINTS)])
    ends = points
    for transform in chain:
        ends = np.array([transform.TransformPoint(point) for point in ends.tolist()])
    off = np.linalg.norm(ends - points, axis=1)
    return {f"{name} mean": float(off.mean()), f"{name} p99": float(np.percentile(off, 99))}


def _read_part(path: str) -> sitk.Transform:
    if path.endswith(FIELD_SUFFIXES):
        return sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
    return sitk.ReadTransform(path)


def _displacement(transform: sitk.Transform, grid: Geometry) -> NDArray[np.float64]:
    sampler = sitk.TransformToDisplacementFieldFilter()
    sampler.SetOutputPixelType(sitk.sitkVectorFloat64)
    sampler.SetSize(grid.size)
    sampler.SetOutputOrigin(grid.origin)
    sampler.SetOutputSpacing(grid.spacing)
    sampler.SetOutputDirection(grid.direction)
    return sitk.GetArrayFromImage(sampler.Execute(transform))


def _regularity(displacement: NDArray[np.float64], truth: Truth) -> dict[str, float]:
    inside = truth.foreground.array.astype(np.bool_)
    folded, determinants = folds_and_determinants(displacement, truth.grid, inside, mirrored=False, poll=never_cancel)
    logs = np.log(determinants[determinants > 0].astype(np.float64))
    return {
        "folds": int(np.count_nonzero(folded & inside)),
        "folds outside": int(np.count_nonzero(folded & ~inside)),
        "voxels": int(np.count_nonzero(inside)),
        "sd log J": float(logs.std()) if logs.size else float("nan"),
    }
