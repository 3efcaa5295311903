"""Regions of a slice as polygons and back: pixels whose centre is inside, and borders halfway between centres."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
CROSSING = 0.02  # pixels by which edges must reach past each other to cross, rather than touch
# Of a 2 x 2 cell with corners 1 (top left), 2 (top right), 4 (bottom right), 8 (bottom left): the border's pieces, from
# side to side (0 top, 1 right, 2 bottom, 3 left), the region on one hand. Diagonal pixels are two regions.
_PIECES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 3),),
    2: ((1, 0),),
    3: ((1, 3),),
    4: ((2, 1),),
    5: ((0, 3), (2, 1)),
    6: ((2, 0),),
    7: ((2, 3),),
    8: ((3, 2),),
    9: ((0, 2),),
    10: ((1, 0), (3, 2)),
    11: ((1, 2),),
    12: ((3, 1),),
    13: ((0, 1),),
    14: ((3, 0),),
}
_SIDES = np.array([(1, 0), (2, 1), (1, 2), (0, 1)])  # in half pixels from the cell's top left corner


def filled(polygons: Sequence[Polygon], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre is inside an odd number of polygons: a polygon in another is a hole in it.

    Parameters
    ----------
    polygons
        Corners ``(n, 2)`` as (i, j) indices, closed by the edge from the last to the first.
    shape
        ``(j, i)`` of the slice.
    """
    toggles = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
        # A row belongs to an edge from its lower end up to, but without, its upper end.
        first = np.clip(np.ceil(low), 0, shape[0]).astype(int)
        last = np.clip(np.ceil(high), 0, shape[0]).astype(int)
        for edge in np.flatnonzero(last > first):
            rows = np.arange(first[edge], last[edge])
            (x0, y0), (x1, y1) = start[edge], end[edge]
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(toggles, (rows, np.clip(np.ceil(at), 0, shape[1]).astype(int)), 1)
    return (np.cumsum(toggles, axis=1)[:, :-1] % 2).astype(np.bool_)


def outlines(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return the borders of a region as polygons that fill to the same pixels, each hole joined to what surrounds it.

    A hole is joined by a channel of no width, as PS3.3 C.8.8.6.3 has it, so that every reader sees it.

    Parameters
    ----------
    mask
        ``(j, i)``.

    Returns
    -------
    list
        Corners ``(n, 2)`` as (i, j) indices.
    """
    loops = _loops(mask)
    outer = [loop for loop in loops if _area(loop) > 0]
    holes: dict[int, list[Polygon]] = {}
    for hole in (loop for loop in loops if _area(loop) < 0):
        around = [number for number, loop in enumerate(outer) if _contains(loop, hole[0])]
        holes.setdefault(min(around, key=lambda number: _area(outer[number])), []).append(hole)
    return [_with_holes(loop, holes.get(number, [])) for number, loop in enumerate(outer)]


def crosses(polygons: Sequence[Polygon]) -> bool:
    """Tell whether the edges of polygons in one slice cross each other or themselves; touching is none."""
    edges = [(polygon, np.roll(polygon, -1, axis=0)) for polygon in polygons]
    return any(
        _edges_cross(*edges[one], *edges[other]) for one in range(len(edges)) for other in range(one, len(edges))
    )


def _edges_cross(a: Polygon, b: Polygon, c: Polygon, d: Polygon) -> bool:
    if np.any(a.max(axis=0) < c.min(axis=0)) or np.any(c.max(axis=0) < a.min(axis=0)):
        return False
    return bool(np.any(_on_both_sides(a, b, c, d) & _on_both_sides(c, d, a, b).T))


def _on_both_sides(a: Polygon, b: Polygon, c: Polygon, d: Polygon) -> NDArray[np.bool_]:
    """Tell for each edge ab and each edge cd whether c and d lie on different sides of the line ab."""
    along = b - a
    length = np.maximum(np.linalg.norm(along, axis=1), 1e-12)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]
    base = np.sum(normal * a, axis=1)[:, None]
    one, other = normal @ c.T - base, normal @ d.T - base
    return (np.minimum(one, other) < -CROSSING) & (np.maximum(one, other) > CROSSING)


def _loops(mask: NDArray[np.bool_]) -> list[Polygon]:
    padded = np.pad(mask, 1).astype(np.int8)
    cells = padded[:-1, :-1] + 2 * padded[:-1, 1:] + 4 * padded[1:, 1:] + 8 * padded[1:, :-1]
    following: dict[tuple[int, int], tuple[int, int]] = {}
    for j, i in np.argwhere((cells > 0) & (cells < 15)).tolist():
        for start, end in _PIECES[int(cells[j, i])]:
            (x0, y0), (x1, y1) = _SIDES[start].tolist(), _SIDES[end].tolist()
            following[(2 * i + x0, 2 * j + y0)] = (2 * i + x1, 2 * j + y1)
    loops = []
    while following:
        first, corner = following.popitem()
        loop = [first]
        while corner != first:
            loop.append(corner)
            corner = following.pop(corner)
        loops.append(np.array(loop, dtype=np.float64) / 2 - 1)
    return loops[::-1]


def _area(polygon: Polygon) -> float:
    """Return the area with its sign: positive around a region, negative around a hole."""
    x, y = polygon.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _contains(polygon: Polygon, point: Polygon) -> bool:
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    x, y = float(point[0]) + 0.1, float(point[1]) + 0.05  # off the half pixels that corners lie on
    spans = (y0 <= y) != (y1 <= y)
    at = x0[spans] + (y - y0[spans]) * (x1[spans] - x0[spans]) / (y1[spans] - y0[spans])
    return bool(np.count_nonzero(at > x) % 2)


def _with_holes(polygon: Polygon, holes: list[Polygon]) -> Polygon:
    left = list(holes)
    while left:
        # The nearest first: a channel to it meets no other.
        reaches = [_nearest(polygon, hole) for hole in left]
        number = min(range(len(left)), key=lambda n: reaches[n][0])
        _, at, into = reaches[number]
        hole = left.pop(number)
        around = np.roll(hole, -into, axis=0)
        polygon = np.concatenate([polygon[: at + 1], around, around[:1], polygon[at:]])
    return polygon


def _nearest(polygon: Polygon, hole: Polygon) -> tuple[float, int, int]:
    distances = np.sum((polygon[:, None] - hole[None]) ** 2, axis=-1)
    at, into = np.unravel_index(int(np.argmin(distances)), distances.shape)
    return float(distances[at, into]), int(at), int(into)
