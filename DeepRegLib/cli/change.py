"""`deepreg change`."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from DeepRegLib.cli.session import Json, Verbose, check_output_file, reading, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.change import SegmentChange


def change(
    result: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of deepreg register with moving labels.")],
    fixed_labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Label map of the fixed scan, on its grid.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the table as .csv.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what has changed of each segment between two scans that were aligned on something stable.

    Register first, with the recipe stable-region, a fixed mask over a bone and --moving-labels. Volume added and lost,
    and how far the surfaces lie apart, are of the fixed scan against the aligned moving one.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.change import segment_changes
        from DeepRegLib.files import write_text
        from DeepRegLib.image import read_image
        from DeepRegLib.saved_result import read_result_image

        if output is not None:
            check_output_file(output, (".csv",), fixed_labels)
        with reading(screen):
            drawn, carried = read_image(fixed_labels), read_result_image(result, "warped_labels")
        if carried is None:
            raise InputError(f"The result in {result} carried no labels.", "Register again with --moving-labels.")
        changes = segment_changes(drawn, carried)
        if output is not None:
            write_text(output, as_csv(changes))
            screen.wrote(output)
        screen.emit({"segments": [asdict(each) for each in changes]})
        if not json_output:
            screen.out.print(_table(changes))


def as_csv(changes: tuple[SegmentChange, ...]) -> str:
    """Return one line a segment."""
    text = StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(changes[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows([asdict(each) for each in changes])
    return text.getvalue()


def _table(changes: tuple[SegmentChange, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("label", "fixed ml", "moving ml", "added ml", "lost ml", "apart mm", "95 %", "largest"):
        table.add_column(name, justify="right")
    for each in changes:
        volumes = (each.fixed_ml, each.moving_ml, each.added_ml, each.lost_ml)
        apart = (each.mean_mm, each.p95_mm, each.largest_mm)
        cells = [f"{ml:.2f}" for ml in volumes] + ["-" if mm is None else f"{mm:.2f}" for mm in apart]
        table.add_row(str(each.label), *cells)
    return table
