"""As many warm processes as cases run at a time in one place: a worker of a cluster, or this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence

from DeepRegLib.cohort.child import Child, ChildError
from DeepRegLib.cohort.work import DIED, STOPPED, Outcome, Work


class Children:
    """Gives each case a process that is free, or a new one.

    Parameters
    ----------
    environment
        Variables besides those of this process: how many threads each may use.
    cards
        Numbers of the graphics cards; each process gets one of its own as long as there are. () leaves them all to all.
    """

    def __init__(self, environment: Mapping[str, str], cards: Sequence[str] = ()) -> None:
        self._environment = environment
        self._cards = list(cards)
        self._free: list[Child] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def run(self, work: Work) -> Outcome:
        """Run a case in a process of its own and wait for it; from any thread."""
        with self._lock:
            if self._closed.is_set():
                return Outcome(STOPPED, "The run was stopped.")
            child = self._free.pop() if self._free else self._new()
        try:
            return child.run(work, self._closed.is_set)
        except ChildError as error:
            return Outcome(DIED, str(error), host=socket.gethostname())
        finally:
            self._give_back(child)

    def close(self) -> None:
        """End the processes; cases that run come back as stopped."""
        self._closed.set()
        with self._lock:
            free, self._free = self._free, []
        for child in free:
            child.close()

    def _new(self) -> Child:
        own = {"CUDA_VISIBLE_DEVICES": self._cards.pop(0)} if self._cards else {}
        return Child({**self._environment, **own})

    def _give_back(self, child: Child) -> None:
        with self._lock:
            if not self._closed.is_set():
                self._free.append(child)
                return
        child.close()
