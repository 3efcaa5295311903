"""Training of the network that describes voxels: places are told apart by the features of their partners."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from DeepRegLib.models import load_bundle, load_network
from DeepRegLib.networks import FeatureNet
from DeepRegLib.networks.features import describe
from DeepRegLib.similarity import Cosine
from DeepRegLib.training import train
from DeepRegLib.training.descriptions import contrast_loss, place_cosines, singled_out
from DeepRegLib.training.export import export
from DeepRegLib.training.journal import read_log
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.synthesis import Pairs
from Testing.synthetic import blobs, geometry_in
from Testing.training.conftest import TinyConfig

NODES = (6, 7, 8)
VOXELS = tuple(2 * n for n in NODES)
SHIFT = 2  # nodes, along i


def shifted_pairs(shift: float = SHIFT) -> Pairs:
    """Return a pair whose fixed image shows at a node what the moving one has some nodes further along i."""
    field = torch.zeros(1, 3, *NODES)
    field[:, 0] = shift
    image, known = torch.zeros(1, 1, *VOXELS), torch.ones(1, 1, *NODES)
    return Pairs(image, image, known, known, field)


def shifted_features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    moving = functional.normalize(torch.randn(1, 12, *VOXELS, generator=generator), dim=1)
    return moving.roll(-2 * SHIFT, -1), moving


def test_features_that_move_with_the_anatomy_single_every_place_out() -> None:
    cosines = place_cosines(shifted_pairs(), *shifted_features(), Randomness([1], torch.device("cpu")), 50)
    assert cosines.shape == (1, 50, 50)
    torch.testing.assert_close(cosines[0].diagonal(), torch.ones(50))
    assert singled_out(cosines) == 1
    assert contrast_loss(cosines) < 0.05


def test_features_that_stay_behind_do_not() -> None:
    cosines = place_cosines(shifted_pairs(0), *shifted_features(), Randomness([1], torch.device("cpu")), 50)
    assert singled_out(cosines) < 0.2
    assert contrast_loss(cosines) > 3


def test_places_are_looked_for_where_both_images_show_anatomy() -> None:
    pairs = shifted_pairs()
    fixed, moving = shifted_features()
    # What is shifted past the border is not seen, and its features are other places'.
    cosines = place_cosines(pairs, fixed, moving, Randomness([2], torch.device("cpu")), 6 * 7 * (8 - SHIFT))
    assert singled_out(cosines) == 1
    labels = torch.zeros(1, *VOXELS, dtype=torch.long)
    labels[:, :4] = 1  # two planes of nodes, 84 of which are seen in both
    labelled = Pairs(pairs.fixed, pairs.moving, pairs.fixed_known, pairs.moving_known, pairs.field, labels, labels, 2)
    fixed[:, :, 4:] = fixed[:, :, 4:5, :1, :1]  # elsewhere all places look alike
    assert singled_out(place_cosines(labelled, fixed, moving, Randomness([2], torch.device("cpu")), 60)) == 1


def test_a_pair_without_a_field_teaches_nothing() -> None:
    image, known = torch.zeros(1, 1, *VOXELS), torch.ones(1, 1, *NODES)
    with pytest.raises(ValueError, match="not known"):
        place_cosines(Pairs(image, image, known, known), image, image, Randomness([1], torch.device("cpu")), 4)


def test_a_trained_network_tells_places_apart_in_another_contrast_and_its_features_tell_what_is_aligned(
    tiny_config: TinyConfig, tmp_path: Path
) -> None:
    config = tiny_config(
        network={"architecture": "features", "arguments": {"channels": [8, 16, 16], "out": 8}},
        sources={"shapes": 1.0},
        appearance={"remap": 1.0},
        losses={"contrast": 1.0, "places": 64},
        optimisation={"iterations": 40, "warmup": 5},
        record={"log_every": 10, "checkpoint_every": 40},
        validation={"every": 40, "pairs": 4},
    )
    train(config, tmp_path / "run", device="cpu")
    log = read_log(tmp_path / "run")
    losses = [line["contrast"] for line in log if line["group"] == "train"]
    (measured,) = [line for line in log if line["group"] == "validation"]
    assert losses[-1] < 0.8 * losses[0]
    assert measured["found"] > 5 * measured["found_by_chance"]

    bundle = export(tmp_path / "run", tmp_path / "bundle")
    assert bundle.manifest.task == "features"
    network = load_network(load_bundle(tmp_path / "bundle"), "cpu")
    assert isinstance(network, FeatureNet)
    scan = torch.from_numpy(blobs(geometry_in("LPS", (24, 24, 24), 2.5), 3).array.astype("float32"))[None]
    scan = scan / scan.max()
    inverted = (scan > 0.05) * (1 - scan)
    with torch.no_grad():
        metric = Cosine(describe(network, scan)[0], torch.ones_like(scan[0]))
        aligned, apart = (float(metric.value(describe(network, im)[0])) for im in (inverted, inverted.roll(4, -1)))
    assert aligned > apart
