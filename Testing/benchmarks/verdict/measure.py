"""Makes results right and wrong, measures them as a run does, and keeps the measures in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import DeepRegError, RegistrationError
from DeepRegLib.judgement import measure as measured
from DeepRegLib.judgement import other_poses
from DeepRegLib.pipeline import register
from DeepRegLib.preparation import PreparedPair
from DeepRegLib.result import Measures
from DeepRegLib.saving import to_plain
from DeepRegLib.transforms import LinearTransform, image_and_view, linear_part
from Testing.benchmarks.options import Options
from Testing.benchmarks.verdict import made
from Testing.benchmarks.verdict.made import Start
from Testing.benchmarks.verdict.page import Verdicts
from Testing.benchmarks.verdict.scans import (
    Pair,
    Workbench,
    anatomy_points,
    names_of,
    pair_of,
    workbench,
)
from Testing.benchmarks.wrong import NOISE, PAIRS, noise_like

STORE = "verdict-cases.jsonl"
RECIPES = ("rigid", "affine")
COARSE = 4.0
# Few, since they take long: whether finer voxels change anything.
AT_FINER = (
    "head_t1_freesurfer_sub01_sub02",
    "abdomen_ct",
    "liver_mr_breathing_eth19_cyc_1_6",
    "cardiac_cine_acdc_patient110",
)
FINER = {2.0: AT_FINER, 1.0: ("brain_t1_nirep_na04",)}
DEFORMED = (
    "brain_t1_nirep_na02",
    "brain_t1_nirep_na04",
    "cardiac",
    "liver_mr_breathing_eth1",
    "lung_proton",
    "hippocampus",
)
FULL_RUN = "fast"
FAR = 1e3  # mm: what a pair that does not belong together is off


def measure(options: Options) -> Verdicts:
    """Make what is missing in the file, and return what is said of all of it."""
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / STORE
    known = read_rows(path)
    if options.repeats:
        groups = {row["group"] for row in known}
        for group, rows in groups_of(options):
            if group in groups:
                continue
            print(f"  {group}", flush=True)
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(to_plain({"group": group, **row})) + "\n" for row in rows)
        known = read_rows(path)
    return Verdicts(known)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of the file, their measures as `Measures`."""
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = {field.name for field in fields(Measures)}
    for row in rows:
        values = {name: value for name, value in row["measures"].items() if name in names}
        row["measures"] = Measures(**{k: np.nan if v is None and k.endswith("_sd") else v for k, v in values.items()})
    return rows


def groups_of(options: Options) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Yield what can be made at one go, by name."""
    known = names_of(options.data, "")
    names = [name for name in known if options.only in name]
    for name in names:
        yield f"{name} {COARSE:g}", of_pair(options.data, name, COARSE, RECIPES)
    for first, second in PAIRS:
        if options.only in f"{first} {second}" and {first, second} <= {*known, NOISE}:
            yield f"{first} and {second}", of_strangers(options.data, first, second)
    for spacing, chosen in FINER.items():
        for name in names:
            if name.startswith(chosen):
                yield f"{name} {spacing:g}", of_pair(options.data, name, spacing, RECIPES[:1], extras=False)
    for name in names:
        if name.startswith(DEFORMED):
            yield f"{name} {FULL_RUN}", of_full_runs(options.data, name)


def of_pair(
    data: Path, name: str, spacing: float, recipes: tuple[str, ...], extras: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield results of one pair from poses that are right and wrong."""
    pair, rng = pair_of(data, name, spacing), np.random.default_rng(sum(name.encode()))
    for number, recipe in enumerate(recipes):
        bench = workbench(pair, recipe)
        right = bench.right_pose(pair.landmarks)
        yield from _judged(pair, bench, right, recipe, list(made.starts(pair, right, rng)))
        if number or not extras:
            continue
        other_side = made.mirrored(pair)
        yield from _judged(other_side, workbench(other_side, recipe), None, recipe, [Start(made.MIRRORED, right)])
        yield from _masked(pair, right, recipe, rng)
        cube = made.with_cube(pair, rng)
        if cube is not None:
            wrong = made.about(anatomy_points(cube.moving).mean(0), np.array([0.6, 0.9, 1.2]))
            poses = [Start(made.CUBE, np.eye(4)), Start(made.CUBE, wrong)]
            yield from _judged(cube, workbench(cube, recipe), np.eye(4), recipe, poses)


