"""Whether workers may still come: what the batch system says of the jobs that are to be workers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from DeepRegLib.guarding import in_one_line

ASK_SECONDS, ANSWER_SECONDS = 10.0, 30.0
# A batch system that does not answer, or a cluster without workers, is waited for so long.
PATIENCE_SECONDS = 600.0
SHOWN_LOG = 300


@dataclass(frozen=True)
class JobQuery:
    """How a batch system is asked for jobs.

    Parameters
    ----------
    words
        Of the command; the jobs' numbers are put behind it, joined by `joined`, or left out if that is None.
    joined
        What stands between the numbers; " " for words of their own.
    never
        Words in a job's line that mean: it will not begin by itself.
    over
        Words in a job's line that mean: it has ended.
    """

    words: tuple[str, ...]
    joined: str | None
    never: frozenset[str]
    over: frozenset[str] = frozenset()


# The manuals of squeue (JOB REASON CODES), of qstat (PBS: job_state; Grid Engine: status) and of bjobs (stat).
BATCH_SYSTEMS: Mapping[str, JobQuery] = {
    "slurm": JobQuery(
        ("squeue", "--noheader", "--format=%A %T %r", "--jobs"),
        ",",
        frozenset(
            {
                *("AccountNotAllowed", "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS"),
                *("JobHeldAdmin", "JobHeldUser", "PartitionDown", "PartitionInactive", "PartitionNodeLimit"),
                *("PartitionTimeLimit", "QOSNotAllowed", "QOSMaxWallDurationPerJobLimit", "AssocMaxCpuPerJobLimit"),
                *("AssocMaxMemPerJob", "AssocMaxWallDurationPerJobLimit", "QOSMaxCpuPerJobLimit"),
                *("QOSMaxMemoryPerJob", "QOSMaxGRESPerJob", "AssocMaxGRESPerJob", "launch_failed_requeued_held"),
            }
        ),
    ),
    "pbs": JobQuery(("qstat",), " ", frozenset({"H"}), frozenset({"C", "F", "E"})),
    "sge": JobQuery(("qstat",), None, frozenset({"Eqw", "hqw", "Ehqw"})),
    "lsf": JobQuery(("bjobs", "-noheader", "-o", "jobid stat"), " ", frozenset({"PSUSP"}), frozenset({"EXIT", "DONE"})),
}


@dataclass(eq=False)
class JobWatch:
    """Watches over the jobs of one run, while none of them is a worker.

    Parameters
    ----------
    kind
        Of the batch system, a key of `BATCH_SYSTEMS`.
    logs
        Folder of what the jobs print.
    say
        Called with what is waited for, when that changes.
    """

    kind: str
    logs: Path
    say: Callable[[str], None]
    jobs: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _since: float | None = None
    _asked: float = -ASK_SECONDS
    _silent: float | None = None
    _told: str = ""

    def arrived(self) -> None:
        """Note that there are workers."""
        self._since = None

    def trouble(self) -> str:
        """Return why no worker will come, as a sentence or two; "" as long as one may. Asked while there is none."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if self.refused:
            return f"The batch system takes no job: {in_one_line(self.refused[-1], SHOWN_LOG)}."
        if not self.jobs or now - self._since < ASK_SECONDS or now - self._asked < ASK_SECONDS:
            return ""
        self._asked = now
        known = list(self.jobs)
        lines = lines_of_jobs(self.kind, known)
        if lines is None:
            self._silent = now if self._silent is None else self._silent
            silent = now - self._silent > PATIENCE_SECONDS
            return f"No worker has come, and {BATCH_SYSTEMS[self.kind].words[0]} tells nothing of the jobs." * silent
        self._silent = None
        if not lines:
            # One that was asked for meanwhile may come yet.
            return "" if known != self.jobs else f"The jobs ended before one was a worker. {self._printed()}".strip()
        stuck = [line for line in lines if BATCH_SYSTEMS[self.kind].never & set(line.split())]
        if len(stuck) == len(lines):
            return f"The batch system will not begin the jobs: {in_one_line(stuck[0], SHOWN_LOG)}."
        told = f"{len(lines)} jobs and no worker yet. The batch system says: {in_one_line(lines[0], SHOWN_LOG)}"
        if told != self._told:
            self._told = told
            self.say(told)
        return ""

    def _printed(self) -> str:
        """Return the last line of what a job has printed; "" if there is none."""
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(self.logs.glob("*.err"))]
        lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
        return f"The last one said: {in_one_line(lines[-1], SHOWN_LOG)}" if lines else ""


def lines_of_jobs(kind: str, jobs: Sequence[str]) -> list[str] | None:
    """Return the line of each job that the batch system still has; None if it cannot be asked."""
    asking = BATCH_SYSTEMS[kind]
    numbers = [] if asking.joined is None else list(jobs) if asking.joined == " " else [asking.joined.join(jobs)]
    try:
        done = subprocess.run(
            [*asking.words, *numbers], capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # A job that is over is an error to some, beside lines of the others.
    if done.returncode and not done.stdout.strip() and not any(job in done.stderr for job in jobs):
        return None if "nvalid job id" not in done.stderr else []
    lines = [line for line in done.stdout.splitlines() if any(job in line.split() for job in jobs)]
    return [line for line in lines if not asking.over & set(line.split())]


@dataclass(eq=False)
class WorkerDeadline:
    """Waits for workers of a cluster that someone else has started.

    Parameters
    ----------
    where
        Address of its scheduler.
    """

    where: str
    _since: float | None = None

    def arrived(self) -> None:
        """Note that there are workers."""
        self._since = None

    def trouble(self) -> str:
        """Return why no worker will come; "" as long as one may. Asked while there is none."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since < PATIENCE_SECONDS:
            return ""
        return f"The cluster at {self.where} has had no worker that may run a case for {PATIENCE_SECONDS / 60:.0f} min."
