"""All frames registered to one of them, outward from it, or to the mean of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DeepRegLib.errors import RegistrationError
from DeepRegLib.result import FAILED, OK, Verdict
from DeepRegLib.series.fields import mean_image
from DeepRegLib.series.frames import Frames
from DeepRegLib.series.members import Reference, Running, prepared_reference, register_member, without_their_mean
from DeepRegLib.series.stores import Found
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, compose, has_field

MEAN_PASSES = 2
STILL_SPACING = 4.0  # voxels


def frame_folder(index: int) -> str:
    """Return under which name what belongs to a frame is kept."""
    return f"frame_{index:04d}"


def order_of(count: int, index: int, cyclic: bool) -> list[tuple[int, list[int]]]:
    """Return in which order frames are registered, and the neighbours that each may start from."""
    apart = [min(abs(n - index), count - abs(n - index)) if cyclic else abs(n - index) for n in range(count)]
    order = sorted((n for n in range(count) if n != index), key=lambda n: (apart[n], n))
    done = {index}
    result = []
    for n in order:
        beside = [(n - 1) % count, (n + 1) % count] if cyclic else [n - 1, n + 1]
        result.append((n, [other for other in dict.fromkeys(beside) if other in done]))
        done.add(n)
    return result


def registered_outward(
    running: Running,
    frames: Frames,
    anchor: Reference,
    index: int,
    cyclic: bool,
    span: tuple[float, float],
) -> list[Found]:
    """Register every frame but the reference, outward from it."""
    found: dict[int, Found] = {index: Found(LinearTransform.identity(), Verdict(OK, ()), 0.0)}
    order = order_of(len(frames), index, cyclic)
    first: Found | None = None
    for number, (n, neighbours) in enumerate(order):
        share = (span[1] - span[0]) / len(order)
        stage, begin = f"frame {number + 2} of {len(frames)}", span[0] + number * share
        running.tell(stage, begin)
        starts = [found[other].transform for other in neighbours if other != index and found[other].registered]
        if not starts and first is not None:
            # The other side's first frame: it lies near the reference, or, in a cycle, near the frame that is done.
            starts = [LinearTransform.identity(), first.transform]
        found[n] = register_member(
            running,
            anchor,
            frames[n].read(),
            frame_folder(n),
            [_as_solved(each, running, anchor) for each in starts] or [LinearTransform.identity()],
            near=bool(starts),
            known=first,
            progress=running.part(stage, begin, share),
        )
        if first is None and found[n].registered and found[n].verdict.level != FAILED:
            first = found[n]
    return [found[n] for n in range(len(frames))]


def _as_solved(start: Transform, running: Running, anchor: Reference) -> Transform:
    """Return a start as one of the kind that the recipe solves for: from one without a field all stages would run."""
    if not running.recipe.deformable.enabled or has_field(start):
        return start
    geometry = anchor.image.geometry
    grid = geometry.resized(STILL_SPACING * np.array(geometry.spacing))
    return compose(DisplacementField(np.zeros((*grid.shape, 3), np.float32), grid), start)


def registered_to_the_mean(
    running: Running, frames: Frames, index: int, cyclic: bool, span: tuple[float, float]
) -> tuple[Reference, list[Found], list[float]]:
    """Register all frames to their mean: again and again to the present mean, whose shape is then made theirs."""
    anchor = prepared_reference(frames[index].read(), running)
    edges = np.linspace(*span, MEAN_PASSES + 2)
    found = registered_outward(running, frames, anchor, index, cyclic, span=(edges[0], edges[1]))
    first = next((each for each in found if each.start is not None and each.verdict.level != FAILED), None)
    shifts = []
    for number in range(MEAN_PASSES):
        found, shift = _freed(running, found, anchor)
        shifts.append(shift)
        members = ((frames[n].read(), each.transform, 1.0) for n, each in enumerate(found) if each.registered)
        mean = mean_image(members, anchor.image.geometry, "the mean of all frames", running.poll)
        anchor = prepared_reference(mean.image, running)
        begin, share = edges[number + 1], (edges[number + 2] - edges[number + 1]) / len(frames)
        again = []
        for n, each in enumerate(found):
            stage = f"frame {n + 1} of {len(frames)}"
            running.tell(stage, begin + n * share)
            again.append(
                register_member(
                    running,
                    anchor,
                    frames[n].read(),
                    f"{frame_folder(n)}/pass_{number + 1}",
                    [each.transform] if each.registered else [],
                    near=each.registered,
                    known=first,
                    progress=running.part(stage, begin + n * share, share),
                )
            )
        found = again
    found, shift = _freed(running, found, anchor)
    return anchor, found, [*shifts, shift]


def _freed(running: Running, found: Sequence[Found], anchor: Reference) -> tuple[list[Found], float]:
    require_some(found)
    known = [n for n, each in enumerate(found) if each.registered]
    return without_their_mean(running, found, known, [1.0] * len(known), anchor)


def require_some(found: Sequence[Found]) -> None:
    """Raise a `RegistrationError` if nothing was found of any frame."""
    if all(not each.registered for each in found):
        raise RegistrationError(
            f"None of the {len(found)} frames could be registered ({found[0].verdict.reasons[0]}).",
            "Check that all show the same anatomy.",
        )
