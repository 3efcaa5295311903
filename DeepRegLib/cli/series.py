"""`deepreg series`, and what `deepreg apply` does with the folder of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.progress import interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, check_output_file, reading, session
from DeepRegLib.cli.summary import say_verdict
from DeepRegLib.errors import CancelledError, InputError

if TYPE_CHECKING:
    from DeepRegLib.series.result import SeriesRegistration

MOST_ROWS = 20


def series(
    frames: Annotated[
        list[Path],
        typer.Argument(
            metavar="FRAMES ...",
            help="A 4-D file (NIfTI, NRRD, .seq.nrrd), a DICOM folder with time points, a folder of volumes, or the "
            "volumes themselves in the order of time.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    reference: Annotated[
        str,
        typer.Option(
            metavar="FRAME", help="Number of a frame, from 0; auto (sharp, in the middle of the motion); or mean."
        ),
    ] = "auto",
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a TOML file; rigid for head motion.")] = "auto",
    smoothing: Annotated[
        float | None, typer.Option(help="Sigma of the smoothing over time in frame intervals; 0 for none.")
    ] = None,
    cyclic: Annotated[
        bool | None, typer.Option("--cyclic/--not-cyclic", help="Whether the last frame leads to the first.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Label map on the reference frame, carried onto every frame.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled at random.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Register all frames of a series in time to one reference.

    Writes a folder a frame with transform.h5 and inverse.h5, stabilised.nii.gz (4-D), maps of volume change, strain and
    motion, frames.csv, moving.gif, report.html and series.json. A run that was interrupted goes on from the frames that
    are there when it is started again.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.series.frames import read_frames
        from DeepRegLib.series.saving import reserved_series, write_series

        inputs = frames if labels is None else [*frames, labels]
        with reporter(screen) as report, reserved_series(output, overwrite=overwrite, inputs=inputs) as place:
            report("read", 0.0)
            with reading(screen):
                given = read_frames(frames[0] if len(frames) == 1 else list(frames))
                drawn = None if labels is None else read_image(labels)
            with interruptible(screen) as cancel:
                if cancel():
                    raise CancelledError
                from DeepRegLib.monitoring import poll_of
                from DeepRegLib.series.registering import register_series

                result = register_series(
                    given,
                    recipe,
                    reference=int(reference) if reference.lstrip("-").isdigit() else reference,
                    smoothing=smoothing,
                    cyclic=cyclic,
                    device=device,
                    seed=seed,
                    store=place.store,
                    progress=report,
                    cancel=cancel,
                )
                report("save", 1.0)
                names = write_series(result, place, drawn, poll=poll_of(cancel))
            with undisturbed():
                screen.wrote(output)
        _summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


def apply_series(
    screen: Session, folder: Path, data: Path, output: Path, *, labels: bool, background: float | None
) -> None:
    """Do what `deepreg apply` does with the folder of a series: another 4-D file, a label map, or points."""
    from DeepRegLib.cli.series_applying import carry_labels, carry_points, carry_series
    from DeepRegLib.landmarks import SUFFIXES
    from DeepRegLib.series.names import SERIES_FILES
    from DeepRegLib.series.saved import read_series_folder

    points = data.name.lower().endswith(SUFFIXES)
    check_output_file(
        output, (".csv",) if points else (".nii.gz",), data, *(folder / name for name in SERIES_FILES.values())
    )
    with reading(screen):
        saved = read_series_folder(folder)
    if points:
        if labels or background is not None:
            raise InputError(f"{data} holds points.", "Leave out --labels and --background.")
        count = carry_points(saved, data, output)
        screen.emit({"output": output.name, "frames": len(saved.times), "points": count})
        screen.say(f"Where {count} points of the reference lie at each of {len(saved.times)} frames: {output}")
    elif labels:
        carry_labels(saved, data, output)
        screen.emit({"output": output.name, "frames": len(saved.times)})
        screen.say(f"The label map of the reference at each of {len(saved.times)} frames: {output}")
    else:
        carry_series(saved, data, output, background)
        screen.emit({"output": output.name, "frames": len(saved.times)})
        screen.say(f"{len(saved.times)} frames on the reference's grid: {output}")
    screen.wrote(output)


def _summarise(screen: Session, result: SeriesRegistration, output: Path, written: list[str]) -> None:
    from DeepRegLib.naming import base_name, without_folders
    from DeepRegLib.series.names import SERIES_JSON

    if screen.json_output:
        screen.emit_text((output / SERIES_JSON).read_text(encoding="utf-8"))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("frame")
    for heading in ("verdict", "motion (mm)", "NCC", "volume", "folds"):
        table.add_column(heading, justify="right")
    for row in result.rows[:MOST_ROWS]:
        table.add_row(
            Text(base_name(row.name)),
            row.verdict.level + (", bridged" if row.bridged else ""),
            f"{row.motion_mean:.2f}",
            f"{row.ncc_before:.3f} to {row.ncc_after:.3f}",
            f"{row.jacobian_mean:.3f}",
            str(row.folds),
        )
    screen.out.print(table)
    if len(result.rows) > MOST_ROWS:
        screen.say(f"and {len(result.rows) - MOST_ROWS} more, in frames.csv")
    names = [result.reference.name, result.frames.name]
    say_verdict(screen, result.verdict, result.warnings, names)
    for decision in without_folders(result.decisions, names):
        screen.note(Text(decision, style="dim"))
    screen.say(f"{sum(result.timings.values()):.1f} s. Written to {output}: {', '.join(written)}")
