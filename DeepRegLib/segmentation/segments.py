"""The segments of several label maps as one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from DeepRegLib.segments import LONGEST_NAME, Colour, Segment, colour_of, unnamed

__all__ = ["LONGEST_NAME", "Colour", "Segment", "colour_of", "merged", "segments_for", "unnamed"]


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
