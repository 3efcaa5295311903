"""One case, in the process that runs cases: the words of its command, and what its folder gets besides.

The folder is reserved, everything is made out of sight, and it appears whole: the ordinary files of the result, the
record `case.json`, the log and a thumbnail.
"""

from __future__ import annotations

import contextlib
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.cases import Case, words_of
from DeepRegLib.cohort.columns import COMMANDS
from DeepRegLib.cohort.files import content_hash, stamp_of
from DeepRegLib.cohort.fingerprint import SCHEMA, Fingerprint, difference, fingerprint_of
from DeepRegLib.cohort.record import (
    LARGEST_RECORD,
    LOG,
    RECORD,
    THUMBNAIL,
    foreign_files,
    is_case_file,
    record_of,
    summary_of,
)
from DeepRegLib.cohort.thumbnails import write_thumbnail
from DeepRegLib.cohort.work import BUSY, DISK, DONE, INPUT, RUN, VERSIONS, Outcome, Work
from DeepRegLib.errors import DeepRegError, InputError, OutputError
from DeepRegLib.files import write_text
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.files.output_folder import files_called_so, reserved_folder
from DeepRegLib.naming import without_paths
from DeepRegLib.saving import json_text
from DeepRegLib.versions import versions

BAD_INPUT = 2
LOG_BYTES = 200_000
SHOWN_LOG = 20_000
ERROR = re.compile(r"^error: (.*)$", re.MULTILINE)
FULL = "The disk holding "
OTHER_RUN = "Another run is writing to "

Deepreg = Callable[[Sequence[str]], int]


class _NoResult(Exception):  # noqa: N818  # how a command ended
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_case(work: Work, deepreg: Deepreg, log: str) -> Outcome:
    """Run a case and write its folder; what goes wrong is told in the outcome.

    Parameters
    ----------
    work
        The case.
    deepreg
        Runs the words of a command line and returns its exit code.
    log
        File that what is printed goes to.
    """
    try:
        return _run(work, deepreg, Path(log))
    except _NoResult as end:
        text = _text(Path(log))
        errors = ERROR.findall(text)
        reason = errors[-1] if errors else f"It ended with exit code {end.code} and no result."
        kind = INPUT if end.code == BAD_INPUT else RUN
        return Outcome(DISK if reason.startswith(FULL) else kind, reason, text[-SHOWN_LOG:])
    except OutputError as error:
        kinds = {FULL: DISK, OTHER_RUN: BUSY}
        kind = next((kind for begin, kind in kinds.items() if error.message.startswith(begin)), INPUT)
        return Outcome(kind, str(error), _text(Path(log))[-SHOWN_LOG:])
    except DeepRegError as error:
        return Outcome(INPUT, str(error), _text(Path(log))[-SHOWN_LOG:])
    except (OSError, MemoryError) as error:
        return Outcome(RUN, f"{type(error).__name__}: {error}", _text(Path(log))[-SHOWN_LOG:])


def run_step(work: Work, log: str) -> Outcome:
    """Do a step of a task; what goes wrong is told in the outcome."""
    from DeepRegLib.segmentation.steps import carry_atlas
    from DeepRegLib.series.steps import STEPS

    known = {**STEPS, carry_atlas.__name__: carry_atlas}
    own = {"versions": dict(versions()), "models": {}}
    if own["versions"] != work.wanted["versions"]:
        words = _differing(own, {**work.wanted, "models": {}})
        return Outcome(VERSIONS, f"{platform.node()} has {words}. Install the same everywhere.")
    try:
        return Outcome(DONE, answer=known[work.step](work.case["arguments"]))
    except OutputError as error:
        kind = DISK if error.message.startswith(FULL) else RUN
        return Outcome(kind, str(error), _text(Path(log))[-SHOWN_LOG:])
    except DeepRegError as error:
        return Outcome(INPUT, str(error), _text(Path(log))[-SHOWN_LOG:])
    except (OSError, MemoryError, ValueError, KeyError) as error:
        return Outcome(RUN, f"{type(error).__name__}: {error}", _text(Path(log))[-SHOWN_LOG:])


