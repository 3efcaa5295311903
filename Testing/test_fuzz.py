"""Damaged files of every kind that is read: each is read or refused in one line, whatever is wrong with it.

`make benchmark ARGS=fuzz` does the same for minutes, with memory and time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from Testing.damage import KINDS, READ, REFUSED, damaged, outcome
from Testing.damage_of_doors import DOOR_KINDS, TOLERANT
from Testing.damage_of_results import RESULT_KINDS

HERE = {name: kind for name, kind in KINDS.items() if not kind.elsewhere}
ELSEWHERE = {name: kind for name, kind in KINDS.items() if kind.elsewhere}
EVERY = {**KINDS, **RESULT_KINDS, **DOOR_KINDS, **TOLERANT}


@pytest.mark.parametrize("name", EVERY)
def test_a_whole_file_is_read(name: str, tmp_path: Path) -> None:
    path, _ = EVERY[name].make(tmp_path)
    assert outcome(EVERY[name], path) == READ


@pytest.mark.parametrize("name", [*HERE, *RESULT_KINDS, *DOOR_KINDS])
def test_damaged_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    kind = EVERY[name]
    path, target = kind.make(tmp_path)
    whole = target.read_bytes()
    found = set()
    for seed in range(60 if name in HERE else 25):
        target.write_bytes(damaged(whole, np.random.default_rng(seed)))
        found.add(outcome(kind, path))
    assert REFUSED in found


@pytest.mark.parametrize("name", TOLERANT)
def test_what_an_earlier_run_left_damaged_refuses_no_later_one(name: str, tmp_path: Path) -> None:
    kind = TOLERANT[name]
    path, target = kind.make(tmp_path)
    whole = target.read_bytes()
    for seed in range(40):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(damaged(whole, np.random.default_rng(seed)))
        assert outcome(kind, path) == READ


@pytest.mark.parametrize("name", ELSEWHERE)
def test_damaged_files_of_itks_readers_end_no_more_than_a_child(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    path, target = kind.make(tmp_path)
    whole = target.read_bytes()
    for share in (0.3, 0.6, 0.95):
        target.write_bytes(whole[: int(share * len(whole))])
        assert outcome(kind, path) == REFUSED, share
