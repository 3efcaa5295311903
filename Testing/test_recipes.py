"""Recipes: what ships, what a user's file may hold, and what its mistakes are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from DeepRegLib.errors import InputError, RecipeError
from DeepRegLib.recipes import (
    Deformable,
    Recipe,
    Translate,
    load_recipe,
    models_of,
    recipe_from_dict,
    recipe_names,
    recipe_to_dict,
    recipe_to_toml,
)

PROMISED = {"auto", "rigid", "affine", "brain-mr", "multimodal", "fast", "abdomen", "ultrasound"}


def test_the_promised_recipes_ship_with_auto_first() -> None:
    assert set(recipe_names()) >= PROMISED
    assert recipe_names()[0] == "auto"


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_a_shipped_recipe_says_what_it_is_for_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.purpose.endswith(".")
    assert recipe_from_dict(recipe_to_dict(recipe)) == recipe
    copy = tmp_path / "copy.toml"
    copy.write_text(recipe_to_toml(recipe), encoding="utf-8")
    assert load_recipe(copy) == recipe
    assert load_recipe(str(copy)) == recipe
    assert load_recipe(recipe) is recipe


def test_a_name_too_long_for_a_path_is_an_unknown_one_told_in_a_line() -> None:
    with pytest.raises(RecipeError, match=r"no recipe named 'aaa.* \.\.\.'") as caught:
        load_recipe("a" * 5000)
    assert len(caught.value.message) < 1000


def test_linear_recipes_do_not_deform() -> None:
    assert load_recipe("rigid").linear.model == "rigid"
    assert load_recipe("affine").linear.model == "affine"
    assert not load_recipe("rigid").deformable.enabled
    assert not load_recipe("affine").deformable.enabled


@pytest.mark.parametrize(
    "purpose", ['with "quotes"', "a\\b", "two\nlines", "tab\there", "größer als 3 µm", "#no comment"]
)
def test_any_text_survives_the_round_trip(purpose: str, tmp_path: Path) -> None:
    recipe = replace(load_recipe("fast"), purpose=purpose)
    path = tmp_path / "r.toml"
    path.write_text(recipe_to_toml(recipe), encoding="utf-8", newline="\n")
    assert load_recipe(path) == recipe


def test_a_users_file_needs_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "my-knee.toml"
    path.write_text("[deformable]\nstep = 1\nshrink = [2, 1]\niterations = [5, 3]\n", encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.name == "my-knee"
    assert recipe.deformable.step == 1.0
    assert isinstance(recipe.deformable.step, float)
    assert recipe.deformable.shrink == (2, 1)
    assert recipe.linear == Recipe("x").linear


def test_a_file_saved_by_windows_notepad_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b'\xef\xbb\xbfpurpose = "x"\r\n[search]\r\nenabled = false\r\n')
    assert not load_recipe(path).search.enabled


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("speed = 3", "speed"),
        ("[deformable]\nstepp = 0.5", "deformable.stepp"),
        ("[deformables]\nstep = 0.5", "deformables"),
        ("deformable = 3", "deformable"),
        ("[deformable]\nstep = 2.0", "deformable.step"),
        ("[deformable]\nstep = nan", "deformable.step"),
        ("[deformable]\nstep = '0.5'", "deformable.step"),
        ("[deformable]\nstep = true", "deformable.step"),
        ("[deformable]\nenabled = 1", "deformable.enabled"),
        ("[deformable]\nradius = 2.0", "deformable.radius"),
        ("[deformable]\nshrink = [1, 2, 4]", "deformable.shrink"),
        ("[deformable]\nshrink = []\niterations = []", "deformable.shrink"),
        ("[deformable]\nshrink = [4, 'two', 1]", "deformable.shrink[1]"),
        ("[deformable]\nshrink = 4", "deformable.shrink"),
        ("[deformable]\nlandmark_pull = -1.0", "deformable.landmark_pull"),
        ("[deformable]\nlandmark_pull = nan", "deformable.landmark_pull"),
        ("[deformable]\nlabel_pull = 101.0", "deformable.label_pull"),
        ("[deformable]\niterations = [10]", "deformable.iterations"),
        ("[deformable]\niterations = [10, -1, 3]", "deformable.iterations"),
        ("[deformable]\nsimilarity = 'lnc'", "deformable.similarity"),
        ("[deformable]\nsimilarity = 'features'", "deformable.features"),
        ("[deformable]\nsimilarity = 'lncc'\nfeatures = 'any-contrast'", "deformable.features"),
        ("[deformable]\nfeatures = 'any-contrast'", "deformable.features"),
        ("[deformable]\nparametrisation = 'spline'", "deformable.parametrisation"),
        ("[linear]\nmodel = 'elastic'", "linear.model"),
        ("[linear]\nvoxels = 10", "linear.voxels"),
        ("[linear]\niterations = 0", "linear.iterations"),
        ("[prepare]\nclamp = [99, 1]", "prepare.clamp"),
        ("[prepare]\nclamp = [1, 50, 99]", "prepare.clamp"),
        ("[search]\nangle = 1", "search.angle"),
        ("[search]\ncandidates = 1000", "search.candidates"),
        ("[model]\nname = 3", "model.name"),
        ("[model]\nname = 'brain'\n[deformable]\nenabled = false", "model.name"),
        ("[model]\nconsistent = 1", "model.consistent"),
        ("[large_motion]\nsimilarity = 'ncc'", "large_motion.similarity"),
        ("[large_motion]\nshrink = [2, 4]", "large_motion.shrink"),
        ("[large_motion]\nshrink = [4, 1]", "large_motion.shrink"),
        ("[large_motion]\nradius = [4]", "large_motion.radius"),
        ("[large_motion]\nradius = [4, 9]", "large_motion.radius"),
        ("name = ''", "name"),
    ],
)
def test_a_mistake_is_named_by_file_and_key(text: str, key: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert "wrong.toml" in caught.value.message
    assert f"{key} " in f"{caught.value.message} "
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_similarity_by_its_former_name_is_refused_with_the_new_one():
    with pytest.raises(RecipeError, match="'matched'") as caught:
        Deformable(similarity="matched")
    assert caught.value.hint == "Give 'lncc+ngf', as it is called now."


@pytest.mark.parametrize(
    "content",
    [b"step = ", b"\xff\xfe\x00bad", b"[a\n", b"name = 'a'\nname = 'b'\n"],
    ids=["cut", "binary", "table", "twice"],
)
def test_a_file_that_is_not_toml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"wrong\.toml is not a TOML file") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["atuo", "no/such/file.toml", "", "."])
def test_an_unknown_recipe_lists_the_known_ones(source: str) -> None:
    with pytest.raises(InputError, match="auto, ") as caught:
        load_recipe(source)
    assert repr(source) in str(caught.value)


def test_plain_values_without_a_name_are_refused() -> None:
    with pytest.raises(RecipeError, match="name"):
        recipe_from_dict({"purpose": "x"})


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 60_000, "x = 1e999999999999", "a" + ".a" * 20_000 + " = 1", "\x00", "x = 0x" + "f" * 9000]
)
def test_a_hostile_recipe_is_refused_in_a_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 1500
    assert str(caught.value).isprintable()


def test_every_model_that_a_recipe_asks_is_named_and_no_filter() -> None:
    recipe = load_recipe("auto")
    assert models_of(recipe) == ("anatomy",)
    cleaned = replace(recipe, prepare=replace(recipe.prepare, denoise="clean"), translate=Translate("t2-as-t1"))
    assert models_of(cleaned) == ("anatomy", "t2-as-t1", "clean")
    assert models_of(replace(recipe, prepare=replace(recipe.prepare, denoise="curvature"))) == ("anatomy",)
