"""`deepreg template`: the unbiased mean of a folder of volumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.progress import interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, reading, session
from DeepRegLib.cli.summary import say_verdict
from DeepRegLib.errors import CancelledError

if TYPE_CHECKING:
    from DeepRegLib.series.template import Template


def template(
    members: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds a volume a member.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    initial: Annotated[
        str,
        typer.Option(
            help="What is begun with: mean (of the members aligned linearly), a member's number, or a volume."
        ),
    ] = "mean",
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a TOML file.")] = "auto",
    passes: Annotated[int, typer.Option(min=1, help="How often members are registered to the present mean.")] = 3,
    labels: Annotated[
        Path | None, typer.Option(help="Folder with a label map of each member, of the same file name.")
    ] = None,
    longitudinal: Annotated[
        bool,
        typer.Option(
            "--longitudinal", help="Members are visits of one person: write the change from each to the next."
        ),
    ] = False,
    sharpen: Annotated[bool, typer.Option("--sharpen", help="Sharpen the mean, which averaging blurs.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled at random.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Build the mean of a group in intensities and shape, which favours none of its members.

    Writes template.nii.gz, the variability of intensities and shape, labels.nii.gz where label maps are given, a folder
    a member with transform.h5 and inverse.h5, and template.json. A member that cannot be registered is left out and
    named. A run that was interrupted is gone on with when it is started again.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.series.template_saving import member_files, reserved_template, write_template

        inputs = [each for each in (members, labels) if each is not None]
        with reporter(screen) as report, reserved_template(output, overwrite=overwrite, inputs=inputs) as place:
            report("read", 0.0)
            with reading(screen):
                volumes, drawn = member_files(members, labels)
                first: object = int(initial) if initial.isdigit() else initial
                if isinstance(first, str) and first != "mean":
                    first = read_image(first)
            with interruptible(screen) as cancel:
                if cancel():
                    raise CancelledError
                from DeepRegLib.monitoring import poll_of
                from DeepRegLib.series.building import build_template

                result = build_template(
                    volumes,
                    recipe,
                    initial=first,  # type: ignore[arg-type]  # one of the three kinds, as read above
                    passes=passes,
                    labels=drawn,
                    sharpen=sharpen,
                    device=device,
                    seed=seed,
                    store=place.store,
                    progress=report,
                    cancel=cancel,
                )
                report("save", 1.0)
                names = write_template(result, place, longitudinal=longitudinal, poll=poll_of(cancel))
            with undisturbed():
                screen.wrote(output)
        _summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


def _summarise(screen: Session, result: Template, output: Path, written: list[str]) -> None:
    from DeepRegLib.series.template_saving import TEMPLATE_JSON

    if screen.json_output:
        screen.emit_text((output / TEMPLATE_JSON).read_text(encoding="utf-8"))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("member")
    for heading in ("verdict", "displacement (mm)", "folds"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        moved = "left out" if row.displacement is None else f"{row.displacement:.2f}"
        table.add_row(Text(row.name), row.verdict.level, moved, "" if row.folds is None else str(row.folds))
    screen.out.print(table)
    say_verdict(screen, result.verdict, result.warnings, ())
    screen.say(f"Mean displacement of the members from the template: {result.bias:.4f} mm.")
    screen.say(f"Written to {output}: {', '.join(written)}")
