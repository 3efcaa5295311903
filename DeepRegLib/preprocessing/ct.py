"""CT: recognised by its values, and shown through a window of Hounsfield units (HU)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing.arrays import float_array
from DeepRegLib.preprocessing.intensity import rescale

# (low, high) in HU.
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "soft-tissue": (-160.0, 240.0),
    "lung": (-1000.0, 400.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
    "wide": (-1000.0, 1000.0),
}

SAMPLES = 500_000
LEAST_AIR = 0.005
LEAST_SOFT_TISSUE = 0.05
MOST_IMPOSSIBLE = 0.01
LEAST_LUNG = 0.05


def is_ct(image: Image) -> bool:
    """Tell whether the voxels are Hounsfield units, judged by their values alone.

    They are when some lie near -1000 HU (air) or hold a padding value below, a soft-tissue cluster lies around
    0 HU, and next to nothing lies where no tissue does. A CT without air, such as a skull-stripped one or a
    crop inside the body, looks like any other scan and is not recognised.
    """
    values = _sample(image)
    lowest = float(values.min())
    if lowest > -900:
        return False
    # Scanners pad with one value below air (-1024, -2000, -3024); noise around air spreads to about -1200.
    padding = values == lowest
    real = values[~padding]
    if real.size == 0:
        return False
    air = max(float(np.mean(values < -900)), float(np.mean(padding)))
    soft_tissue = float(np.mean((real > -150) & (real < 250)))
    impossible = float(np.mean((real < -1200) | (real > 4000)))
    denser_than_gap = soft_tissue / 400 > float(np.mean((real > -700) & (real < -300))) / 400
    return air > LEAST_AIR and soft_tissue > LEAST_SOFT_TISSUE and impossible < MOST_IMPOSSIBLE and denser_than_gap


def window(image: Image, low: float, high: float, *, poll: Poll = never_cancel) -> Image:
    """Take `low` HU to 0 and `high` HU to 1, as float32, and cut off the rest; `poll` may raise to stop.

    Raises
    ------
    InputError
        If `low` is not below `high`.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"The window {low:g} to {high:g} HU is empty.", "Give a lower and a higher value.")
    return rescale(image, low, high, poll=poll)


def ct_window_for_registration(*images: Image) -> tuple[float, float]:
    """Choose one window (low, high in HU) for the CT images that are to be compared.

    Everything that carries anatomy is kept: the window reaches to 1000 HU, where cortical bone still has contrast and
    metal and contrast agent are cut off. It starts at -1000 HU when lung is in view in one of the images; otherwise at
    -500 HU, which drops the table's foam and the noise in the air and leaves fat and organs more of the range.
    Images of one pair must share a window, so give all of them.
    """
    lung_in_view = any(_share_of_lung(image) > LEAST_LUNG for image in images)
    return CT_WINDOWS["wide"] if lung_in_view else (-500.0, 1000.0)


def _share_of_lung(image: Image) -> float:
    values = _sample(image)
    return float(np.mean((values > -920) & (values < -500)))


def _sample(image: Image) -> NDArray[np.float32]:
    values = float_array(image).ravel()
    step = max(1, values.size // SAMPLES)
    # An odd step visits all columns of a volume whose sides are powers of two.
    taken = values[:: step | 1]
    usable = taken[np.isfinite(taken)]
    return usable if usable.size else np.zeros(1, np.float32)
