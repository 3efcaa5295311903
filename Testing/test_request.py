"""What a registration is asked for checks itself, and its provenance says what was given."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegLib.errors import InputError
from DeepRegLib.planning import plan_of
from DeepRegLib.provenance import provenance_of
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Drivers, Extras, Request
from Testing.engine.fakes import random_field, tiny_image
from Testing.requests import request_of
from Testing.synthetic import random_linear

POINTS = np.random.default_rng(0).normal(size=(4, 3))
ELSEWHERE = tiny_image("elsewhere", (2, 2, 2))


def test_drivers_keep_landmarks_as_doubles_and_cannot_be_changed() -> None:
    drivers = Drivers(fixed_landmarks=POINTS.astype(np.float32), moving_landmarks=(POINTS + 1).tolist())
    assert drivers.landmarks is not None
    assert [points.dtype for points in drivers.landmarks] == [np.float64, np.float64]
    np.testing.assert_array_equal(drivers.landmarks[1], POINTS + 1)
    assert Drivers().landmarks is None
    with pytest.raises(FrozenInstanceError):
        drivers.fixed_mask = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fixed_landmarks": POINTS}, "one image only"),
        ({"fixed_landmarks": POINTS, "moving_landmarks": POINTS[:3]}, "shapes"),
        ({"fixed_labels": tiny_image()}, "fixed image only"),
        ({"compared_fixed_labels": tiny_image()}, "fixed image only"),
        ({"fixed_mask": ELSEWHERE}, "elsewhere does not lie on the grid of fixed"),
        ({"sliding_mask": ELSEWHERE}, "elsewhere does not lie on the grid of fixed"),
        ({"moving_mask": ELSEWHERE}, "elsewhere does not lie on the grid of moving"),
        ({"moving_labels": ELSEWHERE}, "elsewhere do not lie on the grid of moving"),
        ({"fixed_labels": ELSEWHERE, "moving_labels": tiny_image()}, "elsewhere do not lie on the grid of fixed"),
        ({"compared_moving_labels": ELSEWHERE}, "elsewhere do not lie on the grid of moving"),
        ({"background": float("nan")}, "nan is not a finite number"),
        ({"background": 0.5}, "0.5 is no value of moving, whose voxels are of the type int16"),
        ({"background": -40_000}, "-40000 is no value of moving"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        request_of(tiny_image("fixed"), tiny_image("moving"), **given)


def test_a_request_without_drivers_asks_for_nothing_besides() -> None:
    request = request_of(tiny_image(), tiny_image(), "rigid")
    for part in (request.drivers, request.extras):
        assert not any(getattr(part, each.name) for each in fields(part))
    assert (request.device, request.seed) == (None, 0)
    assert {each.name for each in fields(Request)} == {
        *("fixed", "moving", "recipe", "drivers", "device", "seed", "extras"),
    }
    assert isinstance(request.extras, Extras)


def test_the_plan_leaves_out_what_the_drivers_make_needless() -> None:
    def plan(recipe: str = "auto", **given: Any) -> set[str]:
        return set(plan_of(request_of(tiny_image(), tiny_image(), recipe, **given)))

    whole = plan()
    assert whole == {
        *("prepare", "search", "linear", "levels", "large motion", "model", "deformable", "inverse", "judge"),
    }
    assert whole - plan(fixed_landmarks=POINTS, moving_landmarks=POINTS) == {"search"}
    assert whole - plan(initial_transform=random_linear(1)) == {"search"}
    field = random_field(tiny_image().geometry)
    assert whole - plan(initial_transform=field) == {"search", "linear", "large motion", "model"}
    either = replace(load_recipe("auto"), symmetric=True)
    assert set(plan_of(request_of(tiny_image(), tiny_image(), either))) - whole == {"other way"}
    assert plan("rigid") == {"prepare", "search", "linear", "inverse", "judge"}
    assert plan(moving_labels=tiny_image()) - whole == {"labels"}


def test_the_provenance_tells_every_driver_that_was_given() -> None:
    mask, labels = tiny_image("mask"), tiny_image("labels")
    field = random_field(tiny_image().geometry)

    def told(**given: Any) -> dict[str, Any]:
        plain = provenance_of(request_of(tiny_image(), tiny_image()), torch.device("cpu"))
        found = provenance_of(request_of(tiny_image(), tiny_image(), **given), torch.device("cpu"))
        assert found.items() >= plain.items()
        return {name: value for name, value in found.items() if name not in plain}

    assert told() == {}
    found = told(fixed_mask=mask, sliding_mask=mask, fixed_landmarks=POINTS, moving_landmarks=POINTS + 1)
    assert list(found) == [
        *("fixed_mask_sha256", "sliding_mask_sha256", "fixed_landmarks_sha256", "moving_landmarks_sha256"),
    ]
    assert found["fixed_mask_sha256"] == found["sliding_mask_sha256"]
    assert found["fixed_landmarks_sha256"] != found["moving_landmarks_sha256"]
    assert list(told(moving_labels=labels)) == ["moving_labels_sha256"]
    assert told(background=-3.0) == {"background": -3.0}
    hashes = [told(initial_transform=each) for each in (field, random_linear(1), random_linear(2))]
    assert all(list(each) == ["initial_transform_sha256"] for each in hashes)
    assert len({each["initial_transform_sha256"] for each in hashes}) == 3
