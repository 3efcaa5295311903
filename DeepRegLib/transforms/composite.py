"""Transforms applied one after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform

Part = LinearTransform | DisplacementField


@dataclass(frozen=True, eq=False)
class CompositeTransform:
    """Linear transforms and displacement fields in the order they are applied to a fixed point.

    Parameters
    ----------
    parts
        The first is applied first. (ITK files list them the other way round.)

    Raises
    ------
    InputError
        If there is no part.

    Examples
    --------
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> from DeepRegLib.geometry import Geometry
    >>> grid = Geometry((2, 2, 2), spacing=(9.0, 9.0, 9.0))
    >>> field = DisplacementField(np.ones((2, 2, 2, 3)), grid)
    >>> CompositeTransform((wider, field)).apply_to_points([2.0, 3.0, 4.0]).tolist()  # widened, then displaced
    [5.0, 4.0, 5.0]
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("A composite transform without parts maps nothing.", "Give at least one transform.")

    def apply_to_points(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape ``(..., 3)``, LPS mm.

        Examples
        --------
        >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
        >>> CompositeTransform((wider, wider)).apply_to_points([1.0, 1.0, 1.0]).tolist()
        [4.0, 1.0, 1.0]
        """
        moved = np.asarray(points, dtype=np.float64)
        for part in self.parts:
            moved = part.apply_to_points(moved)
        return moved


Transform = LinearTransform | DisplacementField | CompositeTransform


def parts_of(transform: Transform) -> tuple[Part, ...]:
    """Return the transform as parts in the order they are applied.

    Examples
    --------
    >>> len(parts_of(LinearTransform.identity()))
    1
    """
    return transform.parts if isinstance(transform, CompositeTransform) else (transform,)


def has_field(transform: Transform) -> bool:
    """Tell whether a transform is more than linear.

    Examples
    --------
    >>> has_field(LinearTransform.identity())
    False
    """
    return any(isinstance(part, DisplacementField) for part in parts_of(transform))


def compose(first: Transform, *others: Transform) -> Transform:
    """Return the transform that applies `first`, then each of the others in turn.

    Neighbouring linear transforms become one; identities beside other parts are dropped.

    Examples
    --------
    >>> wider, longer = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0])), LinearTransform(np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> both = compose(wider, longer)
    >>> both.apply_to_points([1.0, 1.0, 1.0]).tolist()
    [2.0, 1.0, 3.0]
    >>> type(both).__name__  # two linear transforms are one
    'LinearTransform'
    """
    merged: list[Part] = []
    for transform in (first, *others):
        for part in parts_of(transform):
            previous = merged[-1] if merged else None
            if isinstance(part, LinearTransform) and isinstance(previous, LinearTransform):
                merged[-1] = part.after(previous)
            else:
                merged.append(part)
    kept = [part for part in merged if not _is_identity(part)] or [LinearTransform.identity()]
    return kept[0] if len(kept) == 1 else CompositeTransform(tuple(kept))


def linear_part(transform: Transform) -> LinearTransform:
    """Return the product of the transform's linear parts.

    Examples
    --------
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> linear_part(CompositeTransform((wider, wider))).matrix[0, 0].item()
    4.0
    """
    result = LinearTransform.identity()
    for part in parts_of(transform):
        if isinstance(part, LinearTransform):
            result = part.after(result)
    return result


def _is_identity(part: Part) -> bool:
    return isinstance(part, LinearTransform) and bool(np.array_equal(part.matrix, np.eye(4)))
