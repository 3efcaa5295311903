"""What has been measured so far, in a file: an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from DeepRegLib.files import make_folder, write_text

Row = dict[str, Any]
IDENTITY = ("case", "tool", "version", "options")


def identity(row: Row) -> str:
    """Return what a measurement belongs to: the same case, tool, version and options give the same row."""
    return json.dumps([row[name] for name in IDENTITY], sort_keys=True)


class Store:
    """The rows of a file by identity; every change is written at once.

    Parameters
    ----------
    path
        The file; one that is missing or damaged counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = {identity(row): row for row in _read(path)}

    def rows(self) -> list[Row]:
        """Return all rows, those of other versions and options too."""
        return list(self._rows.values())

    def get(self, key: Row) -> Row | None:
        """Return the row with the identity of another."""
        return self._rows.get(identity(key))

    def latest(self, case: str, tool: str) -> Row | None:
        """Return what was measured last of a tool on a case, whatever its version and options were."""
        found = [row for row in self._rows.values() if (row["case"], row["tool"]) == (case, tool)]
        return found[-1] if found else None

    def has(self, tool: str) -> bool:
        """Tell whether a tool was run on any case."""
        return any(row["tool"] == tool for row in self._rows.values())

    def put(self, row: Row) -> None:
        """Keep a row in place of the one with its identity."""
        self._rows[identity(row)] = row
        self._write()

    def forget(self, keys: Iterable[Row]) -> None:
        """Drop the rows with these identities."""
        for key in keys:
            self._rows.pop(identity(key), None)
        self._write()

    def _write(self) -> None:
        make_folder(self.path.parent)
        write_text(self.path, json.dumps({"rows": self.rows()}, indent=1))


def _read(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [row for row in rows if all(name in row for name in IDENTITY)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
