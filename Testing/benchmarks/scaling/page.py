"""What was measured as a page: seconds and memory against size and cores, the limit, and how the floor is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from DeepRegLib.monitoring import STAGE_SHARES
from DeepRegLib.recipes import AUTO, load_recipe
from Testing.benchmarks.cases import Case
from Testing.benchmarks.peers import machine
from Testing.benchmarks.peers.store import Row
from Testing.benchmarks.peers.summary import BUSY
from Testing.benchmarks.scaling.floor import FIELD, bytes_per_voxel, floor_seconds
from Testing.benchmarks.tables import Table, nothing

TITLE = "Time and memory against size and cores"
PLOT = "scaling.svg"
BRAIN, CT = "brain", "CT"
LIMIT_SIZE, LIMIT_GB = 512, 8.0
# No labels are given.
# Those of a registration of two scans without labels.
STAGES = tuple(stage for stage in STAGE_SHARES if stage not in ("other way", "correction", "labels"))
GRID_LIMIT = load_recipe(AUTO).deformable.voxels
ABOUT = """{machine}. DeepReg {version}, recipe auto, on the CPU. {pairs}. Each pair is resampled to cubes of N x N x N
voxels over its own field of view, in its own pixel type; where that is finer than the scan was, the images hold no more
detail, but as many voxels. Each run is a process of its own: seconds without start-up and reading, medians of the runs;
memory of the whole process, the most of any run. ~: the machine had other things to do, so the seconds are no
measurement.

The deformable stage works on at most {grid:g} million voxels (`deformable.voxels` of the recipe), so its time is meant
to level off; preparing, inverting and judging touch the scan itself and grow with it.

![Seconds and memory against voxels, seconds against cores]({plot})"""
FLOOR = """## The floor

The floor is what moving the deformable stage's data through memory takes, however fast the arithmetic: for each level
its voxels, times its iterations (as many as were run), times the bytes that an iteration moves for each voxel, over the
bandwidth of memory, which a copy of 0.5 GB measures here (what is read and what is written both counted, the fastest of
the runs).

An iteration is six passes, each of which reads what it needs once and writes what it makes once, in float32:

1. warp: field and moving image in, warped image out;
2. similarity and force: warped image, fixed image (for MIND its 12 features) and weight in, force out;
3. smooth the force;
4. Adam: force and moments (3 + 1) in, moments and update out;
5. compose: update and field in, field out;
6. smooth the field.

