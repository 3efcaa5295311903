"""Atlases whose segments are known by name alone, given numbers that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from DeepRegLib.segmentation.request import Atlas
from DeepRegLib.segmentation.segments import numbered_by_name


def numbered_alike(atlases: Sequence[Atlas], known: Sequence[Atlas] = ()) -> list[Atlas]:
    """Return atlases in which segments of one name have one number.

    Parameters
    ----------
    atlases
        Each with a segment for every label.
    known
        Atlases whose numbers stay, and hold for segments of the same name.
    """
    told = [segment for atlas in known for segment in atlas.segments]
    # Labels that nobody named keep their numbers for themselves.
    highest = max((int(atlas.labels.array.max(initial=0)) for atlas in known), default=0)
    tables = numbered_by_name([atlas.segments for atlas in atlases], told, above=highest)
    return [_renumbered(atlas, table) for atlas, table in zip(atlases, tables, strict=True)]


def _renumbered(atlas: Atlas, table: dict[int, int]) -> Atlas:
    lookup = np.zeros(max(table, default=0) + 1, dtype=np.int32)
    for own, shared in table.items():
        lookup[own] = shared
    labels = atlas.labels.with_array(lookup[atlas.labels.array])
    segments = {table[each.label]: replace(each, label=table[each.label]) for each in reversed(atlas.segments)}
    return replace(atlas, labels=labels, segments=tuple(segments[label] for label in sorted(segments)))
