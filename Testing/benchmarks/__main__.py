"""Run the benchmarks: python -m Testing.benchmarks [poses] [speed] [pairs] [repeat] [wrong] [cancel] [transport]."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

# As in Testing/conftest.py: on a shared machine spinning threads would be what is measured.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from DeepRegLib.provenance import versions
from Testing.benchmarks import cancel, pairs, poses, repeat, speed, transport, wrong
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table

ROOT = Path(__file__).resolve().parents[2]
PARTS: dict[str, Callable[[Options], Table]] = {
    "poses": poses.measure,
    "speed": speed.measure,
    "pairs": pairs.measure,
    "repeat": repeat.measure,
    "wrong": wrong.measure,
    "cancel": cancel.measure,
    "transport": transport.measure,
}


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
    return 0 if all(table.passed is not False for table in tables.values()) else 1


def parsed(arguments: list[str] | None) -> tuple[Options, list[str]]:
    """Return the options and the parts to run."""
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"{', '.join(PARTS)}; default all"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="a folder of cases")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks", help="where the tables go")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name contains this")
    parser.add_argument("--count", type=int, default=50, help="poses to try")
    parser.add_argument("--repeats", type=int, default=3, help="runs of speed and transport")
    parser.add_argument("--recipe", default="auto", help="recipe of pairs, speed, repeat and cancel")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="longest time of one run")
    chosen = parser.parse_args(arguments)
    options = Options(
        data=chosen.data,
        output=chosen.output,
        only=chosen.only,
        count=chosen.count,
        repeats=chosen.repeats,
        recipe=chosen.recipe,
        limit=chosen.limit,
    )
    return options, chosen.parts or list(PARTS)


def write(table: Table, part: str, folder: Path) -> None:
    """Write a table as Markdown and as JSON, with what it was measured on."""
    machine = {"platform": platform.platform(), "cores": os.cpu_count(), "versions": versions()}
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.md").write_text(f"{table.markdown()}\n\n{when}, {machine}\n", encoding="utf-8")
    content = {"when": when, "machine": machine, **table.as_dict()}
    (folder / f"{part}.json").write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
