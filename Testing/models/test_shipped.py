"""The models that ship: whole, small, honest, and of use."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DeepRegLib.models import check_bundle, known_models, load_bundle, load_network
from DeepRegLib.models.registry import SHIPPED
from DeepRegLib.recipes import load_recipe, recipe_names
from DeepRegLib.training.config import load_config
from DeepRegLib.training.losses import endpoint_error, seen_in_both
from DeepRegLib.training.sources import PairSource

LARGEST_MB = 10.0
shipped = [model for model in known_models() if model.place == SHIPPED]


@pytest.mark.parametrize("model", shipped, ids=lambda model: model.name)
def test_a_shipped_model_is_whole_and_small_and_says_what_it_was_trained_on(model) -> None:
    bundle = load_bundle(model.folder)
    check_bundle(bundle)
    assert bundle.weights.stat().st_size < LARGEST_MB * 1e6
    assert bundle.manifest.licence == "Apache-2.0"
    assert "iterations" in bundle.manifest.trained_on


def test_recipes_name_shipped_models_only() -> None:
    named = {load_recipe(name).model.name for name in recipe_names()} - {""}
    assert named <= {model.name for model in shipped}


@pytest.mark.parametrize(("same_contrast", "left"), [(1.0, 0.55), (0.0, 0.7)], ids=["same contrast", "another"])
def test_anatomy_brings_what_it_has_never_seen_nearer_whatever_the_contrast(same_contrast: float, left: float) -> None:
    (bundle,) = (load_bundle(model.folder) for model in shipped if model.name == "anatomy")
    network = load_network(bundle, torch.device("cpu"))
    config = load_config("anatomy")
    config = replace(config, appearance=replace(config.appearance, same_contrast=same_contrast))
    unseen = PairSource(config, torch.device("cpu"))
    shares = []
    for number in range(4):
        pairs, _ = unseen.draw("shipped", 0, range(number, number + 1), (64, 64, 64))
        assert pairs.field is not None
        with torch.no_grad():
            found = network(pairs.fixed, pairs.moving)
        seen = seen_in_both(pairs.fixed_known, pairs.moving_known, pairs.field)
        before, after = (endpoint_error(u, pairs.field, seen) for u in (torch.zeros_like(found), found))
        shares.append(float(after / before))
    assert sum(shares) / len(shares) < left
