"""`deepreg discordance`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from DeepRegLib.image import read_image, write_image
from DeepRegLib.transforms import write_transform
from Testing.phantom.test_phantom import body
from Testing.quality.test_discordance import consistent


def test_registrations_that_agree_make_an_empty_map_and_a_missing_one_is_told(deepreg, tmp_path: Path) -> None:
    write_image(body(), tmp_path / "a.nii.gz")
    words = []
    for (first, last), transform in consistent(4).items():
        name = f"{'abcd'[first]}{'abcd'[last]}.tfm"
        write_transform(transform, tmp_path / name)
        words.append(f"{'abcd'[first]}:{'abcd'[last]}:{tmp_path / name}")
    rest = ("--of", "a", "-o", tmp_path / "map.nii.gz", "--json")
    outcome = deepreg("discordance", tmp_path / "a.nii.gz", *words, *rest)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["p95_mm"] < 1e-4
    assert np.abs(read_image(tmp_path / "map.nii.gz").array).max() < 1e-4
    outcome = deepreg("discordance", tmp_path / "a.nii.gz", *words[:4], *rest)
    assert (outcome.code, "is missing" in outcome.err) == (2, True)
    outcome = deepreg("discordance", tmp_path / "a.nii.gz", "a:b", *rest)
    assert (outcome.code, "FROM:TO:FILE" in outcome.err) == (2, True)
