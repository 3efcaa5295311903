"""`deepreg segment`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.cohort_place import Place, Where, executor_at, where_of
from DeepRegLib.cli.computing import Engine, compute
from DeepRegLib.cli.progress import Reporter, interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, reading, session
from DeepRegLib.cli.summary import say_verdict
from DeepRegLib.errors import CancelledError, InputError

if TYPE_CHECKING:
    from DeepRegLib.image import Image
    from DeepRegLib.segmentation import Segmentation

    Run = Callable[[Reporter], Segmentation]


def segment(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Scan to segment: a volume file or a DICOM folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that holds a folder an atlas, each with a scan image.* and a label map labels.*.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="In place of atlases: a model's name, the folder of its bundle, or a MONAI bundle (folder or zip).",
        ),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="With --model: also ask it for the mirrored scan, eight times as long.")
    ] = False,
    fusion: Annotated[
        str | None, typer.Option(help="How the atlases' labels become one: majority, local, joint or staple.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="How the atlases are registered: a shipped recipe, or a TOML file.")
    ] = None,
    cohort: Place = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled at random.")] = 0,
    engine: Engine = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Segment a scan by atlases (scans with label maps, each registered to it, their labels fused) or by a model.

    Writes segmentation.seg.nrrd (labels with names and colours, as Slicer reads it), agreement.nii.gz (share of the
    atlases that say what the result says), segments.csv, atlases.csv, report.html (slices with outlines, every atlas
    and its verdict) and result.json. An atlas whose registration failed is left out and named. A label map saved by
    Slicer (labels.seg.nrrd) brings the names and colours. With --model there is confidence.nii.gz (probability of the
    label that was chosen) in place of agreement and atlases.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.segmentation.saving import expected_bytes, reserved_segmentation, write_segmentation_into

        work = _chosen(_Place(screen, engine), atlas, model, recipe, fusion, mirror, device, seed)
        if cohort is not None:
            if atlas is None or engine is not None:
                raise InputError("--cohort shares atlases out.", "Leave it out beside --model or --engine.")
            work = _by_workers(screen, scan, atlas, recipe, fusion, device, seed, where_of(cohort, output, screen.note))
        with (
            reporter(screen) as report,
            reserved_segmentation(output, overwrite=overwrite, inputs=[scan, *work.inputs]) as place,
        ):
            report("read", 0.0)
            with reading(screen):
                image = read_image(scan)
                run = work.prepare(image)
            place.require_room(expected_bytes(image))
            result = run(report)
            report("save", 1.0)
            names = write_segmentation_into(result, place)
            with undisturbed():
                place.commit(names)
                screen.wrote(output)
        _summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


@dataclass(frozen=True)
class _Place:
    """Where it is computed: the engine's command, or None for this process, and the screen that is told of it."""

    screen: Session
    engine: str | None


@dataclass(frozen=True)
class _Work:
    """What is asked for: the files it reads besides the scan, and what makes a run of the scan."""

    inputs: tuple[Path, ...]
    prepare: Callable[[Image], Run]


def _chosen(
    place: _Place,
    atlas: Path | None,
    model: str | None,
    recipe: str | None,
    fusion: str | None,
    mirror: bool,
    device: str | None,
    seed: int,
) -> _Work:
    """Return the work by atlases or by a model."""
    if (atlas is None) == (model is None):
        raise InputError("One of --atlas and --model is needed.", "Give a folder of atlases, or the name of a model.")
    if model is not None:
        if recipe or fusion:
            raise InputError("--recipe and --fusion are for atlases.", "Leave them out beside --model.")
        return _by_model(place, model, mirror, device)
    if atlas is None or mirror:
        raise InputError("--mirror is for a model.", "Leave it out beside --atlas.")
    return _by_atlases(place, atlas, recipe, fusion, device, seed)


def _by_model(place: _Place, model: str, mirror: bool, device: str | None) -> _Work:
    from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
    from DeepRegLib.segmentation.model_request import ModelRequest

    def prepare(image: Image) -> Run:
        request = ModelRequest(image, model, mirror, device)
        return lambda report: compute(SEGMENT_WITH, request, place.engine, place.screen, report)

    return _Work((), prepare)