def of_strangers(data: Path, first: str, second: str) -> Iterator[dict[str, Any]]:
    """Yield results of scans that do not belong together, by the search."""
    one = pair_of(data, first, COARSE)
    moving = noise_like(one.fixed) if second == NOISE else pair_of(data, second, COARSE).fixed
    pair = Pair(f"{first} and {second}", one.fixed, moving, None, COARSE)
    kind = made.NOISE if second == NOISE else made.OTHER
    for recipe in RECIPES:
        bench = workbench(pair, recipe)
        try:
            start = bench.right_pose(None)
        except DeepRegError:  # no pose was found at all, which is said as well as can be
            continue
        yield from _judged(pair, bench, None, recipe, [Start(kind, start)], half=one.half)


def of_full_runs(data: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield results of whole runs with a deformable stage, from a right and a wrong pose."""
    pair, rng = pair_of(data, name, COARSE), np.random.default_rng(sum(name.encode()))
    right = workbench(pair, "affine").right_pose(pair.landmarks)
    points = anatomy_points(pair.fixed)
    wrong = right @ made.about(points.mean(0), rng.normal(size=3) * 1.2)
    for kind, pose in ((made.RIGHT, right), (made.TURNED, wrong)):
        result = register(pair.fixed, pair.moving, FULL_RUN, initial_transform=LinearTransform(pose), device="cpu")
        # A deformation of some millimetres is what was asked for: whether the pose below it is right is known.
        error = _error(points, linear_part(result.transform).matrix, right)
        yield _row(pair, pair.half, kind, FULL_RUN, error, result.measures, deformed=True)


def _masked(pair: Pair, right: NDArray[np.float64], recipe: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield what a mask over 2 % of the anatomy makes of the right pose and of two that are turned."""
    bench = workbench(pair, recipe, made.small_mask(pair.fixed, rng))
    centre = anatomy_points(pair.fixed).mean(0)
    turns = (right @ made.about(centre, rng.normal(size=3) / 1.7 * angle) for angle in (0.0, 1.0, 2.0))
    # Not refined: what so small a mask makes of a pose is chance, and right or wrong is known of these.
    results = [(Start(made.MASK, pose), LinearTransform(pose)) for pose in turns]
    yield from _measured(pair, bench.run.pair, right, recipe, results, pair.half)


def _judged(
    pair: Pair,
    bench: Workbench,
    right: NDArray[np.float64] | None,
    recipe: str,
    poses: list[Start],
    half: str = "",
) -> Iterator[dict[str, Any]]:
    results = []
    for start in poses:
        # That no pose was found at all is said as well as can be: there is no result to judge.
        with suppress(RegistrationError):
            results.append((start, bench.refined(start.pose)))
    yield from _measured(pair, bench.run.pair, right, recipe, results, half or pair.half)


def _measured(
    pair: Pair,
    prepared: PreparedPair,
    right: NDArray[np.float64] | None,
    recipe: str,
    results: list[tuple[Start, LinearTransform]],
    half: str,
) -> Iterator[dict[str, Any]]:
    """Measure results of one pair; what they are compared with is looked for once."""
    others = other_poses(prepared, model=recipe)
    points = anatomy_points(pair.fixed)
    for start, transform in results:
        seen = image_and_view(transform, pair.moving, pair.fixed.geometry)[1]
        measures, _ = measured(
            prepared,
            transform,
            transform.inverse(),
            start.landmarks,
            start=transform,
            seen=seen,
            at_start=others.compare(transform.matrix),
            seed=0,
            poll=_never,
        )
        error = FAR if right is None else _error(points, transform.matrix, right)
        yield _row(pair, half, start.kind, recipe, error, measures, deformed=False)


def _row(
    pair: Pair, half: str, kind: str, recipe: str, error: float, measures: Measures, *, deformed: bool
) -> dict[str, Any]:
    told = {"pair": pair.name, "half": half, "kind": kind, "recipe": recipe, "voxel": pair.spacing, "error": error}
    return told | {"deformed": deformed, "measures": asdict(replace(measures, dice_before=None, dice_after=None))}


def _error(points: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    difference = one - other
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def _never() -> None:
    """Poll for those who never want to stop."""
