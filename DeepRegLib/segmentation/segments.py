"""The segments of several label maps as one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from DeepRegLib.segments import LONGEST_NAME, Colour, Segment, colour_of, unnamed

__all__ = ["LONGEST_NAME", "Colour", "Segment", "colour_of", "merged", "numbered_by_name", "segments_for", "unnamed"]


def segments_for(labels: Iterable[int], known: Mapping[int, Segment]) -> tuple[Segment, ...]:
    """Return a segment for every label, ascending, from those that are known."""
    return tuple(known.get(label) or unnamed(label) for label in sorted(labels))


def merged(lists: Sequence[Sequence[Segment]]) -> tuple[dict[int, Segment], tuple[str, ...]]:
    """Return the segments of several label maps by label, the first that names one, and warnings where names differ."""
    known: dict[int, Segment] = {}
    warnings = []
    for segment in (each for segments in lists for each in segments):
        first = known.setdefault(segment.label, segment)
        if first.name != segment.name:
            warnings.append(
                f'Label {segment.label} is called "{first.name}" in one atlas and "{segment.name}" in another; '
                f'it is called "{first.name}" here. Check that both mean the same.'
            )
    return known, tuple(dict.fromkeys(warnings))


def numbered_by_name(
    lists: Sequence[Sequence[Segment]], known: Iterable[Segment] = (), *, above: int = 0
) -> list[dict[int, int]]:
    """Return for each of several lists of segments the numbers that they have in common, by their own.

    Segments of one name get one number, case and spaces aside: that which `known` has for it, or the next that is free
    above those and `above`.

    Examples
    --------
    >>> liver, kidney = Segment(1, "Liver", (1.0, 0.0, 0.0)), Segment(2, "kidney", (0.0, 0.0, 1.0))
    >>> numbered_by_name([[kidney, liver], [Segment(1, "KIDNEY ", (0.0, 0.0, 1.0))]], [Segment(7, "liver", (1, 0, 0))])
    [{2: 8, 1: 7}, {1: 8}]
    """
    numbers: dict[str, int] = {}
    for segment in known:
        numbers.setdefault(_key(segment.name), segment.label)
    free = count(max(above, *numbers.values(), 0) + 1)
    tables = []
    for segments in lists:
        for segment in segments:
            if _key(segment.name) not in numbers:
                numbers[_key(segment.name)] = next(free)
        tables.append({segment.label: numbers[_key(segment.name)] for segment in segments})
    return tables


def _key(name: str) -> str:
    return " ".join(name.lower().split())
