"""What a bundle says of itself: every key is checked, and a mistake is named in a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.models.manifest import (
    NEEDED,
    Manifest,
    ModelInput,
    check_library,
    manifest_from_dict,
    manifest_to_dict,
    read_manifest,
    write_manifest,
)
from DeepRegLib.segments import Segment
from DeepRegLib.version import VERSION
from Testing.models.tiny import MANIFEST

TURNED = replace(MANIFEST, input=ModelInput(1.5, (64, 96, 32), orientation="SPL"))
ANY_SCALE = replace(MANIFEST, input=ModelInput(across=96))
SIZED = replace(MANIFEST, input=ModelInput(1.5, (64, 96, 32)), weights_sha256="0f" * 32, parameters=7)


def changed(key: str, value: Any) -> dict[str, Any]:
    """Return the values of a manifest with one changed; a dot in the key leads into the input."""
    table = json.loads(json.dumps(manifest_to_dict(SIZED)))
    place = table["input"] if "." in key else table
    place[key.rpartition(".")[2]] = value
    return table


@pytest.mark.parametrize("manifest", [MANIFEST, SIZED, ANY_SCALE, TURNED])
def test_a_written_manifest_is_read_back(manifest: Manifest, tmp_path: Path) -> None:
    write_manifest(manifest, tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert set(json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))) == set(NEEDED)


@settings(deadline=None)
@given(text=st.text(min_size=1).filter(str.strip), number=st.floats(0.01, 50), size=st.integers(1, 2048))
def test_any_text_and_number_survives_the_round_trip(text: str, number: float, size: int) -> None:
    manifest = replace(
        SIZED, limits=text, arguments={"a": [text, number, None]}, input=ModelInput(number, (size, 1, 2))
    )
    assert manifest_from_dict(json.loads(json.dumps(manifest_to_dict(manifest)))) == manifest


@pytest.mark.parametrize("size", [0, [0, 0, 0], None])
def test_a_size_of_zero_is_any_size(size: Any) -> None:
    assert manifest_from_dict(changed("input.size", size)).input.size is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "1"),
        ("format", True),
        ("name", ""),
        ("name", "Brain"),
        ("name", "../brain"),
        ("name", "brain."),
        ("name", "a" * 65),
        ("name", 3),
        ("version", " "),
        ("version", 1.2),
        ("task", "painting"),
        ("segments", 3),
        ("architecture", None),
        ("arguments", []),
        ("input", 2.0),
        ("input.spacing", 0),
        ("input.across", -1),
        ("input.across", 5),
        ("input.across", 96.0),
        ("input.spacing", -1.0),
        ("input.spacing", float("nan")),
        ("input.spacing", 10**400),
        ("input.spacing", True),
        ("input.spacing", "2"),
        ("input.size", [64, 64]),
        ("input.size", [64, 64, 0]),
        ("input.size", [64, 64, 1.5]),
        ("input.size", [64, 64, 10**9]),
        ("input.size", 64),
        ("input.intensity", "z-score"),
        ("input.intensity", 1),
        ("input.orientation", "LP"),
        ("input.orientation", "LPSS"),
        ("input.orientation", "LRS"),
        ("input.orientation", "lps"),
        ("input.orientation", 3),
        ("input.colour", 1),
        ("trained_on", ""),
        ("licence", ["MIT"]),
        ("intended_use", {}),
        ("limits", ""),
        ("weights_sha256", "0F" * 32),
        ("weights_sha256", "abc"),
        ("minimum_library", "soon"),
        ("parameters", -1),
        ("parameters", 1.5),
        ("speed", 3),
    ],
)
def test_a_mistake_is_named_by_file_and_key(key: str, value: Any) -> None:
    with pytest.raises(ModelError) as caught:
        manifest_from_dict(changed(key, value), "model.json")
    assert caught.value.message.startswith("model.json: ")
    assert f"{key} " in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["spacing", "size"])
def test_a_network_for_any_scale_has_neither_spacing_nor_size(key: str) -> None:
    table = {"spacing": 0, "intensity": "percentile", "across": 96, key: changed("name", "a")["input"][key]}
    with pytest.raises(ModelError, match=f"input.{key} is .*") as caught:
        manifest_from_dict(changed("input", table))
    assert "input.across" in caught.value.hint


@pytest.mark.parametrize("key", [*NEEDED, "input.spacing", "input.intensity"])
def test_a_missing_key_is_named(key: str) -> None:
    table = changed("name", "brain")
    place = table["input"] if "." in key else table
    del place[key.rpartition(".")[2]]
    with pytest.raises(ModelError, match=rf"{key} is (missing|None)"):
        manifest_from_dict(table)


def test_a_later_format_asks_for_a_later_library_whatever_else_it_has() -> None:
    with pytest.raises(ModelError, match=r"format is 2.*Update DeepReg"):
        manifest_from_dict({"format": 2, "something": "new"})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'"text"', b"[" * 100_000])
def test_a_file_that_is_no_table_is_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.json") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model\.json"):
        read_manifest(tmp_path)
    with pytest.raises(ModelError, match=r"holds no model\.json"):
        read_manifest(tmp_path / "nowhere")


def test_arguments_that_json_does_not_know_are_refused(tmp_path: Path) -> None:
    for value in (object(), float("nan")):
        with pytest.raises(ModelError, match="arguments"):
            write_manifest(replace(MANIFEST, arguments={"a": value}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("needed", "here", "enough"),
    [
        (VERSION, VERSION, True),
        ("0.9.1", "0.10.0", True),
        ("0.10", "0.9.7", False),
        ("1.2", "1.2.0.dev3", True),
        ("2", "1.99", False),
    ],
)
def test_the_library_must_be_as_new_as_the_model_wants(
    needed: str, here: str, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("DeepRegLib.models.manifest.VERSION", here)
    manifest = replace(MANIFEST, minimum_library=needed)
    if enough:
        check_library(manifest)
        return
    with pytest.raises(ModelError, match=rf"needs DeepReg {needed} or newer; this is {here}"):
        check_library(manifest)


def test_the_segments_of_a_segmentation_are_read_back_and_must_fit_its_classes(tmp_path: Path) -> None:
    segments = (Segment(2, "Leber 肝", (0.5, 0.25, 0.0), "SCT^10200004^Liver"), Segment(7, "nerve", (0.0, 0.0, 1.0)))
    labelling = replace(MANIFEST, task="segmentation", arguments={"out": 3}, segments=segments)
    write_manifest(labelling, tmp_path)
    assert read_manifest(tmp_path) == labelling
    for wrong in ({"segments": ()}, {"segments": segments[::-1]}, {"arguments": {"out": 2}}):
        with pytest.raises(ModelError, match=next(iter(wrong))):
            replace(labelling, **wrong)
    with pytest.raises(ModelError, match="segments"):
        replace(MANIFEST, segments=segments)
