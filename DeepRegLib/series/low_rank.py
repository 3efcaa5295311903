"""Frames of changing contrast, each registered to what the whole series says it looks like: a low-rank reference.

Contrast that comes and goes is the same few curves everywhere, motion is not. So of the stabilised frames the first
principal components over time are kept, and each frame is registered anew to its own reconstruction, which has its
contrast and the reference's shape; again and again (Melbourne et al., Phys Med Biol 52, 2007; Hamy et al., Med Image
Anal 18, 2014). The measure of a pair stays what the recipe says, and the engine what it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll
from DeepRegLib.motion.fields import common_grid
from DeepRegLib.result import FAILED
from DeepRegLib.series.chain import frame_folder
from DeepRegLib.series.fields import without_mean
from DeepRegLib.series.frames import Frames
from DeepRegLib.series.members import Reference, Running, prepared_reference, register_member
from DeepRegLib.series.stores import Found
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_image, field_of_view, has_field, invert

PASSES = 2


def refined_by_rank(
    running: Running,
    frames: Frames,
    anchor: Reference,
    found: Sequence[Found],
    index: int | None,
    span: tuple[float, float],
) -> list[Found]:
    """Register every frame to its low-rank reconstruction, from what was found of it.

    Parameters
    ----------
    running, frames, anchor
        What all share; `running.recipe.series.low_rank` components are kept.
    found
        What was found of each frame with the reference itself.
    index
        The number of the reference frame, which stays where it is; None where the mean is the reference.
    span
        From where to where the progress of the run goes meanwhile.
    """
    first = next((each for each in found if each.start is not None and each.verdict.level != FAILED), None)
    edges = np.linspace(*span, PASSES + 1)
    current = list(found)
    for number in range(PASSES):
        known = [n for n, each in enumerate(current) if each.registered]
        again = list(current)
        share = (edges[number + 1] - edges[number]) / len(known)
        with tempfile.TemporaryDirectory(prefix="deepreg-") as folder:
            stable = _stabilised(running, frames, anchor, [current[n].transform for n in known], known, Path(folder))
            weights = projector(stable, anchor.foreground, running.recipe.series.low_rank, running.poll)
            for place, n in enumerate(known):
                stage, begin = f"frame {n + 1} of {len(frames)}", edges[number] + place * share
                running.tell(stage, begin)
                image = _reconstructed(stable, weights[place], anchor.image, frames[n].name)
                again[n] = register_member(
                    running,
                    prepared_reference(image, running),
                    frames[n].read(),
                    f"{frame_folder(n)}/rank_{number + 1}",
                    [current[n].transform],
                    near=True,
                    known=first,
                    progress=running.part(stage, begin, share),
                )
            del stable
        current = again if index is None else _anchored(running, again, anchor, index)
    return current


def projector(stable: NDArray[np.float32], foreground: Image, components: int, poll: Poll) -> NDArray[np.float64]:
    """Return with which weights frames make up the low-rank reconstruction of each, ``(n, n)``; each row sums to 1.

    Parameters
    ----------
    stable
        Frames on one grid, ``(n, k, j, i)``.
    foreground
        Where they count.
    components
        How many principal components over time are kept, besides the mean.
    poll
        May raise to stop.
    """
    inside, count = foreground.array.astype(bool), len(stable)
    covariance = np.zeros((count, count))
    for plane in range(stable.shape[1]):
        poll()
        values = stable[:, plane][:, inside[plane]].astype(np.float64)
        values -= values.mean(axis=0)
        covariance += values @ values.T
    _, vectors = np.linalg.eigh(covariance)
    kept = vectors[:, max(count - components, 0) :]
    return np.asarray(np.full((count, count), 1 / count) + kept @ kept.T)


def _stabilised(
    running: Running,
    frames: Frames,
    anchor: Reference,
    transforms: Sequence[Transform],
    numbers: Sequence[int],
    folder: Path,
) -> NDArray[np.float32]:
    """Write frames on the reference's grid into a file; what was not scanned there has the mean of the others."""
    grid = anchor.image.geometry
    stable: NDArray[np.float32] = np.memmap(folder / "frames", np.float32, "w+", shape=(len(numbers), *grid.shape))
    total, count = np.zeros(grid.shape), np.zeros(grid.shape)
    unseen = []
    for place, (n, transform) in enumerate(zip(numbers, transforms, strict=True)):
        image = frames[n].read()
        seen = field_of_view(transform, image.geometry, grid, poll=running.poll).array.astype(bool)
        moved = apply_to_image(transform, image.with_array(image.array.astype(np.float32)), grid, poll=running.poll)
        stable[place] = moved.array
        total += np.where(seen, moved.array, 0)
        count += seen
        unseen.append(np.packbits(~seen))
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    for place, packed in enumerate(unseen):
        outside = np.unpackbits(packed, count=mean.size).reshape(grid.shape).astype(bool)
        stable[place][outside] = mean[outside]
    return stable


def _reconstructed(stable: NDArray[np.float32], weights: NDArray[np.float64], like: Image, name: str) -> Image:
    values = np.zeros(like.geometry.shape)
    for weight, frame in zip(weights, stable, strict=True):
        values += weight * frame
    return Image(values.astype(np.float32), like.geometry, name)


def _anchored(running: Running, found: Sequence[Found], anchor: Reference, index: int) -> list[Found]:
    """Return all transforms behind the one that takes the reference frame's own back to it."""
    own = found[index].transform
    there = {n: each.transform for n, each in enumerate(found) if each.registered}
    if isinstance(own, LinearTransform) and not any(has_field(each) for each in there.values()):
        linear = {n: each for n, each in there.items() if isinstance(each, LinearTransform)}
        moved: dict[int, Transform] = {n: each.after(own.inverse()) for n, each in linear.items()}
    else:
        grid = common_grid(there.values(), anchor.image.geometry)
        back = invert(own, device=str(choose_device(running.device)), poll=running.poll)
        moved = {n: without_mean(back, each, grid, running.poll) for n, each in there.items()}
    moved[index] = LinearTransform.identity()
    return [replace(each, kept=moved.get(n)) for n, each in enumerate(found)]
