"""Run the benchmarks: python -m Testing.benchmarks [PART ...], all but those that take hours if none is named."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from DeepRegLib.versions import versions
from Testing.benchmarks import (
    cancel,
    carrying,
    conebeam,
    fuzz,
    hostile,
    kills,
    labels,
    motion,
    networks,
    pairs,
    panel,
    phantoms,
    poses,
    repeat,
    segment_tab,
    segmentation,
    series,
    speed,
    symmetry,
    tracking,
    translation,
    transport,
    ultrasound,
    wrong,
)
from Testing.benchmarks.cohort import measure as cohort
from Testing.benchmarks.learned import (
    adapted,
    adversarial,
    candidates,
    capture,
    contrast,
    described,
    explained,
    forward,
    gain,
)
from Testing.benchmarks.options import Options, PeerOptions
from Testing.benchmarks.peers import measure as peers
from Testing.benchmarks.peers import recipes
from Testing.benchmarks.peers.summary import Comparison
from Testing.benchmarks.peers.tools import PEERS, tools_named
from Testing.benchmarks.scaling import measure as scaling
from Testing.benchmarks.scaling.page import Scaling
from Testing.benchmarks.tables import Table
from Testing.benchmarks.verdict import measure as verdict
from Testing.benchmarks.verdict import trusted
from Testing.benchmarks.verdict.page import Verdicts

ROOT = Path(__file__).resolve().parents[2]
REPEAT = """## How to repeat it

`make benchmark ARGS="{part} --store docs/benchmarks.json"` measures what is missing and writes this page
({day}); `--data FOLDER` takes your own pairs in the same layout, `--fresh` measures everything again, `--repeats 0`
only writes the page. The scans are public ones that the project does not ship."""
ELSEWHERE = "How seconds and memory grow with the size of the scans, and what more cores bring: [{name}]({name})."
Result = Table | Comparison | Scaling | Verdicts
PARTS: dict[str, Callable[[Options], Result]] = {
    "poses": poses.measure,
    "speed": speed.measure,
    "pairs": pairs.measure,
    "repeat": repeat.measure,
    "wrong": wrong.measure,
    "verdict": verdict.measure,
    "trust": trusted.measure,
    "symmetry": symmetry.measure,
    "segmentation": segmentation.measure,
    "networks": networks.measure,
    "translation": translation.measure,
    "ultrasound": ultrasound.measure,
    "phantoms": phantoms.measure,
    "conebeam": conebeam.measure,
    "carrying": carrying.measure,
    "labels": labels.measure,
    "segment-tab": segment_tab.measure,
    "series": series.measure,
    "tracking": tracking.measure,
    "motion": motion.measure,
    "cohort": cohort.measure,
    "fuzz": fuzz.measure,
    "cancel": cancel.measure,
    "transport": transport.measure,
    "kills": kills.measure,
    "hostile": hostile.measure,
    "panel": panel.measure,
    "capture": capture.measure,
    "contrast": contrast.measure,
    "gain": gain.measure,
    "forward": forward.measure,
    "described": described.measure,
    "explained": explained.measure,
    "candidates": candidates.measure,
    "adapted": adapted.measure,
    "adversarial": adversarial.measure,
    # In this order the page of peers has what the other two have measured.
    "scaling": scaling.measure,
    "recipes": recipes.measure,
    "peers": peers.measure,
}
# They take hours.
ONLY_IF_NAMED = (
    "symmetry",
    "segmentation",
    "networks",
    "translation",
    "ultrasound",
    "phantoms",
    "conebeam",
    "carrying",
    "labels",
    "segment-tab",
    "series",
    "tracking",
    "motion",
    "cohort",
    "fuzz",
    "verdict",
    "trust",
    "capture",
    "contrast",
    "gain",
    "candidates",
    "described",
    "explained",
    "adapted",
    "adversarial",
    "scaling",
    "recipes",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the parts asked for; return 0 if every limit was kept, 1 if not."""
    options, parts = parsed(arguments)
    if not options.data.is_dir():
        print(f"The scans are not at {options.data}: nothing to measure. Give a folder with --data.")
        return 0
    tables = {}
    for part in parts:
        print(f"\n{part} ...", flush=True)
        tables[part] = PARTS[part](options)
        print(tables[part].markdown(), flush=True)
        write(tables[part], part, options.output)
        if options.peers.store is not None:
            publish(tables[part], options, options.peers.store)
    return 0 if all(table.passed is not False for table in tables.values()) else 1


def publish(result: Result, options: Options, store: Path) -> None:
    """Write the page of the comparison with other tools, or that of the scaling, for readers."""
    scaled = scaling.store_path(options).with_suffix(".md")
    if isinstance(result, Scaling) and result.rows:
        write_page(scaled, [result.markdown(), repeated("scaling")])
    elif isinstance(result, Verdicts):
        write_page(store.with_name("verdict.md"), [result.markdown(), repeated("verdict")])
    elif isinstance(result, Comparison):
        beside = recipes.known(options)
        sections = [beside.markdown()] if any(row["auto is"] for row in beside.rows) else []
        link = [ELSEWHERE.format(name=scaled.name)] if scaled.is_file() else []
        write_page(store.with_suffix(".md"), [result.markdown(), *sections, *link, repeated("recipes peers --install")])


