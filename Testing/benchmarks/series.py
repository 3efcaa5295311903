"""Series made by a known motion: registered as a series and frame by frame; a head that drifts; a group's template."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation import digital_folds, measure_segments
from DeepRegLib.image import Image, read_image
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Request
from DeepRegLib.series.building import build_template
from DeepRegLib.series.products import trajectories
from DeepRegLib.series.registering import register_series
from DeepRegLib.series.temporal import roughness
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_labels
from Testing.benchmarks.made_series import MadeSeries, breathing, drifting_head, smaller
from Testing.benchmarks.options import Options
from Testing.benchmarks.segmentation import Labelled, labelled
from Testing.benchmarks.tables import Table, nothing

TITLE = "Series in time, and templates"
COLUMNS = ("what", "how", "mean error (mm)", "95 % (mm)", "roughness (mm)", "true", "folds", "CPU seconds", "verdict")
BREATHING, HEAD, GROUP = "liver_mr", "mouse_skull", "hippocampus"
FRAMES, HEAD_FRAMES = 10, 60
STEP = 2.7  # mm
MOST_SHARE = 1 / 3


def measure(options: Options) -> Table:
    """Measure errors of points whose motion is known, and what a template of labelled scans is worth."""
    rows: list[dict[str, Any]] = []
    scans = [path for path in (options.data / name for name in _cases(options)) if (path / "fixed.nii.gz").is_file()]
    for part, path in itertools.product((BREATHING, HEAD), scans):
        if part in path.name:
            rows += _breath(path, options) if part == BREATHING else _head(path)
            _say(rows)
    group = labelled(options.data, GROUP)
    if len(group) > 2 and options.only in ("", GROUP):
        rows += _template(group, options)
        _say(rows)
    if not rows:
        return nothing(TITLE, f"There is no case of {BREATHING}, {HEAD} or {GROUP} in {options.data}.")
    shares = [one["CPU seconds"] / other["CPU seconds"] for one, other in _pairs(rows)]
    better = all(one["mean error (mm)"] <= other["mean error (mm)"] for one, other in _pairs(rows))
    said = [f"A series takes {share:.2f} of the time of its frames one by one." for share in shares]
    return Table(TITLE, COLUMNS, rows, said, all(s <= MOST_SHARE for s in shares) and better if shares else None)


def _cases(options: Options) -> list[str]:
    """Return the first case of each kind, or those that were named."""
    names = sorted(path.name for path in options.data.iterdir() if path.is_dir())
    if options.only:
        return [name for name in names if options.only in name]
    firsts = (next((name for name in names if part in name), None) for part in (BREATHING, HEAD))
    return [name for name in firsts if name is not None]


def _breath(path: Path, options: Options) -> list[dict[str, Any]]:
    rest = smaller(read_image(path / "fixed.nii.gz"), STEP)
    phase = np.pi * np.arange(FRAMES) / FRAMES
    # Up to 14 mm along one axis, and 4 mm across, which lags behind.
    amounts = np.stack([14 * np.sin(phase) ** 2, 4 * (np.sin(phase - 0.35) ** 2 - np.sin(0.35) ** 2)], axis=1)
    made = breathing(path.name, rest, amounts, [[0, 1, 0], [1, 0, 0]])
    series, seconds = _timed(lambda: register_series(made.frames, options.recipe, reference=0, device="cpu"))
    folds = sum(row.folds for row in series.rows)
    rows = [_row(made, "series", trajectories(series, made.points), folds, seconds, series.verdict.level)]
    found, seconds = _timed(lambda: _one_by_one(made.frames, options.recipe))
    paths = np.stack([each.apply_to_points(made.points) for each in found])
    folds = sum(digital_folds(each, rest.geometry) for each in found)
    return [*rows, _row(made, "frame by frame", paths, folds, seconds, None)]


def _one_by_one(frames: Sequence[Image], recipe: str) -> list[Transform]:
    chosen = load_recipe(recipe)
    rest = (align(Request(frames[0], frame, chosen, device="cpu")).transform for frame in frames[1:])
    return [LinearTransform.identity(), *rest]


def _head(path: Path) -> list[dict[str, Any]]:
    made = drifting_head(path.name, _cube(read_image(path / "fixed.nii.gz")), HEAD_FRAMES, seed=1)
    series, seconds = _timed(lambda: register_series(made.frames, "rigid", reference=0, cyclic=False, device="cpu"))
    return [_row(made, "rigid series", trajectories(series, made.points), 0, seconds, series.verdict.level)]


def _cube(image: Image) -> Image:
    """Return a scan on about 64 voxels along its longest axis."""
    return smaller(image, float(image.geometry.extent.max()) / 64)


def _row(
    made: MadeSeries, how: str, paths: NDArray[np.float64], folds: int, seconds: float, verdict: str | None
) -> dict[str, Any]:
    error = np.linalg.norm(paths - made.truth, axis=-1)[1:]
    return {
        "what": made.name,
        "how": how,
        "mean error (mm)": float(error.mean()),
        "95 % (mm)": float(np.percentile(error, 95)),
        "roughness (mm)": roughness(paths, cyclic=True),
        "true": roughness(made.truth, cyclic=True),
        "folds": folds,
        "CPU seconds": seconds,
        "verdict": verdict,
    }


def _template(group: Sequence[Labelled], options: Options) -> list[dict[str, Any]]:
    recipe = "fast" if options.recipe == "auto" else options.recipe
    images = [each.image for each in group]
    built, seconds = _timed(lambda: build_template(images, recipe, device="cpu"))
    dice = pairwise_dice(group, built.transforms, built.image)
    how = f"template: Dice {dice:.3f}, bias {built.bias:.4f} mm, gradient {mean_gradient(built.image):.3f}"
    rows = [{"what": GROUP, "how": how, "CPU seconds": seconds, "verdict": built.verdict.level}]
    chosen, first = load_recipe(recipe), group[0].image
    moved: list[Transform | None] = [LinearTransform.identity()]
    moved += [align(Request(first, image, chosen, device="cpu")).transform for image in images[1:]]
    how = f"one member: Dice {pairwise_dice(group, moved, first):.3f}, gradient {mean_gradient(first):.3f}"
    return [*rows, {"what": GROUP, "how": how}]


def pairwise_dice(group: Sequence[Labelled], transforms: Sequence[Transform | None], space: Image) -> float:
    """Return the mean Dice of any two members' labels in a common space."""
    both = zip(transforms, group, strict=True)
    carried = [apply_to_labels(each, scan.labels, space.geometry) for each, scan in both if each is not None]
    pairs = itertools.combinations(carried, 2)
    return float(np.mean([measure_segments(one, other).mean("dice") for one, other in pairs]))


def mean_gradient(image: Image) -> float:
    """Return the mean length of the gradient per mm, of values scaled by their 99th percentile."""
    values = image.array.astype(np.float64) / np.percentile(image.array, 99)
    return float(np.sqrt(sum(g**2 for g in np.gradient(values, *image.geometry.spacing[::-1]))).mean())


def _pairs(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (one, two) for one, two in itertools.pairwise(rows) if (one["how"], two["how"]) == ("series", "frame by frame")
    ]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    return work(), time.process_time() - begun


def _say(rows: Sequence[dict[str, Any]]) -> None:
    for row in rows[-2:]:
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
