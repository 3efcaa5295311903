"""A worker's report of how far it is, every value checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from DeepRegLib.engine.protocol import ProtocolError

LONGEST_STAGE = 100


def progress_of(content: Mapping[str, Any]) -> tuple[str, float, float | None, float | None]:
    """Return stage, fraction (0 to 1), similarity or None, and seconds left or None of a progress message.

    Raises
    ------
    ProtocolError
        If one of them is of the wrong type, or the fraction is no finite number.
    """
    stage, fraction = content.get("stage", ""), content.get("fraction", 0.0)
    similarity, left = content.get("similarity"), content.get("seconds_left")
    if not isinstance(stage, str) or len(stage) > LONGEST_STAGE:
        raise ProtocolError("A progress message names no stage.")
    for value in (fraction, similarity, left):
        if value is not None and not _is_number(value):
            raise ProtocolError(f"A progress message has {str(value)[:40]!r} for a number.")
    if fraction is None or not math.isfinite(fraction):
        raise ProtocolError(f"A progress message has the fraction {fraction}.")
    return stage, min(max(float(fraction), 0.0), 1.0), _finite(similarity), _finite(left)


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number that a float can hold."""
    if isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
