"""What a segmentation by atlases is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.labels import check_label_grid
from DeepRegLib.recipes import Recipe
from DeepRegLib.segmentation.segments import Segment

MAJORITY, LOCAL, JOINT, STAPLE = "majority", "local", "joint", "staple"
FUSIONS = (MAJORITY, LOCAL, JOINT, STAPLE)
DEFAULT_FUSION = JOINT  # measured: docs/segmentation.md
DEFAULT_RECIPE = "fast"


@dataclass(frozen=True, eq=False)
class Atlas:
    """A scan with a label map.

    Parameters
    ----------
    name
        What it is called.
    image
        The scan.
    labels
        Its label map, on its grid.
    segments
        What the labels are, as far as it is known.

    Raises
    ------
    InputError
        If the label map lies on another grid.
    """

    name: str
    image: Image
    labels: Image
    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        check_label_grid(self.labels, self.image)


@dataclass(frozen=True, eq=False)
class SegmentRequest:
    """A scan, and the atlases that segment it.

    Parameters
    ----------
    scan
        The scan to segment; it stays where it is.
    atlases
        Registered to it one after another.
    recipe
        How to register.
    fusion
        How their labels become one: ``"majority"``, ``"local"`` (weighted by how alike scan and atlas are around each
        voxel), ``"joint"`` (joint label fusion) or ``"staple"``.
    device, seed
        As of a registration's `Request`.

    Raises
    ------
    InputError
        If there is no atlas, two have one name, or there is no such fusion.
    """

    scan: Image
    atlases: tuple[Atlas, ...]
    recipe: Recipe
    fusion: str = DEFAULT_FUSION
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.atlases:
            raise InputError("There is no atlas.", "Give at least one scan with a label map.")
        names = [atlas.name for atlas in self.atlases]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"Two atlases are called {twice}.", "Give each a name of its own.")
        if self.fusion not in FUSIONS:
            raise InputError(f"There is no fusion {self.fusion[:40]!r}.", f"Take one of {', '.join(FUSIONS)}.")
