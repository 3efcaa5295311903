"""A user's own scans: read onto the training grid, and what pairs are made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, write_image
from DeepRegLib.training.config import TrainingConfig, config_from_dict
from DeepRegLib.training.sources import PairSource
from DeepRegLib.training.volumes import read_collection
from Testing.synthetic import CENTRE, blobs, geometry_in, label_map

CPU = torch.device("cpu")
SIZE = (28, 24, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans in different frames with labels 0, 1, ... times ten."""
    root = tmp_path_factory.mktemp("own")
    for part in ("images", "labels"):
        (root / part).mkdir()
    for number, frame in enumerate(("LPS", "RAS", "oblique")):
        grid = geometry_in(frame, (26, 28, 24), 2.0)
        write_image(blobs(grid), root / "images" / f"{number}.nii.gz")
        labels = label_map(grid)
        write_image(labels.with_array(10 * labels.array.astype(np.int16)), root / "labels" / f"{number}.nii.gz")
    return root


def config(folder: Path, **sources: float) -> TrainingConfig:
    return config_from_dict(
        {
            "name": "own",
            "images": {"size": list(SIZE), "spacing": 2.0, "margin": 3},
            "sources": {"shapes": 0.0, "folder": str(folder), **sources},
            "appearance": {"cropped": 0.0, "noise": 0.0, "thick": 0.0, "artefacts": 0.0, "blur": 0.0, "remap": 0.0},
        }
    )


def test_scans_of_any_frame_come_onto_one_grid_with_labels_numbered_in_order(folder: Path) -> None:
    collection = read_collection(folder, SIZE, 2.0, 3)
    assert len(collection.volumes) == 3
    assert collection.values[0] == 0
    assert all(value % 10 == 0 for value in collection.values)
    scene = collection.scene([0, 1, 2], SIZE, CPU, with_image=True)
    assert scene.image is not None
    assert scene.labels is not None
    assert scene.image.shape == (3, 1, 26, 30, 34)
    assert scene.count == len(collection.values)
    assert int(scene.labels.max()) == scene.count - 1
    # The same anatomy in the world, whatever the frame it was scanned in.
    inside = scene.known.min(0).values > 0
    for other in (1, 2):
        both = torch.stack([scene.image[0][inside], scene.image[other][inside]])
        assert float(torch.corrcoef(both)[0, 1]) > 0.97


def test_what_was_not_scanned_is_unknown_and_zero(folder: Path) -> None:
    scene = read_collection(folder, (40, 24, 20), 2.0, 0).scene([0], (40, 24, 20), CPU, with_image=True)
    assert scene.image is not None
    # 26 of 40 voxels were scanned; the anatomy's centre lies within a voxel or two of the scan's.
    along = scene.known[0, 0].amax((0, 1))
    assert 25 <= int(along.sum()) <= 27
    assert float(scene.image[0, 0][:, :, along == 0].abs().max()) == 0


@pytest.mark.parametrize("kind", ["maps", "images", "pairs"])
def test_each_source_makes_pairs_with_labels(kind: str, folder: Path) -> None:
    source = PairSource(config(folder, **{kind: 1.0}), CPU)
    pairs, _ = source.draw("training", 0, [0, 1], SIZE)
    assert pairs.fixed.shape == (2, 1, 20, 24, 28)
    assert pairs.fixed_labels is not None
    assert pairs.moving_labels is not None
    assert (pairs.field is None) == (kind == "pairs")
    assert int(pairs.fixed_labels.max()) < pairs.labels
    again, _ = PairSource(config(folder, **{kind: 1.0}), CPU).draw("training", 0, [1], SIZE)
    torch.testing.assert_close(pairs.fixed[1], again.fixed[0], atol=1e-5, rtol=1e-5)


def test_a_smaller_part_is_the_middle_of_the_whole(folder: Path) -> None:
    collection = read_collection(folder, SIZE, 2.0, 3)
    whole, part = (collection.scene([0], size, CPU, with_image=True) for size in (SIZE, (20, 24, 16)))
    assert whole.image is not None
    assert part.image is not None
    assert part.image.shape == (1, 1, 22, 30, 26)
    assert torch.equal(part.image, whole.image[:, :, 2:-2, :, 4:-4])


def test_deformed_images_show_what_their_labels_say(folder: Path) -> None:
    pairs, _ = PairSource(config(folder, images=1.0), CPU).draw("training", 0, [3], SIZE)
    assert pairs.fixed_labels is not None
    body = pairs.fixed[0, 0][pairs.fixed_labels[0] > 0]
    rest = pairs.fixed[0, 0][pairs.fixed_labels[0] == 0]
    assert float(body.mean()) > float(rest.mean()) + 0.1


def test_a_folder_of_label_maps_alone_is_enough_for_maps(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for file in (folder / "labels").iterdir():
        (tmp_path / "labels" / file.name).write_bytes(file.read_bytes())
    pairs, _ = PairSource(config(tmp_path, maps=1.0), CPU).draw("training", 0, [0], SIZE)
    assert pairs.field is not None
    with pytest.raises(InputError, match="lacks images"):
        PairSource(config(tmp_path, images=1.0), CPU)


def test_pairs_without_labels_need_a_similarity(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for file in (folder / "images").iterdir():
        (tmp_path / "images" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="lacks labels"):
        PairSource(config(tmp_path, pairs=1.0), CPU)


def test_what_a_folder_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no volumes"):
        read_collection(tmp_path, SIZE, 2.0, 0)
    grid = geometry_in("LPS", (8, 8, 8))
    for part, name in (("images", "a"), ("images", "b"), ("labels", "a")):
        (tmp_path / part).mkdir(exist_ok=True)
        write_image(Image(np.ones((8, 8, 8), dtype=np.uint8), grid), tmp_path / part / f"{name}.nii.gz")
    with pytest.raises(InputError, match=r"only labels of b|of b"):
        read_collection(tmp_path, SIZE, 2.0, 0)


def test_the_grid_is_centred_on_the_anatomy(folder: Path) -> None:
    collection = read_collection(folder, (25, 25, 25), 2.0, 0)
    labels = collection.volumes[0].labels
    assert labels is not None
    centre = np.argwhere(labels.numpy() > 0).mean(0)
    assert np.abs(centre - 12).max() < 2.5
    assert CENTRE.shape == (3,)
