"""Training configurations: what ships, what a user's file may hold, and what its mistakes are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.networks import build_network
from DeepRegLib.training import config_names, load_config
from DeepRegLib.training.config import check_resumable, config_from_dict, config_to_dict


@pytest.mark.parametrize("name", config_names())
def test_a_shipped_configuration_survives_a_round_trip_and_its_network_fits_its_grid(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert config.purpose.endswith(".")
    assert config_from_dict(config_to_dict(config)) == config
    multiple = build_network(config.network.architecture, config.network.arguments).multiple
    sizes = {config.size_at(0), config.size_at(config.optimisation.iterations - 1)}
    assert all(n % int(multiple) == 0 for size in sizes for n in size)  # type: ignore[arg-type]


def test_a_file_needs_only_what_differs_and_its_paths_are_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "my-knee.toml"
    path.write_text(
        '[network]\narchitecture = "pyramid"\n[network.arguments]\nchannels = [4, 8]\n'
        '[sources]\nimages = 1\nfolder = "knees"\n[validation]\nfolder = "/elsewhere"\n',
        encoding="utf-8",
    )
    config = load_config(path)
    assert config.name == "my-knee"
    assert dict(config.network.arguments) == {"channels": [4, 8]}
    assert config.sources.folder == str(tmp_path / "knees")
    assert config.validation.folder == "/elsewhere"
    assert config.network.start == ""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("speed = 3", "speed"),
        ("name = ''", "name"),
        ("[images]\nsize = [96, 96]", "images.size"),
        ("[images]\nsize = [8, 96, 96]", "images.size"),
        ("[images]\nspacing = 0", "images.spacing"),
        ("[images]\nearly = 0.5\nearly_size = [64, 128, 64]", "images.early_size"),
        ("[sources]\nshapes = 0", "sources.shapes"),
        ("[sources]\nmaps = 1", "sources.folder"),
        ("[shapes]\nregions = 1", "shapes.regions"),
        ("[shapes]\nradii = [0.4, 0.2]", "shapes.radii"),
        ("[deformation]\namplitudes = [1.0]", "deformation.amplitudes"),
        ("[deformation]\nsteepest = 3", "deformation.steepest"),
        ("[appearance]\nnoise = -1", "appearance.noise"),
        ("[appearance]\nthickness = 0", "appearance.thickness"),
        ("[losses]\nlabels = 0\nendpoint = 0", "losses.labels"),
        ("[losses]\ninverse = -1", "losses.inverse"),
        ("[optimisation]\nrate = 2", "optimisation.rate"),
        ("[optimisation]\nbatch = 0", "optimisation.batch"),
        ("[optimisation]\naverage = 1", "optimisation.average"),
        ("[record]\nkeep = 0", "record.keep"),
        ("[losses]\nplaces = 512", "losses.places"),
        ("[network]\narguments = 3", "network.arguments"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(text: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert "wrong.toml" in caught.value.message
    assert f"{key} " in f"{caught.value.message} "
    assert caught.value.hint


def test_an_unknown_name_tells_those_there_are() -> None:
    with pytest.raises(InputError, match="anatomy"):
        load_config("nothing-of-the-kind")


def test_a_run_goes_on_only_under_what_it_was_begun_with() -> None:
    config = config_from_dict({"name": "x"})
    check_resumable(replace(config, record=replace(config.record, keep=7), purpose="Another."), config)
    other = replace(config, optimisation=replace(config.optimisation, rate=0.1), name="y")
    with pytest.raises(InputError, match=r"name, optimisation\.rate"):
        check_resumable(other, config)
