"""Following a patient: one scan after another registered to a fixed one, each from the last result."""

from __future__ import annotations

from DeepRegLib.tracking.request import SCORES, Following, Last, Motion

__all__ = ["SCORES", "Following", "Last", "Motion"]
