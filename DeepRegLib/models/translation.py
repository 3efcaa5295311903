"""A scan as a translating network shows it in another modality, on the scan's own grid."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegLib.devices import choose_device
from DeepRegLib.image import Image, resample
from DeepRegLib.models.bundle import ModelBundle, load_network
from DeepRegLib.models.windows import Step, answered, ignore, windowed
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.network_input import on_grid, world_grid

USUAL_WINDOW = 64
# Added to the name of what no scanner made, wherever it is shown.
SYNTHETIC = "synthetic"
# Edges of a scan and of a good translation run the same way to .5 and more, whatever the modalities; see
# docs/models.md. Below the first the network has left out or invented much, below the second it shows something else.
DOUBTFUL_SYNTHESIS, USELESS_SYNTHESIS = 0.3, 0.1


def translated_by(
    bundle: ModelBundle,
    scan: Image,
    *,
    device: str | None = None,
    on_step: Step = ignore,
    poll: Poll = never_cancel,
) -> Image:
    """Show a scan as another modality would.

    Parameters
    ----------
    bundle
        A model of the task ``translate``.
    scan
        Any pixel type and grid.
    device
        Where to compute; None for the fastest.
    on_step
        Called with the fraction done; may raise.
    poll
        Called before each window; may raise to stop.

    Returns
    -------
    Image
        float32, 0 to 1 (between the percentiles that the targets of the training were scaled by), 0 where the scan
        has no finite voxel; on the grid of the scan, and called synthetic.

    Raises
    ------
    InputError
        If the scan has no finite voxel, or one value alone.
    ModelError
        If the network cannot be built, or gives what is no image.
    """
    manifest = bundle.manifest
    chosen = choose_device(device)
    network = load_network(bundle, chosen)
    grid = world_grid(scan.geometry, manifest.input.spacing)
    intensities, known = on_grid(scan, grid, poll=poll)
    i, j, k = manifest.input.size or (USUAL_WINDOW,) * 3
    seen = torch.from_numpy(intensities).to(chosen)
    found = windowed(lambda window: answered(network, window), seen, (k, j, i), on_step=on_step, poll=poll)[0]
    made = np.where(known, found.clamp(0, 1).cpu().numpy(), 0).astype(np.float32)
    array = resample(Image(made, grid), scan.geometry, poll=poll).array.astype(np.float32)
    array[~np.isfinite(scan.array)] = 0
    return Image(array, scan.geometry, f"{scan.name} ({SYNTHETIC}, {manifest.name})")
