"""What is unknown looks like what lies about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from DeepRegLib import register
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.optimization.continuing import continued
from DeepRegLib.optimization.smoothing import smooth


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**16), st.floats(0, 1))
def test_known_voxels_stay_and_others_lie_between_them(shape: tuple[int, int, int], seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(shape, generator=generator)
    known = torch.rand(shape, generator=generator) < share
    filled = continued(image, known)
    assert torch.equal(filled[known], image[known])
    if known.any():
        least, most = image[known].aminmax()
        assert filled.min() >= least - 1e-5
        assert filled.max() <= most + 1e-5
    else:
        assert not filled.any()


def test_beside_the_border_is_what_lies_beside_it() -> None:
    image = torch.zeros(24, 24, 24)
    image[12:] = 1
    known = torch.zeros(24, 24, 24, dtype=torch.bool)
    known[8:16, 8:16, 8:16] = True
    filled = continued(image, known)
    assert filled[6, 12, 12] < 0.5
    assert filled[17, 12, 12] > 0.5
    assert torch.isfinite(continued(torch.where(known, image, torch.nan), known)).all()


def _head(radius: float, cut_out: bool) -> Image:
    """Return a brain of a radius in mm in its head, or cut out of it; its texture grows with it."""
    size = (72, 72, 72)
    geometry = Geometry(size, (2.0,) * 3, (0.0,) * 3)
    z, y, x = np.meshgrid(*[2.0 * (np.arange(n) - (n - 1) / 2) for n in size], indexing="ij")
    distance = np.sqrt(x**2 + y**2 + z**2)
    generator = torch.Generator().manual_seed(3)
    texture = smooth(torch.randn(72, 72, 72, generator=generator), 2.5).numpy()
    index = np.stack([axis / radius * 50 / 2 + 35.5 for axis in (z, y, x)])
    nearest = np.clip(np.round(index), 0, 71).astype(int)
    brain = 180 + 25 * texture[tuple(nearest)] / texture.std()
    bright, dark = 150.0, 20.0
    around = np.where(distance < radius + 8, dark, np.where(distance < radius + 16, bright, 0.0))
    values = np.where(distance < radius, np.clip(brain, 100, 255), 0.0 if cut_out else around)
    return Image(values.astype(np.float32), geometry, name="cut-out" if cut_out else "head")


@pytest.mark.parametrize("radius", [46.0, 54.0])
def test_a_field_does_not_leave_a_cut_out(radius: float) -> None:
    """The border of a stripped brain once drew the field across it, to where nothing was compared any more."""
    found = register(_head(50.0, cut_out=False), _head(radius, cut_out=True), recipe="fast", seed=0)
    z, y, x = np.meshgrid(*[2.0 * (np.arange(72) - 35.5)] * 3, indexing="ij")
    brain = np.sqrt(x**2 + y**2 + z**2) < 49
    assert np.mean(found.warped.array[brain] > 50) > 0.99
