"""A scan cleaned by a denoising network, on its own grid and in its own units."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegLib.devices import choose_device
from DeepRegLib.image import Image
from DeepRegLib.models.bundle import ModelBundle, load_network
from DeepRegLib.models.windows import answered, windowed
from DeepRegLib.monitoring import Poll, never_cancel

# Percentiles that become 0 and 1, as in training; values beyond them are kept.
LOW, HIGH = 0.1, 99.9
USUAL_WINDOW = 64


def denoised_by(bundle: ModelBundle, image: Image, *, device: str | None = None, poll: Poll = never_cancel) -> Image:
    """Take noise out of a scan by a network.

    Parameters
    ----------
    bundle
        A model of the task ``denoise``.
    image
        Finite voxels, any grid: the network sees each voxel as it is.
    device
        Where to compute; None for the fastest.
    poll
        Called before each window; may raise to stop.

    Returns
    -------
    Image
        float32, in the units of the image.

    Raises
    ------
    ModelError
        If the network cannot be built, or gives what is no image.
    """
    array = image.array.astype(np.float32)
    low, high = (float(value) for value in np.percentile(array, [LOW, HIGH]))
    width = high - low
    if width <= 0:
        return image.with_array(array)
    chosen = choose_device(device)
    network = load_network(bundle, chosen)
    i, j, k = bundle.manifest.input.size or (USUAL_WINDOW,) * 3
    scaled = torch.from_numpy((array - low) / width).to(chosen)
    found = windowed(lambda window: answered(network, window), scaled, (k, j, i), poll=poll)[0]
    return image.with_array((found.cpu().numpy() * width + low).astype(np.float32))
