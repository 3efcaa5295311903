"""What is handed to whoever runs a case, and what comes back: plain values, so that they can go anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

# How a case ended.
DONE = "done"
INPUT, RUN, DIED, LEFT, TIME, MEMORY, DISK, VERSIONS, BUSY, STOPPED = (
    *("input", "run", "died", "left", "time", "memory", "disk", "versions", "busy", "stopped"),
)
# What another try would not change: the same words are refused again.
FINAL = (INPUT, DISK, STOPPED)
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """How long a case may take and how much memory it may use.

    Parameters
    ----------
    seconds
        None for as long as it takes.
    bytes
        Resident memory of its process; None for what there is.
    """

    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Work:
    """One case, ready to run.

    Parameters
    ----------
    case
        The fields of a `DeepRegLib.cohort.cases.Case`.
    folder
        Where its result goes, absolute.
    wanted
        The fields of a `DeepRegLib.cohort.state.Fingerprint`; whoever runs it makes sure that it has the same.
    stands_in_for
        SHA-256 of the recipes whose place this result takes, see `DeepRegLib.cohort.state.difference`.
    limits
        Of the case.
    attempt
        From 1.
    step
        "" for a case; else the step of a task that it is, with the `arguments` of `case`.
    """

    case: Mapping[str, Any]
    folder: str
    wanted: Mapping[str, Any]
    stands_in_for: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    attempt: int = 1
    step: str = ""

    @property
    def name(self) -> str:
        """Of the case."""
        return str(self.case["name"])

    def again(self) -> Work:
        """Return it for another try."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Parameters
    ----------
    kind
        `DONE`, or why there is no result: `INPUT` (something in it is wrong), `RUN` (it could not be registered),
        `DIED` (its process or worker did), `LEFT` (its worker had to leave before its job was over), `TIME`, `MEMORY`,
        `DISK`, `VERSIONS` (the worker has others), `BUSY` (another run has its folder), `STOPPED`.
    reason
        One line; "" if done.
    log
        The end of what it printed; "" if done, for then the log lies in the folder.
    host
        Name of the computer; "" if it is not known.
    seconds
        From its begin to its end.
    verdict
        Of the result; "" without one.
    size
        Bytes of its folder.
    answer
        Of a step: plain values.
    """

    kind: str
    reason: str = ""
    log: str = ""
    host: str = ""
    seconds: float = 0.0
    verdict: str = ""
    size: int = 0
    answer: Mapping[str, Any] = field(default_factory=dict)
