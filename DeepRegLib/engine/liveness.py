"""How patient a client is, and whether a busy worker lives.

A slow one is left alone, a silent one is asked, one that does not answer is dead.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How patient the client is, in seconds.

    Parameters
    ----------
    start
        From starting the worker to its hello; loading torch from a cold disk takes a while.
    cancel
        From asking a run to stop to killing the worker.
    silence
        Without a word from a busy worker before it is asked whether it lives; None never asks.
    answer
        For the answer to that; then the worker is killed.
    close
        For an idle worker to leave.
    """

    start: float = 120.0
    cancel: float = 3.0
    silence: float | None = 5.0
    answer: float = 30.0
    close: float = 2.0


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

    def is_silent(self, now: float, silence: float) -> bool:
        """Whether nothing was heard for more than `silence` seconds, and it was not asked yet."""
        return self._asked is None and now - self._active > silence

    def is_dead(self, now: float, answer: float) -> bool:
        """Whether it was asked and has not answered for more than `answer` seconds."""
        return self._asked is not None and now - self._asked > answer
