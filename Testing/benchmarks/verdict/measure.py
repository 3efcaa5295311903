"""Makes results right and wrong, measures them as a run does, and keeps the measures in a file."""

from __future__ import annotations

import functools
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
from DeepRegLib.preparation import PreparedPair
from DeepRegLib.recipes import load_recipe, recipe_names
from DeepRegLib.result import Measures
from DeepRegLib.saving import to_plain
from DeepRegLib.transforms import LinearTransform, image_and_view, linear_part
from Testing.benchmarks.options import Options
from Testing.benchmarks.verdict import made
from Testing.benchmarks.verdict.deformed import BY_LABELS, BY_MASK, error_of, judged, labels_on, variants, whole_run
from Testing.benchmarks.verdict.made import Start
from Testing.benchmarks.verdict.page import Verdicts
from Testing.benchmarks.verdict.scans import (
    WITHOUT_REFERENCE,
    Pair,
    Workbench,
    anatomy_points,
    names_of,
    pair_of,
    workbench,
)
from Testing.benchmarks.wrong import ABDOMEN, HIPPOCAMPUS, NOISE, PAIRS, noise_like

STORE = "verdict-cases.jsonl"
RECIPES = ("rigid", "affine")
COARSE = 4.0
# Few, since they take long, and chosen to be small: whether finer voxels change anything.
AT_TWO = (
    "brain_multimodal_stroke",
    "head_t1_freesurfer_sub01",
    "brain_preop",
    "liver_mr_breathing_eth19_cyc_1_6",
    "cardiac_cine_acdc_patient110",
)
AT_ONE = (
    "hippocampus_mr_msd_001",
    "hippocampus_mr_msd_004",
    "brain_multimodal_stroke",
    "cardiac_cine_acdc_patient102",
)
FINER = {1.0: AT_ONE, 2.0: AT_TWO}
BY_EVERY_RECIPE = (
    "hippocampus_mr_msd_001",
    "hippocampus_mr_msd_004",
    "cardiac_cine_acdc_patient102",
    "cardiac_cine_acdc_patient110",
)
DEFORMED = (
    "brain_t1_nirep_na02",
    "brain_t1_nirep_na04",
    "liver_mr_breathing_eth18_cyc_1",
    "liver_mr_breathing_eth19_cyc_1_6",
    "lung_proton",
)
FEW_STARTS = 4  # of the second recipe: a linear one differs little from another
STRANGERS = (
    *PAIRS,
    (ABDOMEN, NOISE),
    (HIPPOCAMPUS, NOISE),
    ("liver_mr_breathing_eth19_cyc_1_6", NOISE),
    ("spine_mr_sct_t1_t2", "hippocampus_mr_msd_004_006"),
    ("brain_multimodal_stroke_t1_t2warp", "liver_mr_breathing_eth19_cyc_1_6"),
    ("brain_t1_nirep_na04_na06", NOISE),
    ("cardiac_cine_acdc_patient110_ED_ES", NOISE),
    ("brain_t1_nirep_na04_na06", ABDOMEN),
    ("cardiac_cine_acdc_patient110_ED_ES", "lung_proton_mr_0004_0006"),
    ("lung_proton_mr_0004_0006", "spine_mr_sct_t1_t2"),
)
# The same anatomy of two people who are no pair of the data: aligned it is right, as with an atlas.
PERSONS = (
    ("hippocampus_mr_msd_001_003", "hippocampus_mr_msd_007_008"),
    ("cardiac_cine_acdc_patient102_ED_ES", "cardiac_cine_acdc_patient117_ED_ES"),
    ("brain_t1_nirep_na02_na03", "brain_t1_nirep_na07_na09"),
    ("head_t1_freesurfer_sub01_sub02", "brain_t1_nirep_na02_na03"),
    ("brain_t1_nirep_na04_na06", "brain_multimodal_stroke_t1_t2warp"),
    ("brain_multimodal_stroke_t1_t2warp", "brain_multimodal_brainweb_t1tps_t2"),
    ("head_t1_freesurfer_sub04_sub06", "brain_t1_nirep_na04_na06"),
    ("brain_multimodal_brainweb_t1tps_t2", "head_t1_freesurfer_sub04_sub06"),
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
    return Verdicts([row for row in known if row["pair"] not in WITHOUT_REFERENCE])


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
    """Yield what can be made at one go, by name; what has shown most a minute first."""
    known = names_of(options.data, "")
    names = [name for name in known if options.only in name and name not in WITHOUT_REFERENCE]
    yield from groups_of_two(options, {*known, NOISE})
    for name in names:
        if name.startswith(DEFORMED):
            yield f"{name} {FULL_RUN}", of_whole_runs(options.data, name, FULL_RUN)
    for name in names:
        yield f"{name} {COARSE:g}", of_pair(options.data, name, COARSE, RECIPES)
    for recipe in recipe_names():
        for name in names:
            if name.startswith(BY_EVERY_RECIPE):
                yield f"{name} {recipe}", of_whole_runs(options.data, name, recipe)
    for spacing, chosen in FINER.items():
        for name in names:
            if name.startswith(chosen):
                yield f"{name} {spacing:g}", of_pair(options.data, name, spacing, RECIPES[:1], extras=False)


def groups_of_two(options: Options, known: set[str]) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Yield what is made of the scans of two pairs, or of one and noise, by name."""
    for first, second in STRANGERS:
        if options.only in f"{first} {second}" and {first, second} <= known:
            yield f"{first} and {second}", of_strangers(options.data, first, second)
    for first, second in PERSONS:
        if options.only in f"{first} {second}" and {first, second} <= known:
            yield f"{first} and the person of {second}", of_persons(options.data, first, second)


def of_pair(
    data: Path, name: str, spacing: float, recipes: tuple[str, ...], extras: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield results of one pair from poses that are right and wrong."""
    pair, rng = pair_of(data, name, spacing), np.random.default_rng(sum(name.encode()))
    right = np.eye(4)
    for number, recipe in enumerate(recipes):
        bench = workbench(pair, recipe)
        # The first recipe searches; the others start from what it has found.
        right = bench.refined(right).matrix if number else bench.right_pose(pair.landmarks)
        poses = list(made.starts(pair, right, rng))
        yield from _judged(pair, bench, right, recipe, poses[:FEW_STARTS] if number else poses)
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
    recipe = RECIPES[0]
    bench = workbench(pair, recipe)
    try:
        start = bench.right_pose(None)
    except DeepRegError:  # no pose was found at all, which is said as well as can be
        return
    yield from _judged(pair, bench, None, recipe, [Start(kind, start)], half=one.half)
    with suppress(RegistrationError):
        result = whole_run(data, pair, FULL_RUN, start)
        yield _row(pair, one.half, kind, FULL_RUN, FAR, result.measures, deformed=True)


def of_persons(data: Path, first: str, second: str) -> Iterator[dict[str, Any]]:
    """Yield results of one person's scan and another's, from poses that are right and wrong."""
    one, other = pair_of(data, first, COARSE), pair_of(data, second, COARSE)
    pair = Pair(f"{first} and {second}", one.fixed, other.fixed, None, COARSE)
    rng, recipe = np.random.default_rng(sum(pair.name.encode())), RECIPES[0]
    bench = workbench(pair, recipe)
    right = bench.right_pose(None)
    poses = [replace(start, kind=made.PERSON) for start in made.starts(pair, right, rng)]
    yield from _judged(pair, bench, right, recipe, poses)


def of_whole_runs(data: Path, name: str, recipe: str) -> Iterator[dict[str, Any]]:
    """Yield results of whole runs from a right and a wrong pose, and what is made of the right one."""
    pair, rng = pair_of(data, name, COARSE), np.random.default_rng(sum(f"{name} {recipe}".encode()))
    if recipe in (BY_LABELS, BY_MASK) and labels_on(data, pair)[0] is None:
        return
    right, points = _right_pose(data, name), anatomy_points(pair.fixed)
    judged_at = points
    if recipe in (BY_LABELS, BY_MASK):
        # The pose is right where it is on these.
        labels = labels_on(data, pair)[0]
        assert labels is not None  # for mypy: looked above
        judged_at = labels.geometry.to_world(np.argwhere(labels.array > 0)[:, ::-1])
    bends = load_recipe(recipe).deformable.enabled
    result = whole_run(data, pair, recipe, right)
    # A deformation of some millimetres is what was asked for: whether the pose below it is right is known.
    error = error_of(judged_at, linear_part(result.transform).matrix, right)
    yield _row(pair, pair.half, made.RIGHT, recipe, error, result.measures, deformed=bends)
    if recipe not in (BY_LABELS, BY_MASK):
        found = list(variants(pair, result, rng))
        for variant, measures, told in judged(pair, recipe, result, found):
            row = _row(pair, pair.half, variant.kind, recipe, variant.error, measures, deformed=bends)
            yield row | {"told": told}
    wrong = right @ made.about(points.mean(0), rng.normal(size=3) * 1.2)
    with suppress(RegistrationError):
        result = whole_run(data, pair, recipe, wrong)
        error = error_of(judged_at, linear_part(result.transform).matrix, right)
        yield _row(pair, pair.half, made.TURNED, recipe, error, result.measures, deformed=bends)


@functools.lru_cache(maxsize=4)
def _right_pose(data: Path, name: str) -> NDArray[np.float64]:
    pair = pair_of(data, name, COARSE)
    return workbench(pair, "affine").right_pose(pair.landmarks)


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
        error = FAR if right is None else error_of(points, transform.matrix, right)
        yield _row(pair, half, start.kind, recipe, error, measures, deformed=False)


def _row(
    pair: Pair, half: str, kind: str, recipe: str, error: float, measures: Measures, *, deformed: bool
) -> dict[str, Any]:
    told = {"pair": pair.name, "half": half, "kind": kind, "recipe": recipe, "voxel": pair.spacing, "error": error}
    return told | {"deformed": deformed, "measures": asdict(replace(measures, dice_before=None, dice_after=None))}


def _never() -> None:
    """Poll for those who never want to stop."""
