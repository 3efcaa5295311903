"""Long work in short steps, so that a window stays alive in between.

A function that works in steps is a generator: it yields after each step, and returns its result at the end. What must
be known at once, such as where a node lies, it looks up before it yields for the first time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

Result = TypeVar("Result")
Steps = Generator[None, None, Result]

# Voxels that are handled in one step: about a hundredth of a second.
STEP_VOXELS = 1 << 20


def run_through(steps: Steps[Result]) -> Result:
    """Take all steps at once and return the result."""
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield parts of the first axis of an array, each small enough for a step."""
    plane = 1
    for count in shape[1:]:
        plane *= count
    thickness = max(1, STEP_VOXELS // max(plane, 1))
    for start in range(0, shape[0], thickness):
        yield slice(start, min(start + thickness, shape[0]))
