"""What other tools make of a series, or of a group, in environments of their own: elastix groupwise and ANTs."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.transforms import LinearTransform, Transform, compose, read_transform
from Testing.benchmarks.child import run_fresh
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers.machine import THREAD_VARIABLES
from Testing.benchmarks.peers.tools import PEERS, interpreter, version_of

ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Answer:
    """What a tool has found.

    Parameters
    ----------
    transforms
        One a frame or member: points of the common space to its points, LPS mm.
    seconds
        Of the processor, without imports.
    version
        Of the tool.
    template
        That it has made, or None.
    """

    transforms: tuple[Transform, ...]
    seconds: float
    version: str
    template: Image | None = None


def asked(name: str, what: str, images: Sequence[Image], options: Options) -> Answer | str:
    """Let a tool (``"elastix"`` or ``"ants"``) do something with images; return a sentence where it cannot."""
    tool = next(each for each in PEERS if each.family == name)
    python = interpreter(tool, options.peers.pythons)
    version = version_of(tool, python)
    if version is None:
        return "not installed"
    module = f"{__package__}.peers.series_{name}"
    with tempfile.TemporaryDirectory() as place:
        for number, image in enumerate(images):
            floats = image.with_array(image.array.astype(np.float32))
            write_image(floats, Path(place) / f"frame_{number:04d}.nii.gz")
        threads = dict.fromkeys(THREAD_VARIABLES, "1")
        told = run_fresh(module, place, what, limit=options.peers.limit, python=python, environment=threads)
        if "error" in told:
            return str(told["error"])
        found = tuple(_read(paths) for paths in told["transforms"])
        template = read_image(told["template"]) if "template" in told else None
    return Answer(found, float(told["seconds"]), version, template)


def paths_from_first(transforms: Sequence[Transform], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where points of the first frame lie at each, ``(frames, n, 3)``, by transforms of a common space."""
    common = points.copy()
    for _ in range(ROUNDS):
        common = common - (transforms[0].apply_to_points(common) - points)
    return np.stack([each.apply_to_points(common) for each in transforms])


def _read(paths: Sequence[str]) -> Transform:
    parts = [read_transform(path) for path in paths]
    return functools.reduce(compose, parts) if parts else LinearTransform.identity()
