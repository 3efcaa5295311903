"""Arrays by name in one file, for what passes from one process to another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def store_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, whole or not at all."""
    hidden = Path(f"{path}.{os.getpid()}")
    with hidden.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # none is called allow_pickle
    hidden.replace(path)


def stored_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read what `store_arrays` has written."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
