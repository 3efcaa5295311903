"""`deepreg track`."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from DeepRegLib.cli.progress import interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, INTERRUPTED, Json, Session, Verbose, one_line, reading, session
from DeepRegLib.cli.summary import VERDICTS
from DeepRegLib.errors import InputError, MemoryShortageError, RegistrationError

if TYPE_CHECKING:
    from DeepRegLib.image import Image
    from DeepRegLib.result import Registration
    from DeepRegLib.tracking.foresight import Foresight
    from DeepRegLib.tracking.tracker import Tracker

LOOK_EVERY = 0.5  # seconds
LONGEST_SETTLE = 3600.0
TABLE = "track.csv"
LARGEST_TABLE = 100_000_000  # characters
COLUMNS = ["scan", "verdict", "found by", "seconds", "edge agreement", "expected error 95 % (mm)", "reason"]


@dataclass(frozen=True)
class Row:
    """One scan of the running table."""

    scan: str
    verdict: str
    way: str
    seconds: float
    edges: float | None
    expected: float | None
    reason: str

    @property
    def table(self) -> dict[str, Any]:
        """Its columns by name."""
        edges = None if self.edges is None else round(self.edges, 4)
        expected = None if self.expected is None else round(self.expected, 3)
        values = (self.scan, self.verdict, self.way, round(self.seconds, 2), edges, expected, self.reason)
        return dict(zip(COLUMNS, values, strict=True))


def track(
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="Scan that stays: a volume file or a DICOM folder.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder into which scans come.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results, a folder a scan.")],
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML file.")] = "auto",
    fixed_mask: Annotated[Path | None, typer.Option(help="Nonzero where the fixed image counts; on its grid.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Plan: a label map on the fixed grid, carried onto each scan (plan_labels.nii.gz)."),
    ] = None,
    initial_transform: Annotated[
        Path | None, typer.Option(help="Plan: where the first scan lies, fixed points to its points.")
    ] = None,
    motion: Annotated[
        Path | None,
        typer.Option(
            metavar="SERIES",
            help="Folder of a series registered to FIXED: each scan starts from where its motion is expected then.",
        ),
    ] = None,
    predictor: Annotated[
        str,
        typer.Option(help="What expects it: line, autoregressive, or a model of the task motion (name or folder)."),
    ] = "autoregressive",
    settle: Annotated[
        float, typer.Option(metavar="SECONDS", help="A scan is complete when it has not changed for so long.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="End when every scan of the folder is done.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled at random.")] = 0,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Register each scan that comes into a folder to a fixed one, from the last result.

    The fixed scan is prepared once. The first scan is searched for as by deepreg register; each next one goes on from
    the last result, and is searched for where that fails. Writes a folder a scan as deepreg register does, and the
    running table track.csv. A file that is still being copied, or does not read whole, waits. A scan that has its
    folder of results is not registered again. Ctrl-C ends it.

    With --motion a scan counts as taken when its file was last changed.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.masks import check_mask_grid
        from DeepRegLib.request import Drivers
        from DeepRegLib.tracking.tracker import Tracker
        from DeepRegLib.transforms import read_transform

        if not folder.is_dir():
            raise InputError(f"{folder} is no folder.", "Give the folder into which the scans come.")
        if output.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"{output} lies in the folder into which the scans come, and results would be taken for scans.",
                "Choose an output folder elsewhere.",
            )
        earlier = earlier_rows(output / TABLE)
        if not 0 <= settle <= LONGEST_SETTLE:
            raise InputError(f"--settle is {settle:g}.", f"Give 0 to {LONGEST_SETTLE:g} seconds.")
        with reading(screen):
            scan = read_image(fixed)
            mask, plan = (None if path is None else read_image(path) for path in (fixed_mask, labels))
            start = None if initial_transform is None else read_transform(initial_transform, fixed=scan.geometry)
        for image in (mask, plan):
            check_mask_grid(image, scan)
        foresight = None if motion is None else _foresight(screen, motion, predictor, scan)
        drivers = Drivers(fixed_mask=mask, initial_transform=start)
        tracker = Tracker(scan, recipe, drivers, foresight=foresight, device=device, seed=seed)
        with interruptible(screen) as cancel:
            following = _Following(screen, tracker, output, plan, cancel, earlier)
            stopped = _watch(screen, folder, settle, once, following.handle, cancel)
        rows = following.rows
        screen.emit({"scans": [row.table for row in rows]})
        screen.say(f"{len(rows)} scans registered. Written to {output}.")
        if stopped and once:
            raise typer.Exit(INTERRUPTED)
        if any(row.verdict == "failed" for row in rows):
            raise typer.Exit(FAILED)


def _watch(
    screen: Session,
    folder: Path,
    settle: float,
    once: bool,
    handle: Callable[[Path, bool], None],
    cancel: Callable[[], bool],
) -> bool:
    """Hand out each scan that is complete, until it is cancelled, or with `once` until nothing waits.

    `handle` is told of a scan, and whether that was handed out before and has changed. One that cannot be read waits
    until it changes. Returns whether it was cancelled.
    """
    from DeepRegLib.errors import CancelledError
    from DeepRegLib.tracking.arrivals import FolderState, look

    looked = FolderState()
    while not cancel():
        looked = look(folder, looked, time.monotonic())
        ready = looked.settled(time.monotonic(), settle)
        for name in ready:
            try:
                handle(folder / name, name in looked.handled)
            except CancelledError:
                return True
            except InputError as error:
                screen.warn(f"A scan is left out until it changes: {error}")
            looked = looked.with_handled(name)
        if once and not looked.waiting():
            return False
        if not ready:
            time.sleep(LOOK_EVERY)
    return True


@dataclass(eq=False)
class _Following:
    """What becomes of the scans that come.

    Parameters
    ----------
    screen, tracker, output, plan
        Where it is told, what registers, where results go, and the labels on the fixed grid, or None.
    cancel
        Whether to stop.
    earlier
        The lines of the running table that earlier runs into this folder wrote.
    rows
        Those of this run.
    """

    screen: Session
    tracker: Tracker
    output: Path
    plan: Image | None
    cancel: Callable[[], bool]
    earlier: tuple[Mapping[str, Any], ...] = ()
    rows: list[Row] = field(default_factory=list)

    def handle(self, path: Path, again: bool) -> None:
        """Register a scan and write its results, unless they lie there; with `again` these are replaced."""
        from DeepRegLib.files.output_folder import RESULT
        from DeepRegLib.saving import reserved_output, write_into
        from DeepRegLib.tracking.arrivals import changed_at, result_name

        name = result_name(path)
        target = self.output / name
        if (target / RESULT).is_file() and not again:
            self.screen.note(f"{one_line(name)} is done already.")
            return
        begun = time.monotonic()
        with reading(self.screen):
            moving = _named(path, name)
        with reserved_output(target, overwrite=again, inputs=[path]) as place:
            try:
                with reporter(self.screen) as report:
                    taken = changed_at(path)
                    result = self.tracker.register(moving, time=taken, progress=report, cancel=self.cancel)
            except MemoryShortageError:
                raise
            except RegistrationError as error:
                self._tell(Row(name, "failed", "search", time.monotonic() - begun, None, None, str(error)))
                return
            names = write_into(result, place, self._plan_writer(result))
            with undisturbed():
                place.commit(names)
                self.screen.wrote(target)
        self._tell(row_of(name, result, time.monotonic() - begun))

    def _plan_writer(self, result: Registration) -> Callable[[Path], dict[str, str]]:
        def write(folder: Path) -> dict[str, str]:
            if self.plan is None:
                return {}
            from DeepRegLib.image import write_image
            from DeepRegLib.labels import label_map
            from DeepRegLib.saving import OUTPUT_FILES
            from DeepRegLib.transforms import apply_to_labels

            name = OUTPUT_FILES["plan_labels"]
            write_image(apply_to_labels(result.inverse, label_map(self.plan), result.moving.geometry), folder / name)
            return {"plan_labels": name}

        return write

    def _tell(self, row: Row) -> None:
        from DeepRegLib.files import write_text

        self.rows.append(row)
        write_text(self.output / TABLE, as_csv([*self.earlier, *(row.table for row in self.rows)]))
        style, _ = VERDICTS[row.verdict]
        reason = f"  {row.reason}" if row.reason else ""
        self.screen.say(Text(f"{one_line(row.scan)}: {row.verdict}, by {row.way}, {row.seconds:.1f} s{reason}", style))


def _foresight(screen: Session, motion: Path, predictor: str, fixed: Image) -> Foresight:
    """Return what expects the motion of a series' folder."""
    import numpy as np

    from DeepRegLib.motion.components import motion_model
    from DeepRegLib.motion.prediction import predictor_named
    from DeepRegLib.series.saved import read_series_folder
    from DeepRegLib.tracking.foresight import Foresight

    with reading(screen):
        saved = read_series_folder(motion)
        index = saved.geometry.to_index(fixed.geometry.centre)
        if np.any(index < 0) or np.any(index > np.array(saved.geometry.size) - 1):
            raise InputError(
                f"The reference of the series {motion.name} does not show the middle of the fixed scan.",
                "Register the series to the fixed scan (--reference).",
            )
        model = motion_model(saved.transforms, saved.geometry)
        predict = predictor_named(predictor)
    return Foresight(model, predict)


