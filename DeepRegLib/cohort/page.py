"""The report of all cases, `cohort.html`: counts, distributions with outliers named, worst cases first.

Pictures and reports of single cases are linked, not copied, so that thousands of rows open at once.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from DeepRegLib.cohort.record import LOG, THUMBNAIL
from DeepRegLib.cohort.table import DONE, FAILED, MISSING, WRONG, Line
from DeepRegLib.cohort.work import MEGABYTE
from DeepRegLib.errors import DeepRegError

if TYPE_CHECKING:
    import jinja2

TEMPLATE, SCRIPT = "page.html.j2", "page.js"
# What is shown of each case where it was measured, in this order, and how it is called.
MEASURES: Mapping[str, str] = {
    "dice_after_mean": "mean Dice",
    "tre_after": "landmark error (mm)",
    "structure_after": "structure agreement",
    "ncc_after": "cross correlation",
    "ncc_after_of_frames_mean": "cross correlation",
    "motion_mean_of_frames_max": "largest motion (mm)",
    "folds_of_frames_max": "folded voxels",
    "folds": "folded voxels",
    "log_jacobian_sd": "spread of volume change",
    "inverse_error_p99": "inverse error, 99 % (mm)",
}
MOST_COLUMNS = 5
BINS, BAR, HEIGHT = 24, 10, 60
# Median absolute deviations, scaled as a normal distribution's standard deviation, that make an outlier.
FAR, MAD_TO_SD = 4.0, 1.4826
MOST_OUTLIERS = 8
ORDER = {FAILED: 0, WRONG: 1, DONE: 2, MISSING: 3}
VERDICTS = {"failed": 0, "check": 1, "ok": 2}


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram, in pixels."""

    x: int
    height: float


@dataclass(frozen=True)
class Distribution:
    """How a measure is spread over the cases: bars, its range and median, and the cases far from the others."""

    title: str
    bars: tuple[Bar, ...]
    low: str
    median: str
    high: str
    outliers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """A case as the page shows it; links are relative to the page, "" where there is nothing."""

    case: str
    row: int
    verdict: str
    word: str
    reasons: str
    values: tuple[tuple[str, str], ...]
    seconds: str
    memory: str
    host: str
    thumbnail: str
    links: tuple[tuple[str, str], ...]


def page_of(lines: Sequence[Line], output: Path, about: Mapping[str, str]) -> str:
    """Return the page.

    Parameters
    ----------
    lines
        One a row of the manifest.
    output
        Folder of the cohort, in which linked files are looked for.
    about
        What is said of the run: by name, in some words.

    Raises
    ------
    DeepRegError
        If jinja2 is missing.
    """
    known = [name for name in MEASURES if any(name in (line.measures or {}) for line in lines)]
    columns = known[:MOST_COLUMNS]
    script = importlib.resources.files(__package__).joinpath(SCRIPT).read_text(encoding="utf-8")
    statuses = Counter(line.verdict or line.status for line in lines if line.status != FAILED)
    return _template().render(
        script=script,
        # Only this very script may run, whatever a name or a reason holds.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        counts=[
            ("ok", "ok", statuses["ok"]),
            ("check", "check", statuses["check"]),
            ("failed", "verdict failed", statuses["failed"]),
            ("failed", "no result", sum(line.status == FAILED for line in lines)),
            ("wrong", "wrong rows", statuses[WRONG]),
            ("missing", "not run", statuses[MISSING]),
        ],
        total=len(lines),
        distributions=[_distribution(MEASURES[name], _values(lines, name)) for name in known]
        + [
            _distribution(
                "seconds", {line.case: line.seconds for line in lines if line.status == DONE and line.seconds}
            )
        ],
        headings=[MEASURES[name] for name in columns],
        rows=[_row(line, columns, output) for line in sorted(lines, key=worst_first)],
        about=dict(about) | _cost(lines),
    )


