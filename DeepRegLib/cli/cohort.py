"""`deepreg cohort`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.cohort_place import Where, count_here, executor_at
from DeepRegLib.cli.cohort_screen import CohortScreen, tell_plan, tell_result, tell_where
from DeepRegLib.cli.progress import interruptible
from DeepRegLib.cli.session import FAILED, INTERRUPTED, Json, Session, Verbose, check_output_file, session
from DeepRegLib.cohort.queue_options import KINDS, Queue, array_script
from DeepRegLib.errors import InputError, OutputError

if TYPE_CHECKING:
    from DeepRegLib.cohort.coordinating import Executor, Tally
    from DeepRegLib.cohort.manifest import Manifest
    from DeepRegLib.cohort.plan import Choice, Plan, Planned
    from DeepRegLib.cohort.work import Limits

GIGABYTE = 1_000_000_000


def cohort(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    manifest: Annotated[
        Path | None,
        typer.Argument(
            metavar="[TABLE]",
            help="CSV file, one row a case: columns fixed and moving (for deepreg register), scan (for deepreg "
            "segment) or frames (for deepreg series), case for its name, and any option of that command. Paths are "
            "relative to the file.",
        ),
    ] = None,
    fixed: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="In place of a table: 'sub-*/ses-1/*T1w.nii.gz'; pairs are made by what the stars stand for. With "
            "--bids: entities, such as ses-1 or ses-1_T1w.",
        ),
    ] = None,
    moving: Annotated[str | None, typer.Option(metavar="PATTERN", help="The moving scans, as --fixed.")] = None,
    scan: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="In place of a table: the scans to segment.")
    ] = None,
    frames: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="In place of a table: the series, a file or folder each.")
    ] = None,
    bids: Annotated[Path | None, typer.Option(metavar="ROOT", help="In place of a table: a BIDS data set.")] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Check every row and tell what would run, how long and how large, by a first case."
        ),
    ] = False,
    local: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cases at a time on this machine; by default what cores and memory allow."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on the Dask cluster at tcp://host:port.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="For rows that give none; with --only-failed, the recipe for those again."),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="For rows that give none.")] = None,
    atlas: Annotated[Path | None, typer.Option(metavar="FOLDER", help="For rows that give none.")] = None,
    device: Annotated[str | None, typer.Option(help="For rows that give none.")] = None,
    gpus: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Graphics cards: of this machine to share out, or of each job; one case at a time on each. With "
            "--scheduler, 1 for workers that were started with --resources GPU=1.",
        ),
    ] = 0,
    case_time: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="A case that takes longer is ended.")
    ] = None,
    case_memory: Annotated[
        float | None, typer.Option(metavar="GB", help="A case that needs more memory is ended.")
    ] = None,
    retries: Annotated[int, typer.Option(help="How often a case that failed is tried again.")] = 1,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only cases that failed, or whose verdict is failed.")
    ] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Run in jobs of Slurm that this call asks for.")] = False,
    pbs: Annotated[bool, typer.Option("--pbs", help="The same with PBS.")] = False,
    lsf: Annotated[bool, typer.Option("--lsf", help="The same with LSF.")] = False,
    sge: Annotated[bool, typer.Option("--sge", help="The same with SGE.")] = False,
    array: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Run nothing; write the script of a Slurm array job, for nodes without Dask."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Of a batch system: how many jobs at a time.")] = 1,
    partition: Annotated[str, typer.Option(help="Partition or queue; by default the site's own.")] = "",
    time: Annotated[float, typer.Option(metavar="MINUTES", help="That a job may run; it is replaced then.")] = 60.0,
    cores: Annotated[int, typer.Option(help="Of each job.")] = 1,
    job_memory: Annotated[int, typer.Option(metavar="GB", help="Of each job.")] = 4,
    job_option: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Another directive of the batch system, such as --account=ab12; repeatable."),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Run every Nth case beginning with the Kth, here, beside other parts."),
    ] = None,
    collect: Annotated[
        bool, typer.Option("--collect", help="Run nothing; write the table and the report of what is there.")
    ] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Register or segment many scans or series, on this machine or a cluster; a second call goes on where one ended.

    Writes cases/NAME, a folder a case with what deepreg register, segment or series writes, its record case.json and
    log.txt; failures/NAME.json for a case without a result; the table cohort.csv and the report cohort.html, worst
    cases first.
    With --bids the results also get the names of BIDS derivatives. What lies there from the same files,
    recipe, model, options and versions is not done again.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.cohort.summary import check_summary

        limits = _limits(case_time, case_memory, retries)
        source = Source(manifest, fixed, moving, scan, frames, bids)
        defaults = {
            "recipe": None if only_failed else recipe,
            "model": model,
            "atlas": None if atlas is None else str(atlas),
            "device": device,
        }
        check_summary(output, source.table, source.bids)
        cases = manifest_from(source, defaults)
        choice = _choice(only_failed, recipe, limits)
        named = [kind for kind, asked in zip(KINDS, (slurm, pbs, lsf, sge), strict=True) if asked]
        if array is not None:
            named.append("slurm")
        if len(named) > 1 or (named and (local is not None or scheduler is not None)):
            raise InputError("It is not clear where to run.", "Give one of --local, --scheduler, --slurm and the like.")
        queue = (
            Queue(named[0], jobs, partition, time, cores, job_memory, gpus, tuple(job_option or ())) if named else None
        )
        place = Where(local, scheduler, gpus, queue, output, screen.note)
        with interruptible(screen) as cancel:
            if array is not None and queue is not None:
                code = _write_array(screen, array, queue, source, cases, output, _words(choice, defaults, retries))
            elif part is not None:
                code = _run_part(screen, cases, output, choice, part, retries, cancel)
            else:
                what = "plan" if plan else "collect" if collect else "run"
                code = _run_whole(screen, cases, output, choice, place, retries, cancel, what, source)
        if code:
            raise typer.Exit(code)


@dataclass(frozen=True)
class Source:
    """Where the cases come from: exactly one of a table, patterns, and a BIDS data set."""

    table: Path | None
    fixed: str | None
    moving: str | None
    scan: str | None
    frames: str | None
    bids: Path | None


def manifest_from(source: Source, defaults: dict[str, str | None]) -> Manifest:
    """Read the cases.

    Raises
    ------
    InputError
        If none of the ways was chosen, or more than one.
    """
    from DeepRegLib.cohort.bids import cases_in_bids
    from DeepRegLib.cohort.manifest import default_values, read_manifest
    from DeepRegLib.cohort.rules import cases_by_rule

    pair = source.fixed is not None and source.moving is not None
    if (source.fixed is None) != (source.moving is None):
        raise InputError("--fixed and --moving belong together.", "Give both.")
    single = {"segment": source.scan, "series": source.frames}
    alone = {command: pattern for command, pattern in single.items() if pattern is not None}
    if sum((source.table is not None, pair, *(True for _ in alone))) != 1:
        raise InputError(
            "It is not clear which cases are meant.", "Give a table, --fixed and --moving, --scan, or --frames."
        )
    register = default_values("register", defaults)
    if source.bids is not None:
        if source.fixed is None or source.moving is None:
            raise InputError("--bids needs --fixed and --moving.", "Give entities, such as ses-1 and ses-2.")
        return cases_in_bids(source.bids, source.fixed, source.moving, register)
    if source.table is not None:
        return read_manifest(source.table, defaults)
    if source.fixed is not None and source.moving is not None:
        return cases_by_rule("register", [source.fixed, source.moving], Path.cwd(), register)
    ((command, pattern),) = alone.items()
    return cases_by_rule(command, [pattern], Path.cwd(), default_values(command, defaults))


def _limits(minutes: float | None, gigabytes: float | None, retries: int) -> Limits:
    from DeepRegLib.cohort.work import Limits

    for option, value in (("--case-time", minutes), ("--case-memory", gigabytes)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{option} is {value:g}.", "Give a number above 0.")
    if not 0 <= retries <= 100:
        raise InputError(f"--retries is {retries}.", "Give 0 to 100.")
    return Limits(None if minutes is None else 60 * minutes, None if gigabytes is None else round(gigabytes * GIGABYTE))


def _choice(only_failed: bool, recipe: str | None, limits: Limits) -> Choice:
    from DeepRegLib.cohort.manifest import default_values
    from DeepRegLib.cohort.plan import Choice

    instead = default_values("register", {"recipe": recipe}).get("recipe") if only_failed else None
    return Choice(only_failed, instead, limits)


def _run_whole(
    screen: Session,
    cases: Manifest,
    output: Path,
    choice: Choice,
    place: Where,
    retries: int,
    cancel: Callable[[], bool],
    what: str,
    source: Source,
) -> int:
    """Plan, run and tell all cases; return the exit code."""
    from DeepRegLib.cohort.claiming import claimed
    from DeepRegLib.cohort.summary import write_derivatives, write_summary
    from DeepRegLib.version import VERSION

    with claimed(output):
        planned = _planned(cases, output, choice, cancel)
        todo = () if what == "collect" else planned.todo
        if what == "plan" and not planned.done:
            todo = todo[:1]  # what it takes is known from a first case; its result stays
        elif what == "plan":
            todo = ()
        tally, where = None, "nothing was run"
        if todo and not cancel():
            with executor_at(place, [planned.voxels for planned in todo]) as (executor, about):
                where = about
                tell_where(screen, about, len(todo))
                tally = _run(screen, todo, executor, output, retries, cancel)
        if what == "plan":
            after = planned if tally is None else _planned(cases, output, choice, cancel)
            tell_plan(screen, after, output, count_here(place, [planned.voxels for planned in after.todo]))
            return FAILED if after.problems else 0
        lines = write_summary(cases, planned, output, _about_run(source, choice, where))
        if source.bids is not None:
            write_derivatives(cases, lines, output, source.bids, VERSION)
        tell_result(screen, lines, planned, output)
    if tally is not None and tally.disk_full:
        raise OutputError(f"The run ended: {tally.disk_full}", "Run the same again; what is done is kept.")
    if tally is not None and tally.trouble:
        from DeepRegLib.cohort.clusters import ClusterError

        raise ClusterError(f"The run ended: {tally.trouble}", "Run the same again; what is done is kept.")
    if cancel():
        return INTERRUPTED
    good = all(line.status == "done" and line.verdict != "failed" for line in lines)
    return 0 if good else FAILED


def _run_part(
    screen: Session,
    cases: Manifest,
    output: Path,
    choice: Choice,
    part: str,
    retries: int,
    cancel: Callable[[], bool],
) -> int:
    """Run a part of the cases in this process, as a task of an array job does; the table is for `--collect`."""
    from DeepRegLib.cohort.local_executor import LocalExecutor

    number, count = _part(part)
    # By the rows of the table, so that every part means the same cases whatever is done already.
    chosen = type(cases)(cases.command, cases.cases[number - 1 :: count], cases.problems if number == 1 else ())
    planned = _planned(chosen, output, choice, cancel)
    with LocalExecutor(1, {}) as executor:
        tally = _run(screen, planned.todo, executor, output, retries, cancel)
    if cancel():
        return INTERRUPTED
    return FAILED if tally.counts["failed"] or planned.problems else 0


def _about_run(source: Source, choice: Choice, where: str) -> dict[str, str]:
    """Return what the report says of a run, without folders, which may tell more of a patient than they should."""
    table = source.table
    told = {"Where": where.partition(" Dashboard")[0]}
    if table is not None:
        told["Table"] = f"{table.name}, SHA-256 {hashlib.sha256(table.read_bytes()).hexdigest()}"
    patterns = {"Fixed": source.fixed, "Moving": source.moving, "Scan": source.scan, "Frames": source.frames}
    told |= {name: pattern for name, pattern in patterns.items() if pattern is not None}
    if choice.only_failed:
        told["Cases"] = "only those that had failed" + (f", by {Path(choice.instead).name}" if choice.instead else "")
    return told


def _words(choice: Choice, defaults: dict[str, str | None], retries: int) -> list[str]:
    """Return the words of this call that say how cases run, for a task of an array job."""
    recipe = choice.instead if choice.only_failed else defaults["recipe"]
    paths = {name: defaults[name] for name in ("model", "atlas", "device")} | {"recipe": recipe}
    words = [f"--{name}={_absolute(value)}" for name, value in paths.items() if value]
    words += [f"--retries={retries}", *(["--only-failed"] if choice.only_failed else [])]
    seconds, memory = choice.limits.seconds, choice.limits.bytes
    words += [] if seconds is None else [f"--case-time={seconds / 60:g}"]
    return words if memory is None else [*words, f"--case-memory={memory / GIGABYTE:g}"]


def _absolute(value: str) -> str:
    """Return a path from anywhere; a name as it is."""
    return str(Path(value).absolute()) if Path(value).exists() else value


def _write_array(
    screen: Session, script: Path, queue: Queue, source: Source, cases: Manifest, output: Path, words: list[str]
) -> int:
    """Write the script of an array job, and say how it is sent."""
    from DeepRegLib.files import make_folder, write_text

    if source.table is None:
        raise InputError("--array needs a table.", "Write the cases into a CSV file.")
    if not cases.cases:
        raise InputError("The table has no case that can run.", "Look at it with --plan.")
    check_output_file(script, ("",), source.table)
    logs = make_folder(output / "jobs").absolute()
    call = ["cohort", str(source.table.absolute()), f"--output={output.absolute()}", *words]
    write_text(script, array_script(queue, len(cases.cases), call, logs))
    screen.say(f"Send it: sbatch {script}. Afterwards: deepreg cohort {source.table} -o {output} --collect")
    return 0


def _part(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not slash or not number.isdigit() or not count.isdigit() or not 1 <= int(number) <= int(count):
        raise InputError(f"--part is {text!r}.", "Give K/N, such as 3/20.")
    return int(number), int(count)


def _planned(cases: Manifest, output: Path, choice: Choice, cancel: Callable[[], bool]) -> Plan:
    from DeepRegLib.cohort.plan import plan_of
    from DeepRegLib.versions import versions

    return plan_of(cases, output, versions(), choice, stopped=cancel)


def _run(
    screen: Session,
    todo: tuple[Planned, ...],
    executor: Executor,
    output: Path,
    retries: int,
    cancel: Callable[[], bool],
) -> Tally:
    from DeepRegLib.cohort.coordinating import run_all

    with CohortScreen(screen, len(todo), getattr(executor, "running", None)) as told:
        return run_all(
            (planned.work for planned in todo), executor, output, retries=retries, told=told.event, stopped=cancel
        )
