"""translate_with(): a scan shown as another modality would, by a trained network."""

from __future__ import annotations

import time
from pathlib import Path

from DeepRegLib.image import Image, as_image
from DeepRegLib.monitoring import Cancel, Progress, poll_of, reporter_of
from DeepRegLib.translation.belief import belief_in
from DeepRegLib.translation.result import Translation


def translate_with(
    model: str | Path,
    scan: Image | str | Path,
    *,
    device: str | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Translation:
    """Show a scan as another modality would.

    Parameters
    ----------
    model
        Name of a model or folder of its bundle, of the task ``translate``.
    scan
        Volume of any pixel type and grid, or the path to read it from. It is not modified.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; None for the fastest.
    progress
        Called with stage, fraction done, None and the seconds left or None.
    cancel
        Asked now and then; true stops.

    Raises
    ------
    InputError
        If the scan cannot be used.
    ModelError
        If there is no such model, it is for another task, or damaged.
    MemoryShortageError
        If the memory does not suffice.
    CancelledError
        If `cancel` returned true.
    """
    from DeepRegLib.devices import choose_device, memory_errors_explained
    from DeepRegLib.models import usable_bundle
    from DeepRegLib.models.manifest import TRANSLATE
    from DeepRegLib.models.translation import translated_by
    from DeepRegLib.provenance import image_hash
    from DeepRegLib.versions import versions

    begun = time.perf_counter()
    poll = poll_of(cancel)
    on_step = reporter_of("translate", progress, poll)
    image, where = as_image(scan), choose_device(device)
    bundle = usable_bundle(str(model), TRANSLATE)
    on_step(0.0)
    with memory_errors_explained(where):
        made = translated_by(bundle, image, device=str(where), on_step=on_step, poll=poll)
    structure, verdict = belief_in(made, image, poll=poll)
    manifest = bundle.manifest
    return Translation(
        scan=image,
        synthetic=made,
        structure=structure,
        verdict=verdict,
        decisions=(f"{manifest.name} saw the scan with voxels of {manifest.input.spacing:g} mm.",),
        timings={"translate": time.perf_counter() - begun},
        provenance={"versions": versions(), "device": str(where), "scan_sha256": image_hash(image, poll=poll)},
        model=dict(bundle.identity),
    )
