"""What is asked of the registration of a series as one piece of work, and what comes back: plain data that travels."""

from __future__ import annotations

from dataclasses import dataclass, field

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.result import Verdict
from DeepRegLib.series.frames import FRAMES, PERCENT, SECONDS
from DeepRegLib.series.result import FrameRow
from DeepRegLib.transforms import Transform

UNITS = (FRAMES, SECONDS, PERCENT)


@dataclass(frozen=True, eq=False)
class SeriesRequest:
    """A series to register.

    Parameters
    ----------
    frames
        In the order of time, each on a grid of its own.
    times
        When each was taken, ascending.
    unit
        Of the times: ``"s"``, ``"%"`` of a cycle or ``"frame"``.
    recipe
        How frames are registered.
    reference
        ``"auto"``, ``"mean"``, or the number of a frame.
    layers
        Label maps that are carried onto every frame.
    drawn_on
        The number of the frame they were drawn on.
    device, seed
        As of a registration's `Request`.
    """

    frames: tuple[Image, ...]
    times: tuple[float, ...]
    unit: str = FRAMES
    recipe: Recipe = field(default_factory=lambda: load_recipe(AUTO))
    reference: str = AUTO
    layers: tuple[Image, ...] = ()
    drawn_on: int = 0
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.times):
            raise InputError(f"There are {len(self.frames)} frames and {len(self.times)} times.", "Give one a frame.")
        if self.unit not in UNITS:
            raise InputError(f"The unit of time is {self.unit[:20]!r}.", f"Give one of {', '.join(UNITS)}.")
        if self.layers and not 0 <= self.drawn_on < len(self.frames):
            raise InputError(f"There is no frame {self.drawn_on} the labels could be drawn on.", "Give another frame.")


@dataclass(frozen=True, eq=False)
class SeriesResult:
    """A registered series without its frames, which whoever asked has.

    Parameters
    ----------
    reference_index
        The number of the reference frame; None where the mean of all frames is the reference.
    transforms
        One a frame: points of the reference to points of the frame (LPS, mm).
    stabilised
        The frames on the reference's grid, in their own intensities.
    carried
        For each frame its label maps, one a layer, on the frame's grid; empty without layers.
    volume_change, peak_strain, motion
        As `DeepRegLib.series.products.MotionMaps` has them.
    rows
        What was found of each frame.
    cyclic, smoothing, roughness_before, roughness_after
        As `SeriesRegistration` has them.
    verdict, warnings, decisions
        How far to trust it, what to know, what was chosen.
    """

    reference_index: int | None
    transforms: tuple[Transform, ...]
    stabilised: tuple[Image, ...]
    carried: tuple[tuple[Image, ...], ...]
    volume_change: Image
    peak_strain: Image
    motion: Image
    rows: tuple[FrameRow, ...]
    cyclic: bool
    smoothing: float
    roughness_before: float
    roughness_after: float
    verdict: Verdict
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
