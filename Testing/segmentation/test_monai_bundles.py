"""MONAI bundles: one made by MONAI segments a scan, and what a hostile one names is not done."""

from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
from DeepRegLib.errors import ModelError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.models.monai_bundle import is_monai_bundle, read_monai_bundle
from DeepRegLib.models.monai_config import monai_config
from DeepRegLib.segmentation import ModelRequest, segment_with
from Testing.segmentation.monai_bundles import INFERENCE, with_section, with_transform, write_configs

# Turned about z, thick slices: the way there and back is no identity.
TURNED = Geometry((24, 20, 12), (2.0, 2.5, 4.0), (10.0, -7.0, 30.0), (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))


def bright_cube() -> Image:
    array = np.random.default_rng(0).normal(0, 3, TURNED.shape)
    array[3:9, 5:14, 6:18] += 100
    return Image(array.astype(np.float32), TURNED, "scan")


@pytest.fixture(scope="module")
def made_by_monai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a bundle whose network, trained for a moment, finds what is bright; exported by MONAI itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's packages
        pytest.importorskip("monai", reason="monai is not installed")
        from monai.bundle import ConfigParser, ckpt_export

        folder = write_configs(tmp_path_factory.mktemp("bundles") / "bright", INFERENCE)
        parser = ConfigParser()
        parser.read_config(str(folder / "configs" / "inference.json"))
        torch.manual_seed(0)
        network = parser.get_parsed_content("network_def")
        optimiser = torch.optim.Adam(network.parameters(), 0.03)
        for _ in range(40):
            image = torch.nn.functional.interpolate(torch.rand(2, 1, 4, 4, 4), 16, mode="trilinear")
            loss = torch.nn.functional.cross_entropy(network(image), (image[:, 0] > 0.5).long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        weights = folder / "models" / "model.pt"
        torch.save(network.state_dict(), weights)
        ckpt_export(
            net_id="network_def",
            filepath=str(folder / "models" / "model.ts"),
            ckpt_file=str(weights),
            meta_file=str(folder / "configs" / "metadata.json"),
            config_file=str(folder / "configs" / "inference.json"),
        )
    return folder


def found_in(folder: Path, scan: Image) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return segment_with(folder, scan, device="cpu")


@pytest.mark.parametrize("weights", ["model.pt", "model.ts"])
def test_a_bundle_made_by_monai_finds_what_its_network_knows_on_the_grid_of_the_scan(
    weights: str, made_by_monai: Path, tmp_path: Path
) -> None:
    bundle = write_configs(tmp_path / "bundle", INFERENCE)
    (bundle / "models" / weights).write_bytes((made_by_monai / "models" / weights).read_bytes())
    scan = bright_cube()
    result = found_in(bundle, scan)
    truth = scan.array > 50
    found = result.labels.array == 1
    assert result.labels.geometry == scan.geometry
    assert found[truth].all()
    assert found.sum() < 2.5 * truth.sum()  # a halo of less than a voxel
    middles = [np.argwhere(mask).mean(0) for mask in (truth, found)]
    assert np.abs(middles[0] - middles[1]).max() < 1  # voxels
    assert [segment.name for segment in result.segments] == ["Leber 肝"]
    assert (result.model["name"], result.model["version"]) == ("Bright things", "0.3.1")
    assert result.rows[0].agreement > 0.6


def test_the_scan_as_monai_prepares_it_lies_where_the_scan_lies(made_by_monai: Path) -> None:
    from DeepRegLib.segmentation import by_monai

    distance = np.linalg.norm(TURNED.points() - TURNED.centre - [1.3, -0.7, 0.4], axis=-1)
    scan = Image(np.exp(-((distance / 7) ** 2) / 2).astype(np.float32), TURNED, "a soft ball")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = by_monai._prepared(read_monai_bundle(made_by_monai), scan)
    grid = by_monai._geometry(np.asarray(seen.affine), seen.shape[1:])
    prepared = Image(np.ascontiguousarray(seen[0].numpy().T), grid)
    middles = []
    for image in (scan, prepared):
        weights = image.array.astype(np.float64)
        places = image.geometry.points()
        middles.append((places * weights[..., None]).sum((0, 1, 2)) / weights.sum())
    assert np.abs(middles[0] - middles[1]).max() < 0.1  # mm, where voxels are 2 to 4 mm wide


def test_a_zip_file_of_it_runs_as_a_task_of_the_engine(made_by_monai: Path, tmp_path: Path) -> None:
    archive = tmp_path / "bright.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(made_by_monai.rglob("*")):
            file.write(path, f"bright/{path.relative_to(made_by_monai).as_posix()}")
    scan = bright_cube()
    request = SEGMENT_WITH.request_of(SEGMENT_WITH.request_message(ModelRequest(scan, str(archive), device="cpu"), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = SEGMENT_WITH.run(request, lambda *_: None, lambda: False)
    result = SEGMENT_WITH.result_of(SEGMENT_WITH.result_message(answer, 1), request)
    assert result.model == answer.model
    np.testing.assert_array_equal(result.labels.array, found_in(made_by_monai, scan).labels.array)


HOSTILE = {
    "a shell": (with_transform({"_target_": "os.system", "command": "touch owned"}), "os.system"),
    "a shell where nothing is used": (with_section(handlers=[{"_target_": "os.system", "command": "x"}]), "os.system"),
    "a class outside of the list": (with_transform({"_target_": "Lambdad", "keys": "image", "func": "x"}), "Lambdad"),
    "a class of another home": (with_section(network_def={"_target_": "torch.hub.UNet"}), "torch.hub.UNet"),
    "an expression": (
        with_transform({"_target_": "EnsureTyped", "keys": "$__import__('os').system('touch owned')"}),
        "would have to be executed",
    ),
    "an expression for a network": (with_section(network_def="$open('owned', 'w')"), "would have to be executed"),
    "a class inside an argument": (
        with_transform({"_target_": "EnsureTyped", "keys": {"_target_": "pathlib.Path"}}),
        "pathlib.Path",
    ),
    "a class of MONAI inside an argument": (
        with_transform({"_target_": "EnsureTyped", "keys": {"_target_": "monai.apps.download_url", "url": "x"}}),
        "download_url",
    ),
    "a path outside of the folder": (with_section(weights="models/../../../etc/passwd"), "leads out of its folder"),
    "a circle": (with_section(network_def="@a", a="@b", b="@a"), "circle"),
    "a reference to nothing": (with_section(network_def="@nothing"), "which it has not"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_hostile_configuration_names_is_not_done_and_the_reason_is_said(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, said = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it was done"))
    with pytest.raises(ModelError, match=said):
        read_monai_bundle(write_configs(tmp_path / "bundle", table))
    assert not (tmp_path / "owned").exists()


def test_a_configuration_deeper_than_python_counts_is_refused() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ModelError, match="too deep"):
        monai_config(with_section(handlers=deep))


def test_references_to_lists_of_references_are_not_followed_for_ever() -> None:
    lists = {f"l{number}": [f"@l{number + 1}"] * 8 for number in range(24)}
    network = {**INFERENCE["network_def"], "channels": "@l0"}
    with pytest.raises(ModelError, match="too many values"):
        monai_config(with_section(network_def=network, l24=[1], **lists))


def test_a_zip_file_whose_entries_lead_out_of_it_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "slip.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("configs/inference.json", "{}")
        file.writestr("../../owned", "x")
    assert is_monai_bundle(archive)
    with pytest.raises(ModelError, match="leads out of its folder"):
        read_monai_bundle(archive)


def test_weights_that_are_a_link_to_elsewhere_are_refused(tmp_path: Path) -> None:
    bundle = write_configs(tmp_path / "bundle", INFERENCE)
    (tmp_path / "secret").write_bytes(b"x")
    try:
        (bundle / "models" / "model.pt").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("links cannot be made here")
    with pytest.raises(ModelError, match="outside of its folder"):
        read_monai_bundle(bundle)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def test_pickled_weights_are_read_without_being_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = write_configs(tmp_path / "bundle", INFERENCE)
    with zipfile.ZipFile(bundle / "models" / "model.pt", "w") as file:
        file.writestr("model/data.pkl", pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError, match="holds no table of tensors"):
        read_monai_bundle(bundle)
    assert not (tmp_path / "owned").exists()
