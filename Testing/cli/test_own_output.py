"""An input that lies in the folder of the results, under the name of one of them, is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.cli.conftest import Deepreg, Files
from Testing.segmentation.tiny_model import tiny_model

MINE = b"mine"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder for results in which every name that some result has is taken by a file of the user's."""
    folder = tmp_path / "out"
    folder.mkdir()
    names = ("segmentation.seg.nrrd", "agreement.nii.gz", "confidence.nii.gz", "synthetic.nii.gz", "result.json")
    more = ("template.nii.gz", "labels.nii.gz", "template.json", "reference.nii.gz", "stabilised.nii.gz", "series.json")
    for name in (*names, *more, "warped.nii.gz"):
        (folder / name).write_bytes(MINE)
    return folder


def refused(deepreg: Deepreg, out: Path, *words: object) -> None:
    before = sorted(path.name for path in out.iterdir())
    outcome = deepreg(*words, "-o", out, "--overwrite", "--json")
    assert outcome.code == 2
    assert "input of this run" in outcome.err
    assert sorted(path.name for path in out.iterdir()) == before
    assert {path.read_bytes() for path in out.iterdir() if path.is_file()} == {MINE}


@pytest.mark.parametrize("name", ["agreement.nii.gz", "segmentation.seg.nrrd", "confidence.nii.gz"])
def test_segment(name: str, deepreg: Deepreg, out: Path, tmp_path: Path) -> None:
    refused(deepreg, out, "segment", out / name, "--model", tiny_model(tmp_path / "tiny"))


def test_segment_by_an_atlas_that_is_a_link_into_it(deepreg: Deepreg, files: Files, out: Path, tmp_path: Path) -> None:
    atlas = tmp_path / "atlases" / "one"
    atlas.mkdir(parents=True)
    (atlas / "image.nii.gz").symlink_to(out / "agreement.nii.gz")
    (atlas / "labels.nii.gz").symlink_to(files.fixed_labels)
    refused(deepreg, out, "segment", files.fixed, "--atlas", tmp_path / "atlases")


def test_translate(deepreg: Deepreg, out: Path) -> None:
    refused(deepreg, out, "translate", out / "synthetic.nii.gz", "--model", "any")


@pytest.mark.parametrize("frames", [("reference.nii.gz",), ("stabilised.nii.gz", "reference.nii.gz")])
def test_series(frames: tuple[str, ...], deepreg: Deepreg, out: Path) -> None:
    refused(deepreg, out, "series", *(out / name for name in frames))


def test_labels_of_a_series(deepreg: Deepreg, files: Files, out: Path) -> None:
    refused(deepreg, out, "series", files.fixed, files.moving, "--labels", out / "reference.nii.gz")


@pytest.mark.parametrize("how", ["members", "labels", "initial", "a link"])
def test_template(how: str, deepreg: Deepreg, files: Files, out: Path, tmp_path: Path) -> None:
    members = tmp_path / "members"
    members.mkdir()
    for name, path in (("a.nii.gz", files.fixed), ("b.nii.gz", files.moving)):
        (members / name).write_bytes(path.read_bytes())
    if how == "a link":
        (members / "c.nii.gz").symlink_to(out / "template.nii.gz")
    words: dict[str, tuple[object, ...]] = {
        "members": (out,),
        "labels": (members, "--labels", out),
        "initial": (members, "--initial", out / "template.nii.gz"),
        "a link": (members,),
    }
    refused(deepreg, out, "template", *words[how])


def test_register(deepreg: Deepreg, files: Files, out: Path) -> None:
    refused(deepreg, out, "register", files.fixed, out / "warped.nii.gz")
