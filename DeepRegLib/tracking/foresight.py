"""Where the anatomy will be when the next scan comes: from where it was at the scans before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.motion.components import MotionModel
from DeepRegLib.motion.prediction import Predictor
from DeepRegLib.transforms import Transform

KEPT = 500  # scores
FORESEEN = "Started from where the motion model expected the anatomy."


@dataclass(eq=False)
class Foresight:
    """The motion seen so far, and what is made of it.

    Parameters
    ----------
    model
        Principal components of the motion of the anatomy in the fixed scan.
    predict
        From `DeepRegLib.motion.prediction`.
    """

    model: MotionModel
    predict: Predictor
    _times: list[float] = field(default_factory=list)
    _scores: list[NDArray[np.float64]] = field(default_factory=list)

    def check(self, time: float) -> None:
        """Make sure that a scan is later than those before.

        Raises
        ------
        InputError
            If not.
        """
        if not np.isfinite(time) or (self._times and time <= self._times[-1]):
            since = f", the one before at {self._times[-1]:g} s" if self._times else ""
            raise InputError(f"The scan was taken at {time:g} s{since}.", "Give scans in the order of time.")

    def see(self, time: float, transform: Transform) -> None:
        """Remember where the anatomy was at a time in s; only the latest are kept."""
        self.remember(time, self.model.principal.scores_of(transform))

    def remember(self, time: float, scores: NDArray[np.float64]) -> None:
        """Remember the scores of a scan at a time in s; only the latest are kept."""
        self._times.append(time)
        self._scores.append(scores)
        del self._times[:-KEPT], self._scores[:-KEPT]

    def expected(self, time: float, last: Transform, *, poll: Poll = never_cancel) -> Transform:
        """Return where the anatomy will be at a time in s, moved on from where it was seen last."""
        if not self._times:
            return last
        scores = self.predict(np.array(self._times), np.stack(self._scores), time)
        return self.model.moved_on(last, scores, poll=poll)
