"""A scan registered to itself stays where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import load_recipe
from DeepRegLib.transforms import displacement_on_grid
from Testing.synthetic import blob_values, geometry_in

GEOMETRY = geometry_in(size=(32, 34, 30), spacing=4.0)


def noisy_scan() -> Image:
    """Return blobs with noise in and about them, cut off at zero as a scanner does, so that much of it is flat."""
    noise = np.random.default_rng(3).normal(scale=3.0, size=GEOMETRY.shape)
    values = np.clip(blob_values(GEOMETRY.points(), radius=42.0) + noise, 0, None)
    return Image(values.astype(np.float32), GEOMETRY, "scan")


@pytest.mark.parametrize("similarity", ["lncc", "ncc"])
def test_a_scan_stays_where_it_is_when_registered_to_itself(similarity: str) -> None:
    fast = load_recipe("fast")
    recipe = replace(
        fast,
        search=replace(fast.search, enabled=False),
        linear=replace(fast.linear, model="none"),
        large_motion=replace(fast.large_motion, enabled=False),
        model=replace(fast.model, name=""),
        deformable=replace(fast.deformable, similarity=similarity),
    )
    result = register(noisy_scan(), noisy_scan(), recipe, device="cpu")
    moved = np.linalg.norm(displacement_on_grid(result.transform, GEOMETRY), axis=-1)
    assert moved.max() < 0.02 * GEOMETRY.spacing[0]
