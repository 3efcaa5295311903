"""`deepreg template`: the unbiased mean of a folder of volumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.cohort_place import Place, executor_at, where_of
from DeepRegLib.cli.progress import interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, one_line, reading, session
from DeepRegLib.cli.summary import say_verdict
from DeepRegLib.errors import CancelledError, InputError
from DeepRegLib.guarding import is_there

if TYPE_CHECKING:
    from DeepRegLib.cohort.coordinating import Event
    from DeepRegLib.image import Image
    from DeepRegLib.monitoring import Cancel, Progress
    from DeepRegLib.series.saving import SeriesFolder
    from DeepRegLib.series.template import Template

GROUP_MEAN = "mean"


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
    cohort: Place = None,
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
        from DeepRegLib.series.template_saving import member_files, reserved_template, write_template

        inputs = _inputs(members, labels, initial)
        with reporter(screen) as report, reserved_template(output, overwrite=overwrite, inputs=inputs) as place:
            report("read", 0.0)
            if cohort is not None and longitudinal:
                raise InputError("--longitudinal was given with --cohort.", "Leave --cohort out for visits of one.")
            with reading(screen):
                volumes, drawn = member_files(members, labels)
            with interruptible(screen) as cancel:
                if cancel():
                    raise CancelledError
                from DeepRegLib.monitoring import poll_of

                asked = Asked(volumes, drawn, initial, recipe, passes, sharpen, device, seed)
                if cohort is None:
                    result = _built_here(screen, asked, place, report, cancel)
                else:
                    result = _built_on(screen, asked, place, cohort, report, cancel)
                report("save", 1.0)
                names = write_template(result, place, longitudinal=longitudinal, poll=poll_of(cancel))
            with undisturbed():
                screen.wrote(output)
        _summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


def _inputs(members: Path, labels: Path | None, initial: str) -> list[Path]:
    """Return what is read: both folders, what lies in them (links lead elsewhere), and the volume to begin with."""
    folders = [each for each in (members, labels) if each is not None]
    found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    return [*folders, *found, *([Path(initial)] if is_there(Path(initial)) else [])]


@dataclass(frozen=True)
class Asked:
    """What is asked for."""

    volumes: list[Path]
    labels: list[Path] | None
    initial: str
    recipe: str
    passes: int
    sharpen: bool
    device: str | None
    seed: int


def _built_here(screen: Session, asked: Asked, place: SeriesFolder, report: Progress, cancel: Cancel) -> Template:
    """Build the template in this process."""
    from DeepRegLib.image import read_image
    from DeepRegLib.series.building import build_template

    first: Image | int | str = int(asked.initial) if asked.initial.isdigit() else asked.initial
    if isinstance(first, str) and first != GROUP_MEAN:
        with reading(screen):
            first = read_image(first)
    return build_template(
        asked.volumes,
        asked.recipe,
        initial=first,
        passes=asked.passes,
        labels=asked.labels,
        sharpen=asked.sharpen,
        device=asked.device,
        seed=asked.seed,
        store=place.store,
        progress=report,
        cancel=cancel,
    )


def _built_on(
    screen: Session, asked: Asked, place: SeriesFolder, cohort: str, report: Progress, cancel: Cancel
) -> Template:
    """Build the template by workers elsewhere, which do one step after another."""
    from DeepRegLib.cohort.steps import Steps
    from DeepRegLib.cohort.template import TemplateJob, build_on
    from DeepRegLib.files.workplace import workplace
    from DeepRegLib.recipes import load_recipe
    from DeepRegLib.versions import versions

    where = where_of(cohort, place.folder, screen.note)
    initial = _initial(asked)
    job = TemplateJob(
        tuple(path.absolute() for path in asked.volumes),
        None if asked.labels is None else tuple(path.absolute() for path in asked.labels),
        load_recipe(asked.recipe),
        *(
            asked.passes,
            asked.sharpen,
            asked.device,
            asked.seed,
            initial,
            place.folder.absolute(),
            place.new.absolute(),
        ),
    )
    with (
        workplace(place.folder.absolute(), "steps") as work,
        executor_at(where, [None] * len(job.members)) as (executor, about),
    ):
        screen.note(about)
        steps = Steps(executor, work, versions(), cancel, lambda event: _tell(screen, event))
        report("register", 0.0, None, None)
        return build_on(job, steps)


def _initial(asked: Asked) -> Path | None:
    if asked.initial == GROUP_MEAN:
        return None
    if not asked.initial.isdigit():
        return Path(asked.initial).absolute()
    if int(asked.initial) >= len(asked.volumes):
        raise InputError(f"There is no member {asked.initial}.", f"Give 0 to {len(asked.volumes) - 1}, or a volume.")
    return asked.volumes[int(asked.initial)].absolute()


def _tell(screen: Session, event: Event) -> None:
    if event.outcome is not None:
        screen.note(f"{one_line(event.work.name)}: {event.kind}, {event.outcome.seconds:.1f} s")


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