def write_page(path: Path, sections: list[str]) -> None:
    """Write the sections of a page."""
    path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def repeated(part: str) -> str:
    """Return how to repeat a part."""
    return REPEAT.format(part=part, day=datetime.now(timezone.utc).date().isoformat())


def parsed(arguments: list[str] | None) -> tuple[Options, list[str]]:
    """Return the options and the parts to run."""
    parser = command_line()
    chosen = parser.parse_args(arguments)
    try:
        tools_named(chosen.tools, chosen.recipe)
        pythons = interpreters(chosen.python)
    except ValueError as error:
        parser.error(str(error))
    options = Options(
        data=chosen.data,
        output=chosen.output,
        only=chosen.only,
        count=chosen.count,
        repeats=chosen.repeats,
        recipe=chosen.recipe,
        model=chosen.model,
        limit=chosen.limit or Options.limit,
        sizes=chosen.sizes,
        spacing=chosen.spacing,
        peers=PeerOptions(
            tools=chosen.tools,
            pythons=pythons,
            threads=chosen.threads,
            install=chosen.install,
            fresh=chosen.fresh,
            both_ways=chosen.both_ways,
            limit=chosen.limit or PeerOptions.limit,
            store=chosen.store,
        ),
    )
    return options, chosen.parts or [part for part in PARTS if part not in ONLY_IF_NAMED]


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        choices=[*PARTS, []],
        metavar="PART",
        help=f"{', '.join(PARTS)}; default all but {', '.join(ONLY_IF_NAMED)}",
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="a folder of cases")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks", help="where the tables go")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name contains this")
    parser.add_argument(
        "--count", type=int, default=50, help="poses to try; steps of adapted; scans that segmentation segments"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        help="runs of speed, transport, forward, peers and scaling; 0 shows what is known of the last two and recipes",
    )
    parser.add_argument("--recipe", default="auto", help="recipe of pairs, speed, repeat, cancel and peers")
    parser.add_argument(
        "--model",
        default=Options.model,
        help="model of capture, contrast, gain, forward, described, explained; several of candidates, translation: A,B",
    )
    parser.add_argument(
        "--limit",
        type=float,
        metavar="SECONDS",
        help="longest time of one run; default 300, of peers, recipes and scaling 3600",
    )
    parser.add_argument(
        "--sizes",
        type=numbers,
        default=Options.sizes,
        metavar="N,N",
        help=f"cubes of scaling; default {','.join(map(str, Options.sizes))}",
    )
    parser.add_argument(
        "--spacing",
        type=float,
        default=0.0,
        metavar="MM",
        help="voxels of segmentation, labels, segment-tab and templates",
    )
    names = ",".join(tool.name for tool in PEERS)
    peers_only = parser.add_argument_group("peers", "--store, --threads and --fresh also of recipes and scaling")
    peers_only.add_argument("--tools", default="", metavar="NAMES", help=f"some of deepreg,{names}; default all")
    peers_only.add_argument(
        "--python", action="append", default=[], metavar="TOOL=PATH", help="the interpreter that has a tool"
    )
    peers_only.add_argument("--store", type=Path, metavar="FILE", help="keep results here and write pages beside it")
    peers_only.add_argument("--threads", type=int, default=PeerOptions.threads, help="threads of each tool")
    peers_only.add_argument("--install", action="store_true", help="install the tools that are missing, into .peers/")
    peers_only.add_argument("--fresh", action="store_true", help="measure again what has been measured")
    peers_only.add_argument("--both-ways", action="store_true", help="swapped images, and the fixed onto itself, too")
    return parser


def numbers(text: str) -> tuple[int, ...]:
    """Return whole numbers from a list separated by commas."""
    return tuple(map(int, text.split(",")))


def interpreters(entries: list[str]) -> dict[str, str]:
    """Return interpreters by the names of the tools' scripts, from entries `TOOL=PATH`."""
    families = {tool.family for tool in PEERS}
    found = {}
    for entry in entries:
        tool, _, path = entry.partition("=")
        if tool not in families or not path:
            raise ValueError(f"--python {entry}: give TOOL=PATH, TOOL one of {', '.join(sorted(families))}.")
        # Not resolved: the link in a virtual environment is what makes it one.
        found[tool] = str(Path(path).absolute())
    return found


def write(table: Result, part: str, folder: Path) -> None:
    """Write a table as Markdown and as JSON, with what it was measured on."""
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "versions": versions()}
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.md").write_text(f"{table.markdown()}\n\n{when}, {machine}\n", encoding="utf-8")
    content = {"when": when, "machine": machine, **table.as_dict()}
    (folder / f"{part}.json").write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