def row_of(name: str, result: Registration, seconds: float) -> Row:
    """Return the line of the table of a result."""
    from DeepRegLib.naming import without_folders
    from DeepRegLib.tracking.request import FOLLOWED

    expected = result.trust_percentiles()
    reasons = without_folders(result.verdict.reasons[:1], [result.fixed.name, result.moving.name])
    return Row(
        name,
        result.verdict.level,
        "following" if FOLLOWED in result.provenance else "search",
        seconds,
        result.measures.structure_after,
        None if expected is None else expected[1],
        " ".join(reasons),
    )


def earlier_rows(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Return the lines of a running table, to which those of this run are added; none where there is no file.

    Raises
    ------
    InputError
        If the file is no such table, which a run would replace.
    """
    try:
        if not path.exists():
            return ()
        with path.open(encoding="utf-8", newline="") as stream:
            content = stream.read(LARGEST_TABLE + 1)
        reader = csv.DictReader(io.StringIO(content), strict=True)
        rows = tuple(reader) if len(content) <= LARGEST_TABLE and reader.fieldnames == COLUMNS else None
    except (OSError, ValueError, csv.Error):
        rows = None
    if rows is None or any(None in row or None in row.values() for row in rows):
        raise InputError(
            f"{path} is no table that deepreg track has written, and would be replaced.",
            "Move it elsewhere, or choose another output folder.",
        )
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the running table, in the order in which the scans came."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _named(path: Path, name: str) -> Image:
    """Read a scan under a name that may be shown."""
    from DeepRegLib.image import read_image

    return replace(read_image(path), name=name)
