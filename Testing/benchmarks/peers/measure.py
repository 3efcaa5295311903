"""Every case with every tool, in alternation, each run in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import SimpleITK as sitk

from Testing.benchmarks.cases import Case, find_cases
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers import machine, scoring
from Testing.benchmarks.peers.job import BACK, INVERSE, ITSELF, NOT_INSTALLED
from Testing.benchmarks.peers.scoring import Truth, folds, known_truth, moved, read_chain, score
from Testing.benchmarks.peers.store import Row, Store
from Testing.benchmarks.peers.summary import BEFORE, BOTH_WAYS, EARLIER, Comparison
from Testing.benchmarks.peers.tools import Tool, hash_of, install, interpreter, tools_named, version_of

LONG = 600.0  # seconds; a registration that takes longer is timed once


def measure(options: Options) -> Comparison:
    """Run the tools that were asked for on the cases that were asked for."""
    tools = tools_named(options.peers.tools, options.recipe)
    if options.peers.install:
        install_missing(tools, options)
    return measured(options, tools)


def install_missing(tools: Sequence[Tool], options: Options) -> None:
    """Install the tools that no interpreter has; one that cannot be installed is said and left out."""
    for tool in tools:
        if version_of(tool, interpreter(tool, options.peers.pythons)) is None:
            print(f"  installing {tool.requirement} ...", flush=True)
            reason = install(tool)
            if reason:
                print(f"  {tool.name} could not be installed: {reason}", flush=True)
            version_of.cache_clear()


def measured(options: Options, tools: Sequence[Tool], cases: Sequence[Case] | None = None) -> Comparison:
    """Run some tools on some cases or all; what fails, takes too long or is not installed is a row as well."""
    cases = find_cases(options.data, options.only) if cases is None else cases
    store = Store(options.peers.store or options.output / "peers.json")
    keys = {case.name: [key_of(case, tool, options) for tool in tools] for case in cases}
    if options.peers.fresh:
        store.forget(key for of_case in keys.values() for key in of_case)
    rows = []
    for case in cases:
        bench = Bench(case, options, store)
        rows.append(bench.before())
        for count in range(1, options.repeats + 1):
            for tool, key in zip(tools, keys[case.name], strict=True):
                bench.run(tool, key, count)
        rows += [row for row in map(bench.row, keys[case.name]) if row is not None]
    return Comparison(cases, tools, rows, store.rows(), options.peers.threads)


def key_of(case: Case, tool: Tool, options: Options) -> Row:
    """Return the identity of a tool's row: a change of any of it makes it another."""
    python = interpreter(tool, options.peers.pythons)
    return {
        "case": case.name,
        "tool": tool.name,
        "version": version_of(tool, python) or NOT_INSTALLED,
        "options": {**common_options(case), "threads": options.peers.threads, "script": hash_of([tool.script])},
    }


def common_options(case: Case) -> dict[str, Any]:
    """Return what every row of a case depends on."""
    files = [path for path in sorted(case.folder.iterdir()) if path.is_file()]
    return {"data": hash_of(files), "scorer": scoring.VERSION, "machine": machine.description()}


