"""Two real pairs as cubes of growing size, and one of them on growing numbers of cores; a process of its own each."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from DeepRegLib.recipes import AUTO
from Testing.benchmarks.cases import FULL_SIZE_PAIRS, Case, find_cases, preferred
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers import machine
from Testing.benchmarks.peers.measure import enough
from Testing.benchmarks.peers.store import Row, Store
from Testing.benchmarks.peers.tools import DEEPREG, deepreg, hash_of, version_of
from Testing.benchmarks.scaling.page import BRAIN, CT, Run, Scaling
from Testing.benchmarks.scaling.plot import draw

FILE = "scaling.json"
CORES_SIZE = 192  # 7 million voxels, about what a brain scan has
FOLDER = Path(__file__).parent


def measure(options: Options) -> Scaling:
    """Run what was asked for and is not known, and draw the plot beside the file of results."""
    cases = chosen_cases(find_cases(options.data, options.only))
    store = Store(store_path(options))
    bench = Bench(options, store)
    runs = planned(cases, options.sizes, options.peers.threads)
    copies = sorted({run.threads for run in runs})
    if options.peers.fresh and options.repeats:
        store.forget([*map(bench.key, runs), *map(copy_key, copies)])
    for threads in copies:
        bench.measure_copy(threads)
    for case, size in dict.fromkeys((run.case, run.size) for run in runs):
        bench.register([run for run in runs if (run.case, run.size) == (case, size)])
    rows = {run: row for run in runs if (row := store.get(bench.key(run)))}
    bandwidths = {threads: row for threads in copies if (row := store.get(copy_key(threads)))}
    scaling = Scaling(rows, bandwidths, store.rows())
    if rows:
        draw(scaling, store.path.with_suffix(".svg"))
    return scaling


def store_path(options: Options) -> Path:
    """Return the file of results: beside that of `peers` if one was named."""
    return options.peers.store.with_name(FILE) if options.peers.store else options.output / FILE


def chosen_cases(cases: Sequence[Case]) -> dict[str, Case]:
    """Return a CT pair and the brain pair that speed is stated for, as far as they are there."""
    ct = [case for case in cases if case.description().get("modality") == "CT"][:1]
    brain = preferred([case for case in cases if case not in ct], FULL_SIZE_PAIRS)
    return {role: of_role[0] for role, of_role in ((BRAIN, brain), (CT, ct)) if of_role}


def planned(cases: dict[str, Case], sizes: Sequence[int], threads: int) -> list[Run]:
    """Return the runs: every size with all threads, and the brain at one size with fewer."""
    runs = [Run(role, case, size, threads) for size in sorted(sizes) for role, case in cases.items()]
    if BRAIN in cases:
        size = max((size for size in sizes if size <= CORES_SIZE), default=min(sizes))
        runs += [Run(BRAIN, cases[BRAIN], size, fewer) for fewer in core_counts(threads) if fewer < threads]
    return runs


def core_counts(threads: int) -> list[int]:
    """Return 1, 2, 4, ... and the number itself."""
    return sorted({*(1 << n for n in range(threads.bit_length())), threads})


def copy_key(threads: int) -> Row:
    """Return the identity of the row of a bandwidth."""
    options = {"machine": machine.description(), "threads": threads, "script": hash_of([FOLDER / "bandwidth.py"])}
    return {"case": "memory", "tool": "copy", "version": torch.__version__, "options": options}


class Bench:
    """The measurements that are missing.

    Parameters
    ----------
    options
        The choices of the command line.
    store
        What has been measured so far.
    """

    def __init__(self, options: Options, store: Store) -> None:
        self._options, self._store = options, store
        self._data: dict[Case, str] = {}

    def key(self, run: Run) -> Row:
        """Return the identity of a run's row: a change of any of it makes it another."""
        if run.case not in self._data:
            self._data[run.case] = hash_of(run.case.folder / f"{side}.nii.gz" for side in ("fixed", "moving"))
        options = {
            "data": self._data[run.case],
            "machine": machine.description(),
            "size": run.size,
            "threads": run.threads,
            "script": hash_of([FOLDER / "cube.py", FOLDER / "run.py"]),
        }
        return {"case": run.case.name, "tool": DEEPREG, "version": version_of(deepreg(AUTO), ""), "options": options}

    def measure_copy(self, threads: int) -> None:
        """Measure the bandwidth as often as asked for."""
        row = self._store.get(copy_key(threads)) or copy_key(threads) | {"runs": []}
        for _ in range(len(row["runs"]), self._options.repeats):
            answer = self._watched("bandwidth", threads=threads)
            if "error" not in answer:
                row = row | {"runs": [*row["runs"], answer]}
                self._store.put(row)
            print(f"  copy, {threads} threads: {answer.get('error') or answer['bytes a second'] / 1e9}", flush=True)

    def register(self, runs: Sequence[Run]) -> None:
        """Register a pair at one size as often as asked for; the cubes are made for as long as that takes."""
        limit = self._options.peers.limit
        counts = range(1, self._options.repeats + 1)
        if all(enough(self._row(run), count, limit) for run in runs for count in counts):
            return
        with tempfile.TemporaryDirectory() as folder:
            # In a process of its own: the memory it takes would be inherited, and counted, by some systems.
            cubes = run_fresh(f"{__package__}.cube", runs[0].case.folder.absolute(), runs[0].size, folder, limit=limit)
            for count in counts:
                for run in runs:
                    if not enough(self._row(run), count, limit):
                        self._store.put(with_answer(self._row(run), self._answer(run, cubes), limit))

    def _row(self, run: Run) -> Row:
        key = self.key(run)
        return self._store.get(key) or key | {"runs": []}

    def _answer(self, run: Run, cubes: dict[str, Any]) -> dict[str, Any]:
        if "error" in cubes:
            return cubes
        answer = self._watched("run", cubes["fixed"], cubes["moving"], threads=run.threads)
        told = answer.get("error") or f"{answer['seconds']['register']:.1f} s, {answer['peak GB']:.2f} GB"
        print(f"  {run.case.name}, {run.size} x {run.size} x {run.size}, {run.threads} threads: {told}", flush=True)
        return answer

    def _watched(self, module: str, *arguments: object, threads: int) -> dict[str, Any]:
        with machine.watched() as watch:
            answer = run_fresh(
                f"{__package__}.{module}",
                *arguments,
                limit=self._options.peers.limit,
                environment=dict.fromkeys(machine.THREAD_VARIABLES, str(threads)),
            )
        return answer | {"whole": watch.seconds, "others": watch.others}


def with_answer(row: Row, answer: dict[str, Any], limit: float) -> Row:
    """Return a row with one run more."""
    row = {name: value for name, value in row.items() if name not in ("error", "limit")}
    if "error" in answer:
        return row | {"error": answer["error"], "limit": limit}
    return row | {"runs": [*row["runs"], answer]}
