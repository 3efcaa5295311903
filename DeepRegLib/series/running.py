"""A request of a series run as one piece of work; what a run that was stopped had found, the next one goes on from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from DeepRegLib.errors import CancelledError
from DeepRegLib.image import Image
from DeepRegLib.labels import label_map
from DeepRegLib.monitoring import Cancel, Poll, Progress, poll_of
from DeepRegLib.series.frames import Frame, Frames
from DeepRegLib.series.products import labels_between, motion_maps, stabilised
from DeepRegLib.series.registering import register_series
from DeepRegLib.series.request import SeriesRequest, SeriesResult
from DeepRegLib.series.result import SeriesRegistration
from DeepRegLib.series.stores import MemoryStore


@dataclass(eq=False)
class SeriesRunner:
    """Runs requests one after another, and keeps what was found until a run comes to its end."""

    _kept: MemoryStore = field(default_factory=MemoryStore)

    def run(self, request: SeriesRequest, progress: Progress, cancel: Cancel) -> SeriesResult:
        """Register a series, and make what belongs to the result.

        Raises
        ------
        InputError
            If the frames, the reference or the device cannot be used.
        RegistrationError
            If no frame could be registered, or memory runs out.
        CancelledError
            If `cancel` returned true; the frames that are done are kept for the next run of the same series.
        """
        store = MemoryStore()
        store.found.update(self._kept.found)
        try:
            series = register_series(
                frames_of(request),
                request.recipe,
                reference=int(request.reference) if request.reference.isdigit() else request.reference,
                device=request.device,
                seed=request.seed,
                store=store,
                progress=progress,
                cancel=cancel,
            )
        except CancelledError:
            self._kept = store
            raise
        self._kept = MemoryStore()
        progress("labels" if request.layers else "judge", 1.0, None, None)
        return result_of(series, request, poll_of(cancel))


def frames_of(request: SeriesRequest) -> Frames:
    """Return the frames of a request."""
    both = zip(request.frames, request.times, strict=True)
    frames = (Frame(image.name, time, functools.partial(_given, image)) for image, time in both)
    return Frames(tuple(frames), request.unit)


def result_of(series: SeriesRegistration, request: SeriesRequest, poll: Poll) -> SeriesResult:
    """Return what travels of a registered series."""
    maps = motion_maps(series, poll=poll)
    layers = [label_map(layer) for layer in request.layers]
    carried = (
        tuple(labels_between(series, layer, index, drawn_on=request.drawn_on, poll=poll) for layer in layers)
        for index in range(len(series.frames) if layers else 0)
    )
    return SeriesResult(
        reference_index=series.reference_index,
        transforms=tuple(series.transforms),
        stabilised=tuple(stabilised(series, poll=poll)),
        carried=tuple(carried),
        volume_change=maps.volume_change,
        peak_strain=maps.peak_strain,
        motion=maps.motion,
        rows=series.rows,
        cyclic=series.cyclic,
        smoothing=series.smoothing,
        roughness_before=series.roughness_before,
        roughness_after=series.roughness_after,
        verdict=series.verdict,
        warnings=series.warnings,
        decisions=series.decisions,
    )


def _given(image: Image) -> Image:
    return image