def worst_first(line: Line) -> tuple[int, int, float, int]:
    """Return what lines are sorted by: no result, then by verdict, then by agreement."""
    measures = line.measures or {}
    return (
        ORDER[line.status],
        VERDICTS.get(line.verdict, 3),
        measures.get("dice_after_mean", measures.get("structure_after", 0.0)),
        line.row,
    )


def outliers_of(values: Mapping[str, float]) -> list[str]:
    """Return the names of the values that lie far from all others, the farthest first.

    Leys et al., Detecting outliers: do not use standard deviation around the mean, use absolute deviation around the
    median, J. Exp. Soc. Psychol. 49 (2013) 764-766.
    """
    if len(values) < 5:
        return []
    middle = statistics.median(values.values())
    spread = MAD_TO_SD * statistics.median(abs(value - middle) for value in values.values())
    far = [name for name, value in values.items() if spread > 0 and abs(value - middle) > FAR * spread]
    return sorted(far, key=lambda name: -abs(values[name] - middle))


def _values(lines: Sequence[Line], name: str) -> dict[str, float]:
    return {line.case: line.measures[name] for line in lines if line.measures and name in line.measures}


def _distribution(title: str, values: Mapping[str, float]) -> Distribution | None:
    if not values:
        return None
    low, high = min(values.values()), max(values.values())
    width = (high - low) / BINS or 1.0
    counts = Counter(min(int((value - low) / width), BINS - 1) for value in values.values())
    most = max(counts.values())
    bars = tuple(Bar(BAR * place, HEIGHT * count / most) for place, count in sorted(counts.items()))
    named = tuple((name, _number(values[name])) for name in outliers_of(values)[:MOST_OUTLIERS])
    return Distribution(title, bars, _number(low), _number(statistics.median(values.values())), _number(high), named)


def _row(line: Line, columns: Sequence[str], output: Path) -> Row:
    folder = output / line.folder if line.folder else None
    links = []
    for name, word in (("report.html", "report"), ("viewer.html", "viewer"), (LOG, "log")):
        if folder is not None and (folder / name).is_file():
            links.append((word, f"{quote(line.folder)}/{name}"))
    if line.status == FAILED:
        links.append(("reason and log", f"failures/{quote(line.case)}.json"))
    word = line.verdict or {FAILED: "no result", WRONG: WRONG, MISSING: "not run"}.get(line.status, "")
    measures = line.measures or {}
    return Row(
        line.case,
        line.row,
        line.verdict if line.status == DONE else {FAILED: "failed", WRONG: "wrong"}.get(line.status, "missing"),
        word,
        " ".join(line.reasons),
        # What is sorted by, and what is read.
        tuple((str(measures.get(name, "")), _number(measures[name]) if name in measures else "") for name in columns),
        "" if line.seconds is None else f"{line.seconds:.1f}",
        "" if line.memory is None else f"{line.memory // MEGABYTE}",
        line.host,
        f"{quote(line.folder)}/{THUMBNAIL}" if line.thumbnail else "",
        tuple(links),
    )


def _cost(lines: Sequence[Line]) -> dict[str, str]:
    """Say what the cases took together, by device."""
    by_device: Counter[str] = Counter()
    for line in lines:
        if line.status == DONE and line.seconds:
            by_device[line.device or "unknown"] += round(line.seconds)
    if not by_device:
        return {}
    told = ", ".join(f"{seconds / 3600:.2f} h on {device}" for device, seconds in by_device.items())
    hosts = len({line.host for line in lines if line.host})
    return {"Time of all cases": f"{told}; {hosts} computer{'s' if hosts > 1 else ''}"}


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e9 else f"{value:.3g}"


@cache
def _template() -> jinja2.Template:
    try:
        import jinja2
    except ImportError as error:
        raise DeepRegError(
            "The report needs jinja2, which is not installed.", 'Install "slicer-deepreg[cohort]".'
        ) from error
    source = importlib.resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)
