"""Following a patient: one scan after another registered to a fixed one, each from the last result."""

from __future__ import annotations

from DeepRegLib.tracking.request import Following, Last

__all__ = ["Following", "Last"]