def _run(work: Work, deepreg: Deepreg, log: Path) -> Outcome:
    case = Case(**work.case)
    own = asdict(fingerprint_of(case, versions()))
    if own != work.wanted:
        return Outcome(VERSIONS, f"{platform.node()} has {_differing(own, work.wanted)}. Install the same everywhere.")
    folder = Path(work.folder)
    made = record_of(folder)
    if made is not None and not difference(made, Fingerprint(**work.wanted), case.files):
        return _done(folder)  # another worker, taken for lost, has made it meanwhile
    _require_own(folder)
    begun, clock = datetime.now(timezone.utc), time.perf_counter()
    reset_peak_memory()
    result = COMMANDS[case.command].result
    with reserved_folder(
        folder, is_case_file, overwrite=True, inputs=case.files.values(), earlier=files_called_so
    ) as place:
        inputs = {column: _input(column, path) for column, path in case.files.items()}

        def write(new: Path) -> list[str]:
            code = deepreg(words_of(case, str(new)))
            if not (new / result).is_file():
                raise _NoResult(code)
            for column, path in case.files.items():
                if stamp_of(path) != inputs[column]["stamp"]:
                    raise InputError(f"The file of {column} changed while it was read.", "Run the cohort again.")
            write_text(new / LOG, without_paths(_text(log).replace(str(new), str(folder)), case.files))
            write_thumbnail(case, new, new / THUMBNAIL)
            written = files_called_so(new, is_case_file)
            record = {
                "files": {name: content_hash(new / name) for name in written},
                "schema": SCHEMA,
                "case": case.name,
                "row": case.row,
                "wanted": work.wanted,
                "stands_in_for": work.stands_in_for,
                "inputs": inputs,
                "begun": begun.isoformat(timespec="seconds"),
                "seconds": round(time.perf_counter() - clock, 3),
                "memory": peak_memory(),
                "host": platform.node(),
                "attempt": work.attempt,
                "size": sum(path.stat().st_size for path in new.rglob("*") if path.is_file()),
                **summary_of(json_table(new / result, LARGEST_RECORD) or {}),
            }
            write_text(new / RECORD, json_text(record))
            # In this order they appear; where the result lies, all the others do.
            return [*(name for name in written if name != result), RECORD, result]

        place.commit(place.write(write))
    return _done(folder)


def _require_own(folder: Path) -> None:
    """Make sure that what the case's folder holds was written by a cohort: what somebody has put there must not go."""
    foreign = foreign_files(folder)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise InputError(
            f"{folder.name} holds {foreign[0]}{more}, which no cohort has written so: it would be replaced.",
            "Move the files elsewhere, or give the case another name.",
        )


def _done(folder: Path) -> Outcome:
    record = json_table(folder / RECORD, LARGEST_RECORD) or {}
    return Outcome(DONE, verdict=str(record.get("verdict", "")), size=int(record.get("size", 0)))


def _input(column: str, path: str) -> dict[str, str]:
    """Return the stamp and the hash of a file, the stamp from before it was read."""
    try:
        return {"stamp": stamp_of(path), "sha256": content_hash(path)}
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"The file of {column} cannot be read: {reason}.", "Check the path.") from error


def _differing(own: dict[str, Any], wanted: Any) -> str:
    """Say in some words what of this worker's is not what is wanted."""
    mine, theirs = own["versions"], wanted["versions"]
    words = [
        f"{name} {mine.get(name)} in place of {value}" for name, value in theirs.items() if mine.get(name) != value
    ]
    if own["models"] != wanted["models"]:
        words.append("other weights of the model")
    if not words:
        words.append("another recipe of that name")
    return ", ".join(words)


def _text(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - LOG_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def reset_peak_memory() -> None:
    """Have the system begin to watch this process's largest memory anew, where it can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int | None:
    """Return the largest resident memory of this process since `reset_peak_memory`, bytes; None if nobody knows."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError, StopIteration):
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