Field, force, moments and update live on a grid half as fine along each axis. So that is 5 channels on the grid of the
images (16 for MIND) and {field} on one of an eighth of the voxels: {lncc:.1f} bytes a voxel with LNCC or NGF,
{mind:.1f} with MIND. Left out, so that the floor lies a little low: what is done once a level or every tenth
iteration, reading neighbours twice at the edges of tiles, folds, and the levels' images. The other stages have no floor
here."""


@dataclass(frozen=True)
class Run:
    """One pair at one size with a number of threads.

    Parameters
    ----------
    role
        Which curve it belongs to, `BRAIN` or `CT`.
    case
        The pair.
    size
        Voxels along each axis.
    threads
        How many it may use.
    """

    role: str
    case: Case
    size: int
    threads: int


@dataclass(frozen=True)
class Scaling:
    """What was measured, with its tables.

    Parameters
    ----------
    rows
        What is known of each run.
    bandwidths
        Row of the bandwidth of memory by threads.
    kept
        All rows of the file, for `as_dict`.
    """

    rows: Mapping[Run, Row]
    bandwidths: Mapping[int, Row]
    kept: Sequence[Row]

    @property
    def passed(self) -> bool | None:
        """Whether CT kept the limit on memory; None as long as the size it is stated for was not run."""
        return self.limit().passed

    def as_dict(self) -> dict[str, Any]:
        """Return the rows; the store reads them again."""
        return {"rows": list(self.kept)}

    def markdown(self) -> str:
        """Return the page."""
        if not self.rows:
            return nothing(TITLE, "There is no case in the folder, or nothing has been measured.").markdown()
        tables = [self.by_size(role) for role in (BRAIN, CT) if self.runs(role)]
        tables += [self.limit(), self.by_cores()]
        floor = FLOOR.format(field=FIELD, lncc=bytes_per_voxel("lncc"), mind=bytes_per_voxel("mind"))
        return "\n\n".join([f"# {TITLE}", self._about(), *(table.markdown() for table in tables), floor])

    def by_size(self, role: str) -> Table:
        """Return seconds, memory and floor of a pair at each size."""
        rows = [{"voxels": f"{run.size}^3", **self._cells(run)} for run in self.runs(role)]
        columns = ("voxels", "seconds", *STAGES, "peak GB", "grid", "iterations", "floor", "of the floor", "error")
        shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
        summary = (
            "Seconds in all and by stage. Grid: million voxels of the deformable stage's finest level; iterations: of "
            "its levels, coarse to fine. Floor: seconds, see below; of the floor: how many times it the stage takes.",
        )
        return Table(f"{role} against size", shown, rows, summary)

    def by_cores(self) -> Table:
        """Return seconds and floor of the brain pair with fewer and fewer threads."""
        runs = self.runs(BRAIN, cores=True)
        alone = next((self.seconds(run) for run in runs if run.threads == 1), None)
        rows = []
        for run in runs:
            own, bandwidth = self.seconds(run), self.bandwidth(run.threads)
            row = {"threads": run.threads, **self._cells(run)}
            row["speed-up"] = f"{alone / own:.2f} x" if alone and own else None
            if bandwidth is not None:
                row["copy GB/s"] = f"{bandwidth / 1e9:.1f}{mark(self.is_copy_loaded(run.threads))}"
            rows.append(row)
        columns = ("threads", "seconds", "speed-up", *STAGES, "peak GB", "copy GB/s", "floor", "of the floor", "error")
        shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
        size = f", {runs[0].size}^3 voxels" if runs else ""
        return Table(f"{BRAIN} against cores{size}", shown, rows, () if rows else ("Not measured.",))

    def limit(self) -> Table:
        """Return whether CT kept the limit on memory, at the size it is stated for and at those that were run below."""
        runs = {run.size: run for run in self.runs(CT) if run.size <= LIMIT_SIZE}
        broken = [size for size, run in runs.items() if not self._is_within(run)]
        told = [", ".join(f"{size}^3: {self._told(run)}" for size, run in runs.items()) + "."] if runs else []
        title = f"{CT} of {LIMIT_SIZE}^3 voxels within {LIMIT_GB:g} GB"
        passed = False if broken else True if LIMIT_SIZE in runs else None
        missing = () if LIMIT_SIZE in runs else (f"{LIMIT_SIZE}^3 has not been measured.",)
        return Table(title, (), (), (*told, *missing), passed)

    def runs(self, role: str, *, cores: bool = False) -> list[Run]:
        """Return the runs of a curve: of a pair by size with all threads, or at the one size of `cores` by threads."""
        of_role = [run for run in self.rows if run.role == role]
        most = max((run.threads for run in of_role), default=0)
        if not cores:
            return sorted((run for run in of_role if run.threads == most), key=lambda run: run.size)
        sizes = {run.size for run in of_role if run.threads < most}
        return sorted((run for run in of_role if run.size in sizes), key=lambda run: run.threads)

    def seconds(self, run: Run, stage: str = "register") -> float | None:
        """Return the median seconds of a run or of one of its stages; None if it failed or has no such stage."""
        found = [each["seconds"][stage] for each in self._done(run) if stage in each["seconds"]]
        return median(found) if found else None

    def memory(self, run: Run) -> float | None:
        """Return the most memory that a run took, in GB."""
        return max((each["peak GB"] for each in self._done(run)), default=None)

    def is_loaded(self, run: Run) -> bool:
        """Tell whether the machine had other things to do."""
        return any(map(is_busy, self._done(run)))

    def bandwidth(self, threads: int) -> float | None:
        """Return the bytes a second of the fastest copy, of those on an idle machine if there are any."""
        return max((each["bytes a second"] for each in self._copies(threads)), default=None)

    def is_copy_loaded(self, threads: int) -> bool:
        """Tell whether the machine had other things to do at every copy."""
        return any(is_busy(each) for each in self._copies(threads))

    def floor(self, run: Run) -> float | None:
        """Return the floor of a run's deformable stage in seconds; None where it or the bandwidth is not known."""
        bandwidth, done = self.bandwidth(run.threads), self._done(run)
        if bandwidth is None or not done:
            return None
        return floor_seconds(done[-1]["levels"], done[-1]["similarity"], bandwidth)

    def _copies(self, threads: int) -> list[dict[str, Any]]:
        runs = self.bandwidths.get(threads, {}).get("runs", [])
        return [run for run in runs if not is_busy(run)] or runs

    def _done(self, run: Run) -> list[dict[str, Any]]:
        row = self.rows[run]
        return [] if "error" in row else row["runs"]

    def _cells(self, run: Run) -> dict[str, str | None]:
        done, floor, deformable = self._done(run), self.floor(run), self.seconds(run, "deformable")
        if not done:
            return {"error": self.rows[run]["error"]}
        cells = {stage: written(self.seconds(run, stage)) for stage in STAGES}
        levels = done[-1]["levels"]
        return cells | {
            "seconds": f"{written(self.seconds(run))}{mark(self.is_loaded(run))}",
            "peak GB": written(self.memory(run), 2),
            "grid": written(levels[-1]["voxels"] / 1e6, 2),
            "iterations": "+".join(str(level["iterations"]) for level in levels),
            "floor": None if floor is None else f"{written(floor, 2)}{mark(self.is_copy_loaded(run.threads))}",
            "of the floor": f"{deformable / floor:.1f} x" if deformable and floor else None,
        }

    def _is_within(self, run: Run) -> bool:
        memory = self.memory(run)
        return memory is not None and memory <= LIMIT_GB

    def _told(self, run: Run) -> str:
        done = self._done(run)
        return f"{self.memory(run):.2f} GB ({done[-1]['pixels']})" if done else str(self.rows[run]["error"])

    def _about(self) -> str:
        names = dict.fromkeys((run.role, run.case.name) for run in self.rows)
        return ABOUT.format(
            machine=machine.description(),
            version=", ".join(sorted({row["version"] for row in self.rows.values()})),
            pairs=", ".join(f"{role}: `{name}`" for role, name in names),
            grid=GRID_LIMIT / 1e6,
            plot=PLOT,
        )


def is_busy(run: Mapping[str, Any]) -> bool:
    """Tell whether the machine had other things to do during a run."""
    return (run["others"] or 0) > BUSY


def mark(loaded: bool) -> str:
    """Return what marks a number that is no measurement."""
    return "~" if loaded else ""


def written(value: float | None, digits: int = 1) -> str | None:
    """Return a number as text."""
    return None if value is None else f"{value:.{digits}f}"
