"""The log of a run: JSON lines always, TensorBoard where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DeepRegLib.files import write_text

LOG, BOARD = "log.jsonl", "tensorboard"


class Journal:
    """Writes what is measured while training.

    Parameters
    ----------
    run
        Folder of the run.
    iteration
        Where the run goes on; what an earlier process has logged past that is dropped.
    """

    def __init__(self, run: Path, iteration: int) -> None:
        self._path = run / LOG
        write_text(self._path, "".join(f"{line}\n" for line in _lines(self._path) if _is_until(line, iteration)))
        self._board = _tensorboard(run / BOARD, iteration)

    def write(self, iteration: int, group: str, values: Mapping[str, float]) -> dict[str, Any]:
        """Add a line and return it; `group` is ``"train"`` or ``"validation"``."""
        entry = {"iteration": iteration, "group": group, **{name: round(value, 6) for name, value in values.items()}}
        with self._path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(entry) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{group}/{name}", value, iteration)
        return entry

    def close(self) -> None:
        """Write what is still in memory."""
        if self._board is not None:
            self._board.close()


def read_log(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log."""
    return [entry for entry in map(_entry, _lines(run / LOG)) if entry is not None]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    # A process that was killed may have left half a line.
    return [line for line in text.split("\n")[:-1] if line.startswith("{") and line.endswith("}")]


def _is_until(line: str, iteration: int) -> bool:
    """Tell whether a line is of an iteration or an earlier one; a damaged line is of none."""
    found = (_entry(line) or {}).get("iteration")
    return isinstance(found, int) and found <= iteration


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _tensorboard(folder: Path, iteration: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=iteration + 1)
