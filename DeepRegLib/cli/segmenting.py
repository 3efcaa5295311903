"""`deepreg segment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.progress import interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, reading, session
from DeepRegLib.cli.summary import VERDICTS
from DeepRegLib.errors import CancelledError

if TYPE_CHECKING:
    from DeepRegLib.segmentation import Segmentation


def segment(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Scan to segment: a volume file or a DICOM folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    atlas: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Folder that holds a folder an atlas, each with a scan image.* and a label map labels.*.",
        ),
    ],
    fusion: Annotated[
        str | None, typer.Option(help="How the atlases' labels become one: majority, local, joint or staple.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="How the atlases are registered: a shipped recipe, or a TOML file.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled at random.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Segment a scan by atlases: scans with label maps, each registered to it, their labels fused.

    Writes segmentation.seg.nrrd (labels with names and colours, as Slicer reads it), agreement.nii.gz (share of the
    atlases that say what the result says), segments.csv, atlases.csv and result.json. An atlas whose registration
    failed is left out and named. A label map saved by Slicer (labels.seg.nrrd) brings the names and colours.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.recipes import load_recipe
        from DeepRegLib.segmentation.atlas_folder import atlas_files, read_atlases
        from DeepRegLib.segmentation.request import DEFAULT_FUSION, DEFAULT_RECIPE, SegmentRequest
        from DeepRegLib.segmentation.saving import expected_bytes, reserved_segmentation, write_segmentation_into

        with reporter(screen) as report:
            inputs = [scan, *(path for _, *paths in atlas_files(atlas) for path in paths)]
            with reserved_segmentation(output, overwrite=overwrite, inputs=inputs) as place:
                report("read", 0.0)
                with reading(screen):
                    chosen = load_recipe(recipe or DEFAULT_RECIPE)
                    given = read_image(scan), read_atlases(atlas)
                    request = SegmentRequest(*given, chosen, fusion or DEFAULT_FUSION, device, seed)
                place.require_room(expected_bytes(request.scan))
                with interruptible(screen) as cancel:
                    if cancel():
                        raise CancelledError
                    from DeepRegLib.segmentation.segmenting import segment_request

                    result = segment_request(request, progress=report, cancel=cancel)
                report("save", 1.0)
                names = write_segmentation_into(result, place)
                with undisturbed():
                    place.commit(names)
                    screen.wrote(output)
        _summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


def _summarise(screen: Session, result: Segmentation, output: Path, written: list[str]) -> None:
    from DeepRegLib.files.output_folder import RESULT
    from DeepRegLib.naming import without_folders

    if screen.json_output:
        screen.emit_text((output / RESULT).read_text(encoding="utf-8"))
        return
    screen.out.print(_segments(result))
    screen.out.print(_atlases(result))
    style, words = VERDICTS[result.verdict.level]
    screen.say(Text(words, style=style))
    for reason in without_folders(result.verdict.reasons, [result.scan.name]):
        screen.say(f"  - {reason}")
    for warning in without_folders(result.warnings, [result.scan.name]):
        screen.warn(warning)
    if screen.verbose:
        for decision in result.decisions:
            screen.note(Text(decision, style="dim"))
    screen.say(f"{sum(result.timings.values()):.1f} s. Written to {output}: {', '.join(written)}")


def _segments(result: Segmentation) -> Table:
    table = _table("segment", "volume (ml)", "in the atlases (ml)", "agreement")
    for row in result.rows:
        agreed = "-" if row.agreement is None else f"{row.agreement:.2f}"
        table.add_row(Text(row.name), f"{row.volume:.2f}", f"{row.atlas_volume:.2f}", agreed)
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
