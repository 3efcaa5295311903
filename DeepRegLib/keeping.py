"""What has been made of one scan, kept for the next one that it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")
MOST = 24  # things: those of one run and a few of its rerun


class Keeping:
    """Keeps what is made of an image as long as the image is held; nobody changes what is kept.

    Examples
    --------
    >>> keeping, image = Keeping(), object()
    >>> first = keeping.made("levels", (image,), lambda: [1, 2])
    >>> keeping.made("levels", (image,), lambda: [1, 2]) is first
    True
    >>> keeping.made("levels", (object(),), lambda: [1, 2]) is first  # made of another image
    False
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[tuple[object, ...], Any]] = {}

    def made(self, what: Hashable, sources: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """Return what was made of the very same sources, or make it.

        Parameters
        ----------
        what
            Names it, with all numbers that it depends on.
        sources
            The objects that it is made of, compared by identity.
        make
            Makes it.
        """
        known = self._made.get(what)
        if known is not None and all(one is other for one, other in zip(known[0], sources, strict=True)):
            found: Made = known[1]
            return found
        made = make()
        self._made.pop(what, None)
        self._made[what] = (sources, made)
        while len(self._made) > MOST:
            del self._made[next(iter(self._made))]
        return made


def made_once(keeping: Keeping | None, what: Hashable, sources: tuple[object, ...], make: Callable[[], Made]) -> Made:
    """Return what `Keeping.made` returns, or make it where nothing is kept.

    Examples
    --------
    >>> made_once(None, "levels", (), lambda: [1, 2])
    [1, 2]
    """
    return make() if keeping is None else keeping.made(what, sources, make)