class Bench:
    """The runs of one case.

    Parameters
    ----------
    case
        The case.
    options
        The choices of the command line.
    store
        What has been measured so far.
    """

    def __init__(self, case: Case, options: Options, store: Store) -> None:
        self._case, self._options, self._store = case, options, store
        self._truth: Truth | None = None

    def before(self) -> Row:
        """Return the row of the images as they came."""
        key: Row = {"case": self._case.name, "tool": BEFORE, "version": "", "options": common_options(self._case)}
        known = self._store.get(key)
        if known is None:
            known = key | score(sitk.Transform(3, sitk.sitkIdentity), self._known_truth())
            self._store.put(known)
        return known

    def run(self, tool: Tool, key: Row, count: int) -> None:
        """Run a tool unless it has been run that often, and keep what came of it."""
        row = self._store.get(key) or key | {"runs": []}
        asked = self._options.peers.both_ways and BOTH_WAYS not in row
        if key["version"] == NOT_INSTALLED or enough(row, count, self._options.peers.limit, both_ways=asked):
            return
        with tempfile.TemporaryDirectory() as folder:
            answer = self._answer(tool, Path(folder), both_ways=asked)
            if "error" not in answer:
                answer |= self._scores(answer, Path(folder) / INVERSE)
        print(f"  {self._case.name}, {tool.name}: {told(answer)}", flush=True)
        self._store.put(with_answer(row, answer, self._options.peers.limit))

    def row(self, key: Row) -> Row | None:
        """Return what is known of a tool on this case; None if nothing.

        What another version or another machine has measured is marked as earlier.
        """
        known = self._store.get(key)
        if known is not None:
            return known
        earlier = self._store.latest(self._case.name, key["tool"])
        if earlier is not None:
            return earlier | {EARLIER: True}
        missing = key["version"] == NOT_INSTALLED and not self._store.has(key["tool"])
        return key | {"runs": [], "error": NOT_INSTALLED} if missing else None

    def _known_truth(self) -> Truth:
        if self._truth is None:
            self._truth = known_truth(self._case)
        return self._truth

    def _answer(self, tool: Tool, folder: Path, *, both_ways: bool) -> dict[str, Any]:
        peers = self._options.peers
        with machine.watched() as watch:
            answer = run_fresh(
                tool.module,
                self._case.folder.absolute() / "fixed.nii.gz",
                self._case.folder.absolute() / "moving.nii.gz",
                folder,
                peers.threads,
                self._case.is_multimodal(),
                tool.variant,
                both_ways,
                limit=peers.limit,
                python=interpreter(tool, peers.pythons),
                environment=dict.fromkeys(machine.THREAD_VARIABLES, str(peers.threads)),
            )
        return answer | {"whole": watch.seconds, "others": watch.others}

    def _scores(self, answer: dict[str, Any], inverse: Path) -> dict[str, Any]:
        truth = self._known_truth()
        try:
            there = read_chain(answer["transforms"])
            scores = {"scores": score(there, truth)}
            if BACK not in answer:
                return scores
            back, itself = read_chain(answer[BACK]), read_chain(answer[ITSELF])
            found = moved("swap", truth, there, back) | moved("itself", truth, itself)
            if inverse.is_file():
                found["inverse folds"] = folds(read_chain([inverse]), self._case.images()[1])
            return scores | {BOTH_WAYS: found}
        except RuntimeError:
            return {"error": "SimpleITK cannot read the transform"}
        except ValueError as error:
            return {"error": str(error)}


def enough(row: Row, count: int, limit: float, *, both_ways: bool = False) -> bool:
    """Tell whether a row needs no further run: it has `count`, or one that was long, or it failed for good.

    It needs one, however many it has, for `both_ways`.
    """
    if "error" in row:
        return bool(row["limit"] >= limit)
    if both_ways:
        return False
    runs = row["runs"]
    return len(runs) >= count or any(run["seconds"]["register"] > LONG for run in runs)


def with_answer(row: Row, answer: dict[str, Any], limit: float) -> Row:
    """Return a row with one run more."""
    row = {name: value for name, value in row.items() if name not in ("error", "limit")}
    if "error" in answer:
        return row | {"error": answer["error"], "limit": limit}
    kept = ("seconds", "processor", "whole", "others", "peak GB", "GPU GB", "scores")
    runs = [*row["runs"], {name: answer[name] for name in kept if name in answer}]
    device = {"device": answer["device"]} if "device" in answer else {}
    # Most tools draw random samples and score a little differently each time.
    means = {name: fmean(run["scores"][name] for run in runs) for name in answer["scores"]}
    other = {BOTH_WAYS: answer[BOTH_WAYS]} if BOTH_WAYS in answer else {}
    return row | device | means | other | {"runs": runs}


def told(answer: dict[str, Any]) -> str:
    """Return a run in a few words."""
    if "error" in answer:
        return str(answer["error"])
    found = answer["scores"] | answer.get(BOTH_WAYS, {})
    scores = {name: round(value, 3) for name, value in found.items() if name != "voxels"}
    return f"{answer['seconds']['register']:.1f} s {scores}"
