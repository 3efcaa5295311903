"""Tables that a program of ours has written as JSON, and that may be missing, cut off, or another's by now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def json_table(path: Path, largest: int) -> dict[str, Any] | None:
    """Return the table in a JSON file; None if there is none that can be read, or it is larger than so many bytes."""
    try:
        with path.open("rb") as stream:
            content = stream.read(largest + 1)
        table = json.loads(content) if len(content) <= largest else None
    except (OSError, ValueError, RecursionError):
        return None
    return table if isinstance(table, dict) else None