def _by_atlases(
    place: _Place, atlas: Path, recipe: str | None, fusion: str | None, device: str | None, seed: int
) -> _Work:
    from DeepRegLib.engine.segmentation import SEGMENT
    from DeepRegLib.recipes import load_recipe
    from DeepRegLib.segmentation.atlas_folder import atlas_files, read_atlases
    from DeepRegLib.segmentation.request import DEFAULT_FUSION, DEFAULT_RECIPE, SegmentRequest

    def prepare(image: Image) -> Run:
        chosen = load_recipe(recipe or DEFAULT_RECIPE)
        request = SegmentRequest(image, read_atlases(atlas), chosen, fusion or DEFAULT_FUSION, device, seed)
        return lambda report: compute(SEGMENT, request, place.engine, place.screen, report)

    return _Work(tuple(path for _, *paths in atlas_files(atlas) for path in paths), prepare)


def _by_workers(
    screen: Session,
    scan: Path,
    atlas: Path,
    recipe: str | None,
    fusion: str | None,
    device: str | None,
    seed: int,
    where: Where,
) -> _Work:
    """Return the work by atlases that workers register; what is on the scan's grid then is fused here."""
    from DeepRegLib.recipes import load_recipe
    from DeepRegLib.segmentation.atlas_folder import atlas_files, read_atlases
    from DeepRegLib.segmentation.request import DEFAULT_FUSION, DEFAULT_RECIPE, SegmentRequest

    files = atlas_files(atlas)

    def prepare(image: Image) -> Run:
        chosen = load_recipe(recipe or DEFAULT_RECIPE)
        request = SegmentRequest(image, read_atlases(atlas), chosen, fusion or DEFAULT_FUSION, device, seed)

        def run(report: Reporter) -> Segmentation:
            from DeepRegLib.cohort.atlases import carried_by
            from DeepRegLib.cohort.steps import Steps
            from DeepRegLib.files.workplace import workplace
            from DeepRegLib.segmentation.segmenting import fused_request
            from DeepRegLib.versions import versions

            begun = time.perf_counter()
            above = where.output.absolute().parent
            with (
                interruptible(screen) as cancel,
                workplace(above) as work,
                # The folder of the result is not there yet.
                executor_at(replace(where, output=work), [None] * len(files)) as (executor, about),
            ):
                if cancel():
                    raise CancelledError
                screen.note(about)
                steps = Steps(executor, work, versions(), cancel)
                carried = carried_by(request, scan, files, steps)
                return fused_request(request, carried, time.perf_counter() - begun, progress=report, cancel=cancel)

        return run

    return _Work(tuple(path for _, *paths in files for path in paths), prepare)


def _summarise(screen: Session, result: Segmentation, output: Path, written: list[str]) -> None:
    from DeepRegLib.files.output_folder import RESULT

    if screen.json_output:
        screen.emit_text((output / RESULT).read_text(encoding="utf-8"))
        return
    screen.out.print(_segments(result))
    if result.atlases:
        screen.out.print(_atlases(result))
    say_verdict(screen, result.verdict, result.warnings, [result.scan.name])
    if screen.verbose:
        for decision in result.decisions:
            screen.note(Text(decision, style="dim"))
    screen.say(f"{sum(result.timings.values()):.1f} s. Written to {output}: {', '.join(written)}")


def _segments(result: Segmentation) -> Table:
    by_model = bool(result.model)
    columns = ["volume (ml)", "confidence"] if by_model else ["volume (ml)", "in the atlases (ml)", "agreement"]
    table = _table("segment", *columns)
    for row in result.rows:
        before = [] if row.atlas_volume is None else [f"{row.atlas_volume:.2f}"]
        table.add_row(
            Text(row.name), f"{row.volume:.2f}", *before, "-" if row.agreement is None else f"{row.agreement:.2f}"
        )
    return table


def _atlases(result: Segmentation) -> Table:
    table = _table("atlas", "verdict", "Dice with the result", "seconds")
    for row in result.atlases:
        overlap = "left out" if row.dice is None else f"{row.dice:.3f}"
        table.add_row(Text(row.name), row.verdict.level, overlap, f"{row.seconds:.1f}")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table
