"""Series made by a known motion, by DeepReg and other tools; contrast that changes; a head that drifts; templates."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation import digital_folds
from DeepRegLib.image import Image, read_image
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Request
from DeepRegLib.series.products import trajectories
from DeepRegLib.series.registering import register_series
from DeepRegLib.series.temporal import roughness
from DeepRegLib.transforms import LinearTransform, Transform
from Testing.benchmarks.group_template import template_rows
from Testing.benchmarks.long_series import long_row
from Testing.benchmarks.made_series import (
    MadeSeries,
    beating,
    breathing,
    drifting_head,
    smaller,
    taking_up_contrast,
)
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers.tools import DEEPREG, tools_named
from Testing.benchmarks.series_peers import asked, paths_from_first
from Testing.benchmarks.series_tab import tab_rows
from Testing.benchmarks.tables import Table, nothing

TITLE = "Series in time, and templates"
COLUMNS = ("what", "how", "mean error (mm)", "95 % (mm)", "roughness (mm)", "true", "folds", "CPU seconds", "verdict")
BREATHING, CONTRAST, HEART, HEAD, LONG, TAB = "liver_mr", "contrast", "cardiac", "head_t1", "long", "tab"
GROUPS = {"hippocampus": 0.0, "nirep": 4.0}  # coarsest grid in mm
FRAMES, CONTRAST_FRAMES, HEART_FRAMES, HEAD_FRAMES = 10, 9, 6, 60
STEP, CONTRAST_STEP, HEART_STEP, HEAD_STEP = 2.7, 4.0, 2.5, 4.0  # mm
MOST_SHARE = 1 / 3
MOST_MM, MOST_DEGREES = 0.05, 0.05
BESIDE = (
    ("elastix", "True", "groupwise, cyclic"),
    ("elastix", "False", "groupwise, a stack"),
    ("ants", "frames", "frame by frame, quick"),
)
Row = dict[str, Any]


def measure(options: Options) -> Table:
    """Measure errors of points whose motion is known, and what a template of labelled scans is worth.

    `--only` takes a part: a name of a case or group, or ``contrast``; ``long`` and ``tab`` run only by their names.
    `--tools` takes some of ``deepreg`` (frame by frame), ``elastix`` and ``ants-quick`` beside a series.
    """
    rows: list[Row] = []
    for row in _rows(options):
        rows.append(row)
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if not rows:
        return nothing(TITLE, f"There is no case of {BREATHING}, {HEART}, {HEAD} or a group in {options.data}.")
    shares = [one["CPU seconds"] / other["CPU seconds"] for one, other in _pairs(rows)]
    better = all(one["mean error (mm)"] <= other["mean error (mm)"] for one, other in _pairs(rows))
    said = [f"A series takes {share:.2f} of the time of its frames one by one." for share in shares]
    return Table(TITLE, COLUMNS, rows, said, all(s <= MOST_SHARE for s in shares) and better if shares else None)


def _rows(options: Options) -> Iterator[Row]:
    parts: dict[str, Callable[[Path, Options], Iterator[Row]]] = {BREATHING: _breath, HEART: _heart, HEAD: _head}
    for part, work in parts.items():
        for path in _cases(options, part):
            yield from work(path, options)
    if options.only in ("", CONTRAST):
        for path in _first_of_each(options.data):
            yield from _contrast(path, options)
    if options.only == LONG:
        yield long_row(options)
    if options.only == TAB:
        yield from tab_rows(options)
    for group, step in GROUPS.items():
        if options.only in ("", group):
            yield from template_rows(group, options.spacing or step, options)


def _cases(options: Options, part: str) -> list[Path]:
    """Return the first case of a kind, or those that were named."""
    found = sorted(path for path in options.data.iterdir() if part in path.name and (path / "fixed.nii.gz").is_file())
    return [path for path in found if options.only in path.name] if options.only else found[:1]


def _first_of_each(data: Path) -> list[Path]:
    """Return the first breath of each person: the recipe was tuned on the first, the others were not seen."""
    people: dict[str, Path] = {}
    for path in sorted(data.glob(f"*{BREATHING}*")):
        people.setdefault(path.name.partition("_cyc")[0], path)
    return list(people.values())


def _breath(path: Path, options: Options) -> Iterator[Row]:
    rest = smaller(read_image(path / "fixed.nii.gz"), STEP)
    phase = np.pi * np.arange(FRAMES) / FRAMES
    # Up to 14 mm along one axis, and 4 mm across, which lags behind.
    amounts = np.stack([14 * np.sin(phase) ** 2, 4 * (np.sin(phase - 0.35) ** 2 - np.sin(0.35) ** 2)], axis=1)
    made = breathing(path.name, rest, amounts, [[0, 1, 0], [1, 0, 0]])
    yield from _beside(made, options.recipe, options)


def _heart(path: Path, options: Options) -> Iterator[Row]:
    """Move the diastole by what was found between it and the systole, out and back in one cycle."""
    rest, systole = (smaller(read_image(path / f"{side}.nii.gz"), HEART_STEP) for side in ("fixed", "moving"))
    found = align(Request(rest, systole, load_recipe("cardiac"), device="cpu"))
    amounts = np.sin(np.pi * np.arange(HEART_FRAMES) / HEART_FRAMES) ** 2
    recipe = "cardiac" if options.recipe == "auto" else options.recipe
    yield from _beside(beating(path.name, rest, found.transform, amounts.tolist()), recipe, options)


def _beside(made: MadeSeries, recipe: str, options: Options) -> Iterator[Row]:
    """Measure a cyclic series as such, frame by frame, and by other tools."""
    yield _as_series(made, "series", recipe)
    wanted = {tool.family for tool in tools_named(options.peers.tools, recipe)}
    if DEEPREG in wanted:
        found, seconds = _timed(lambda: _one_by_one(made.frames, recipe))
        paths = np.stack([each.apply_to_points(made.points) for each in found])
        yield _row(made, "frame by frame", paths, _folds(found, made), seconds, None)
    for name, what, how in BESIDE:
        if name not in wanted:
            continue
        answer = asked(name, what, made.frames, options)
        if isinstance(answer, str):
            yield {"what": made.name, "how": f"{name}: {answer}"}
            continue
        paths = paths_from_first(answer.transforms, made.points)
        folds = _folds(answer.transforms, made)
        yield _row(made, f"{name} {answer.version}, {how}", paths, folds, answer.seconds, None)


def _contrast(path: Path, options: Options) -> Iterator[Row]:
    """Let an organ take up contrast while it breathes, beside its landmarks."""
    del options
    rest = smaller(read_image(path / "fixed.nii.gz"), CONTRAST_STEP)
    organ = np.loadtxt(path / "fixed_landmarks.csv", delimiter=",", skiprows=1)[:32].mean(axis=0)
    phase = 1.6 * np.pi * np.arange(CONTRAST_FRAMES) / CONTRAST_FRAMES
    amounts = np.stack([14 * np.sin(phase) ** 2, 4 * (np.sin(phase - 0.35) ** 2 - np.sin(0.35) ** 2)], axis=1)
    shown = taking_up_contrast(rest, organ, CONTRAST_FRAMES)
    made = breathing(f"{path.name}, contrast", rest, amounts, [[0, 1, 0], [1, 0, 0]], shown)
    for recipe in ("auto", "multimodal", "perfusion"):
        yield _as_series(made, f"series, {recipe}", recipe, cyclic=False)


def _as_series(made: MadeSeries, how: str, recipe: str, *, cyclic: bool | None = None) -> Row:
    series, seconds = _timed(lambda: register_series(made.frames, recipe, reference=0, cyclic=cyclic, device="cpu"))
    folds = sum(row.folds for row in series.rows)
    return _row(made, how, trajectories(series, made.points), folds, seconds, series.verdict.level)


def _one_by_one(frames: Sequence[Image], recipe: str) -> list[Transform]:
    chosen = load_recipe(recipe)
    rest = (align(Request(frames[0], frame, chosen, device="cpu")).transform for frame in frames[1:])
    return [LinearTransform.identity(), *rest]


def _folds(transforms: Sequence[Transform], made: MadeSeries) -> int:
    return sum(digital_folds(each, made.frames[0].geometry) for each in transforms)


def _head(path: Path, options: Options) -> Iterator[Row]:
    del options
    rest = smaller(read_image(path / "fixed.nii.gz"), HEAD_STEP)
    made, pose = drifting_head(path.name, rest, HEAD_FRAMES, seed=1)
    series, seconds = _timed(lambda: register_series(made.frames, "rigid", reference=0, cyclic=False, device="cpu"))
    row = _row(made, "rigid series", trajectories(series, made.points), 0, seconds, series.verdict.level)
    motion = series.motion
    if motion is not None:
        shift = np.linalg.norm(motion.translations - pose[:, :3], axis=1)
        turn = np.abs(motion.rotations - pose[:, 3:]).max(axis=1)
        row["how"] += f": centre {shift.mean():.3f} mm (most {shift.max():.3f}), angles {turn.mean():.3f} degrees"
        row["how"] += f" (most {turn.max():.3f}); wanted {MOST_MM:g} mm and {MOST_DEGREES:g} degrees"
    yield row


def _row(
    made: MadeSeries, how: str, paths: NDArray[np.float64], folds: int, seconds: float, verdict: str | None
) -> Row:
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


def _pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    return [
        (one, two) for one, two in itertools.pairwise(rows) if (one["how"], two["how"]) == ("series", "frame by frame")
    ]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    return work(), time.process_time() - begun
