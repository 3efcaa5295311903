"""segment_with(): a scan segmented by a trained network, ours or one of a MONAI bundle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from DeepRegLib.errors import ModelError
from DeepRegLib.image import Image, as_image
from DeepRegLib.monitoring import Cancel, Poll, Progress, poll_of, reporter_of
from DeepRegLib.preprocessing.network_input import on_grid, world_grid
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.segmentation.answers import Answer, most_probable
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.result import Segmentation, SegmentRow
from DeepRegLib.segmentation.segmenting import LITTLE_AGREEMENT, MICROLITRES, listed, sums_by_label

# Voxels of a window along each axis where a model does not say.
USUAL_WINDOW = 96


def segment_with(
    model: str | Path,
    scan: Image | str | Path,
    *,
    mirror: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Segmentation:
    """Segment a scan by a trained network.

    The scan is brought to the model's spacing along the axes of the world, the network is asked window by window, the
    probabilities are brought back to the scan's grid, and each voxel gets the label that is most probable there.

    Parameters
    ----------
    model
        Name of a model or folder of its bundle, of the task ``segmentation``; or folder or zip file of a MONAI bundle,
        for which MONAI must be installed.
    scan
        Volume of any pixel type and grid, or the path to read it from. It is not modified.
    mirror, device
        As of `ModelRequest`.
    progress
        Called with stage, fraction done, None and the seconds left or None.
    cancel
        Asked now and then; true stops.

    Raises
    ------
    InputError
        If the scan cannot be used.
    ModelError
        If there is no such model, it is for another task, damaged, or names what it may not.
    MemoryShortageError
        If the memory does not suffice.
    CancelledError
        If `cancel` returned true.
    """
    request = ModelRequest(as_image(scan), str(model), mirror, device)
    return segment_by_model(request, progress=progress, cancel=cancel)


def segment_by_model(
    request: ModelRequest, *, progress: Progress | None = None, cancel: Cancel | None = None
) -> Segmentation:
    """Segment a scan as a request asks; the rest is as in `segment_with`."""
    from DeepRegLib.devices import choose_device, memory_errors_explained
    from DeepRegLib.models.monai_bundle import is_monai_bundle
    from DeepRegLib.provenance import image_hash
    from DeepRegLib.versions import versions

    begun = time.perf_counter()
    poll = poll_of(cancel)
    on_step = reporter_of("segment", progress, poll)
    device = choose_device(request.device)
    on_step(0.0)
    with memory_errors_explained(device):
        if is_monai_bundle(request.model):
            from DeepRegLib.segmentation.by_monai import monai_answer

            answer = monai_answer(request, device, on_step=on_step, poll=poll)
        else:
            answer = _own_answer(request, device, on_step, poll)
    rows = _rows(answer)
    return Segmentation(
        scan=request.scan,
        labels=answer.labels,
        agreement=answer.confidence,
        segments=answer.segments,
        rows=rows,
        atlases=(),
        verdict=verdict_on_answer(rows),
        recipe=None,
        fusion="",
        warnings=(),
        decisions=answer.decisions,
        timings={"segment": time.perf_counter() - begun},
        provenance={
            "versions": versions(),
            "device": str(device),
            "scan_sha256": image_hash(request.scan, poll=poll),
            "model": dict(answer.identity),
        },
        model=dict(answer.identity),
    )


def verdict_on_answer(rows: Sequence[SegmentRow]) -> Verdict:
    """Judge a segmentation by a network: failed where nothing was found, to be checked where it is in doubt."""
    if all(row.agreement is None for row in rows):
        return Verdict(FAILED, ("The network found no segment on the scan.",))
    doubts = []
    if lost := [row.name for row in rows if row.agreement is None]:
        doubts.append(f"Not found on the scan: {listed(lost)}.")
    if weak := [row.name for row in rows if row.agreement is not None and row.agreement < LITTLE_AGREEMENT]:
        doubts.append(f"The network is little sure of {listed(weak)}.")
    return Verdict(CHECK, tuple(doubts)) if doubts else Verdict(OK, ())


def _own_answer(request: ModelRequest, device: Any, on_step: Any, poll: Poll) -> Answer:
    import torch

    from DeepRegLib.models import load_network, usable_bundle
    from DeepRegLib.models.manifest import SEGMENTATION
    from DeepRegLib.models.windows import probabilities

    bundle = usable_bundle(request.model, SEGMENTATION)
    manifest, scan = bundle.manifest, request.scan
    network = load_network(bundle, device)
    window = manifest.input.size or (USUAL_WINDOW,) * 3
    grid = world_grid(scan.geometry, manifest.input.spacing)
    array, known = on_grid(scan, grid, poll=poll)
    i, j, k = window
    image = torch.from_numpy(array).to(device)
    found = probabilities(network, image, (k, j, i), mirror=request.mirror, on_step=on_step, poll=poll)
    if len(found) != len(manifest.segments) + 1:
        raise ModelError(
            f"The model {manifest.name} has {len(found)} classes and names {len(manifest.segments)} segments.",
            "Get the model anew.",
        )
    likely = found.cpu().numpy()
    # Outside of the scan there is nothing, whatever a network says of what was padded.
    likely *= known
    likely[0][~known] = 1
    labels, confidence = most_probable(likely, grid, scan, (0, *(segment.label for segment in manifest.segments)), poll)
    times = " and its mirror images" if request.mirror else ""
    how = f"{manifest.name} saw the scan{times} with voxels of {manifest.input.spacing:g} mm in windows of {window}."
    return Answer(labels, confidence, manifest.segments, bundle.identity, (how,))


def _rows(answer: Answer) -> tuple[SegmentRow, ...]:
    ml = answer.labels.geometry.voxel_volume / MICROLITRES
    counts = sums_by_label(answer.labels.array)
    sure = sums_by_label(answer.labels.array, answer.confidence.array)
    rows = []
    for segment in answer.segments:
        number = counts.get(segment.label, 0.0)
        mean = sure[segment.label] / number if number else None
        rows.append(SegmentRow(segment.label, segment.name, number * ml, None, mean))
    return tuple(rows)
