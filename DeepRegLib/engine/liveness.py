"""Whether a busy worker lives: a slow one is left alone, a silent one is asked, one that does not answer is dead."""

from __future__ import annotations


class Liveness:
    """What a client knows of a worker's life; without a clock of its own, it is told the seconds.

    Parameters
    ----------
    now
        When the worker was started.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._active = now
        self._asked: float | None = None
        self._unsent = 0

    def heard(self, now: float) -> None:
        """Take note of a sign of life."""
        self._active = now
        self._asked = None

    def waits(self, unsent: int, now: float) -> None:
        """Take note of how many bytes still wait for the worker; fewer than before are a sign of life."""
        # It takes bytes, so it lives. The last ones only show that the pipe had room, for a ping for instance.
        if 0 < unsent < self._unsent:
            self.heard(now)
        self._unsent = unsent

    def asked(self, now: float) -> None:
        """Take note that it is being asked for a sign of life."""
        self._asked = now

    def put(self, unsent: int) -> None:
        """Take note of how many bytes wait for the worker, now that there are more."""
        self._unsent = unsent

    def is_silent(self, now: float, quiet: float) -> bool:
        """Whether nothing was heard for more than `quiet` seconds, and it was not asked yet."""
        return self._asked is None and now - self._active > quiet

    def is_dead(self, now: float, answer: float) -> bool:
        """Whether it was asked and has not answered for more than `answer` seconds."""
        return self._asked is not None and now - self._asked > answer
