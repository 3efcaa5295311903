"""A field that only follows noise is left out, and the result says so; one that has something to show stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DeepRegLib.evaluation.evidence import information
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.stages.gain import detail_gains, differ_less
from DeepRegLib.transforms import DisplacementField, apply_to_image, displacement_on_grid, has_field
from Testing.synthetic import blob_values, geometry_in

GEOMETRY = geometry_in(size=(32, 34, 30), spacing=4.0)


def scan(seed: int, noise: float, *, brightness: float = 1.0, moved: float = 0.0) -> Image:
    """Return blobs with noise of their own, their darkness and light exchanged if asked, moved by waves of some mm."""
    values = brightness * blob_values(GEOMETRY.points(), radius=42.0).astype(np.float32)
    image = Image(values, GEOMETRY, "scan")
    if moved:
        waves = moved * np.sin(GEOMETRY.points()[..., ::-1] / 15)
        image = apply_to_image(DisplacementField(waves.astype(np.float32), GEOMETRY), image, GEOMETRY)
    spread = noise * float(values.std())
    added = np.random.default_rng(seed).normal(scale=spread, size=GEOMETRY.shape)
    return image.with_array((image.array + added).astype(np.float32))


def recipe(similarity: str = "lncc") -> Recipe:
    fast = load_recipe("fast")
    return replace(
        fast,
        search=replace(fast.search, enabled=False),
        linear=replace(fast.linear, model="none"),
        large_motion=replace(fast.large_motion, enabled=False),
        model=replace(fast.model, name=""),
        deformable=replace(fast.deformable, similarity=similarity),
    )


def test_of_scans_that_differ_by_noise_alone_the_field_is_left_out_and_that_is_said() -> None:
    result = register(scan(1, 0.3), scan(2, 0.3), recipe(), device="cpu")
    assert not has_field(result.transform)
    assert not has_field(result.inverse)
    assert np.abs(displacement_on_grid(result.transform, GEOMETRY)).max() < 1e-6
    (warning,) = [text for text in result.warnings if "field was left out" in text]
    assert "larger structures agree no better" in warning


def test_a_field_that_brings_structures_together_stays() -> None:
    result = register(scan(1, 0.3), scan(2, 0.3, moved=5.0), recipe(), device="cpu")
    assert has_field(result.transform)
    assert not [text for text in result.warnings if "left out" in text]


def test_detail_gains_by_what_lies_better_and_not_by_a_little_noise() -> None:
    random = np.random.default_rng(0)
    fixed, own = random.normal(size=(2, 20_000)).astype(np.float32)
    followed = (own + 0.1 * fixed).astype(np.float32)
    aligned, apart = fixed + own, 0.3 * fixed + own
    assert detail_gains(fixed, apart, aligned)
    assert not detail_gains(fixed, aligned, aligned + 0.1 * followed)
    assert not detail_gains(fixed, aligned, apart)


def test_less_is_left_where_a_tenth_lies_better_though_information_falls() -> None:
    random = np.random.default_rng(0)
    fixed = random.normal(size=40_000).astype(np.float32)
    moved = np.arange(40_000) % 10 == 0
    first = np.where(moved, random.normal(size=40_000), fixed + 0.02 * random.normal(size=40_000)).astype(np.float32)
    last = (fixed + 0.2 * random.normal(size=40_000)).astype(np.float32)
    assert information(fixed, last) < information(fixed, first)
    assert differ_less(fixed, first, last)
    assert differ_less(fixed, -first, -last)
    assert not differ_less(fixed, last, first)
    followed = (last + 0.01 * random.normal(size=40_000)).astype(np.float32)
    assert not differ_less(fixed, last, followed)


def test_in_another_contrast_too() -> None:
    still = register(scan(1, 0.3), scan(2, 0.3, brightness=-1.0), recipe("mind"), device="cpu")
    moved = register(scan(1, 0.3), scan(2, 0.3, brightness=-1.0, moved=5.0), recipe("mind"), device="cpu")
    assert (has_field(still.transform), has_field(moved.transform)) == (False, True)


def test_what_landmarks_draw_stays() -> None:
    points = GEOMETRY.to_world([[10, 10, 10], [20, 12, 9], [12, 22, 14], [18, 20, 20]])
    result = register(
        scan(1, 0.3), scan(2, 0.3), recipe(), fixed_landmarks=points, moving_landmarks=points + 2.0, device="cpu"
    )
    assert has_field(result.transform)


def test_a_given_field_that_moves_nothing_is_no_field_of_the_users() -> None:
    still = DisplacementField(np.zeros((*GEOMETRY.shape, 3), np.float32), GEOMETRY)
    result = register(scan(1, 0.3), scan(2, 0.3), recipe(), initial_transform=still, device="cpu")
    assert np.abs(displacement_on_grid(result.transform, GEOMETRY)).max() < 1e-6
    assert [text for text in result.warnings if "field was left out" in text]
