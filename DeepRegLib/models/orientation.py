"""Networks that know anatomy one way up only: their images' axes, and the way back for their fields."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from DeepRegLib.geometry import Geometry
from DeepRegLib.orientation import nearest_axes

# Where in LPS each letter points to.
TOWARDS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


@dataclass(frozen=True)
class Turn:
    """How the axes of a grid become those that a network knows.

    Parameters
    ----------
    axes
        For each of the network's axes i, j, k the axis of the grid that is nearest to it.
    mirrored
        Whether that runs the other way.
    """

    axes: tuple[int, int, int]
    mirrored: tuple[bool, bool, bool]

    @property
    def order(self) -> list[int]:
        """For each of the grid's axes the network's that is nearest to it."""
        return [self.axes.index(axis) for axis in range(3)]

    def size_on_grid(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return a network's size i, j, k along the grid's axes."""
        i, j, k = (size[axis] for axis in self.order)
        return i, j, k

    def to_network(self, image: Tensor) -> Tensor:
        """Turn an image ``(B, 1, ...)`` on the grid to the network's axes."""
        dims = [4 - axis for axis in reversed(self.axes)]  # from memory's k, j, i
        return image.permute(0, 1, *dims).flip([4 - axis for axis in range(3) if self.mirrored[axis]])

    def to_grid(self, field: Tensor) -> Tensor:
        """Turn a network's field ``(B, 3, ...)`` to the grid's axes, components and all."""
        unmirrored = field.flip([4 - axis for axis in range(3) if self.mirrored[axis]])
        turned = unmirrored.permute(0, 1, *(4 - axis for axis in reversed(self.order)))
        signs = field.new_tensor([-1 if self.mirrored[axis] else 1 for axis in self.order])
        return turned[:, self.order] * signs[:, None, None, None]


class Turned(nn.Module):
    """A network whose images and field are turned on their way.

    Parameters
    ----------
    network
        Takes fixed and moving images ``(B, 1, D, H, W)`` and gives a field ``(B, 3, d, h, w)``.
    turn
        From the grid that its callers work on.
    """

    def __init__(self, network: nn.Module, turn: Turn) -> None:
        super().__init__()
        self.network = network
        self.turn = turn

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Return the field on the callers' grid."""
        field: Tensor = self.network(*(self.turn.to_network(image).contiguous() for image in (fixed, moving)))
        return self.turn.to_grid(field)


def turn_to(orientation: str, geometry: Geometry) -> Turn:
    """Find how the axes of a grid become those of an orientation, as near as its axes come.

    Parameters
    ----------
    orientation
        Three letters, one of L and R, of P and A, of S and I: where a network's axes i, j, k point to.
    geometry
        The grid.
    """
    found = nearest_axes(geometry, [TOWARDS[letter] for letter in orientation])
    return Turn(found.axes, found.mirrored)
