"""A template: unbiased, the same in any order, who fails is left out; visits compared from the middle."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError, RegistrationError
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.recipes import recipe_to_toml
from DeepRegLib.series.building import build_template
from DeepRegLib.series.template import Template, change_between
from DeepRegLib.transforms import read_transform
from Testing.series.breathing import GRID, displaced, frame, inner_points, quick_recipe

AMOUNTS = (-4.0, 4.0)


def visits() -> list[Image]:
    return [frame(amount, f"visit {n}") for n, amount in enumerate(AMOUNTS)]


def halves(amount: float) -> Image:
    """Return the upper half of a member as a label map."""
    upper = displaced(GRID.points(), amount)[..., 2] > GRID.centre[2]
    return Image((1 + upper).reshape(GRID.shape).astype(np.uint8), GRID, "halves")


@functools.cache
def mean_of_two() -> Template:
    labels = [halves(amount) for amount in AMOUNTS]
    return build_template(visits(), quick_recipe(), passes=1, labels=labels, device="cpu")


def test_the_shape_is_the_mean_of_the_members() -> None:
    template = mean_of_two()
    assert template.bias < 0.1
    assert [row.used for row in template.rows] == [True] * 2
    at = inner_points()
    lie = [t.apply_to_points(at) for t in template.transforms if t is not None]
    assert np.linalg.norm(np.mean(lie, axis=0) - at, axis=-1).mean() < 0.2
    assert np.linalg.norm(lie[1] - lie[0], axis=-1).mean() > 2
    assert template.shape_variability.array.max() > 1
    middle = GRID.to_index(GRID.centre).round().astype(int)[::-1]
    assert template.labels is not None
    assert template.labels.array[middle[0] + 4, middle[1], middle[2]] == 2
    assert template.labels.array[middle[0] - 4, middle[1], middle[2]] == 1


def test_the_order_of_visits_changes_no_map() -> None:
    forward = mean_of_two()
    back = build_template(visits()[::-1], quick_recipe(), passes=1, device="cpu")
    change, other = change_between(forward, 0, 1).array, change_between(back, 1, 0).array
    assert np.abs(change - other).max() < 0.005
    assert np.abs(change_between(forward, 1, 0).array * change - 1).max() < 0.005
    assert np.abs(np.log(change)).max() > 0.05


def test_who_cannot_be_registered_is_left_out_and_named() -> None:
    flat = Image(np.zeros(GRID.shape, np.float32), GRID, "flat")
    template = build_template([*visits(), flat], quick_recipe(), passes=1, initial=0, device="cpu")
    assert [row.used for row in template.rows] == [True, True, False]
    assert template.transforms[2] is None
    assert "flat" in template.verdict.reasons[0]
    with pytest.raises(InputError, match="Member 2 is no part"):
        change_between(template, 0, 2)
    with pytest.raises(RegistrationError, match="0 of 2 members"):
        build_template([flat, flat], quick_recipe(), passes=1, initial=visits()[0], device="cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": [1.0, -1.0]}, "The weights are"),
        ({"initial": 7}, "There is no member 7"),
        ({"initial": "best"}, "no initial template"),
        ({"passes": 0}, "number of passes is 0"),
        ({"labels": [halves(0.0)]}, "1 label maps for 2 members"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_template(visits(), quick_recipe(), device="cpu", **change)
    with pytest.raises(InputError, match="There are 1 members"):
        build_template(visits()[:1], quick_recipe())


def test_the_command_writes_a_folder_and_goes_on_from_what_is_there(tmp_path: Path, capsys) -> None:
    pytest.importorskip("typer")
    from DeepRegLib.cli import main

    (tmp_path / "visits").mkdir()
    for image in visits():
        write_image(image, tmp_path / "visits" / f"{image.name}.nii.gz")
    (tmp_path / "quick.toml").write_text(recipe_to_toml(quick_recipe()), encoding="utf-8")
    words = [
        "template",
        str(tmp_path / "visits"),
        "-o",
        str(tmp_path / "out"),
        "--recipe",
        str(tmp_path / "quick.toml"),
    ]
    words += ["--passes", "1", "--longitudinal", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert [member["name"] for member in table["members"]] == ["visit 0.nii.gz", "visit 1.nii.gz"]
    assert all((tmp_path / "out" / name).is_file() for name in table["files"])
    assert "change_0000_0001.nii.gz" in table["files"]
    assert str(tmp_path) not in json.dumps(table)
    there, back = (read_transform(tmp_path / "out" / "member_0001" / f"{kind}.h5") for kind in ("transform", "inverse"))
    again = back.apply_to_points(there.apply_to_points(inner_points()))
    assert np.linalg.norm(again - inner_points(), axis=-1).mean() < 0.1
    assert read_image(tmp_path / "out" / "template.nii.gz").geometry.is_close(GRID)
    assert not list((tmp_path / "out").rglob("found.*"))
    assert main(words) == 2
