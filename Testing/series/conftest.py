"""Comparing poses takes nine tenths of a small registration, and has tests of its own."""

from __future__ import annotations

import pytest

from DeepRegLib.judgement import Inherited
from DeepRegLib.series.members import NOT_COMPARED


@pytest.fixture(autouse=True)
def poses_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge without a look at other poses."""
    monkeypatch.setattr("DeepRegLib.finishing.compare_start", lambda *_given, **_named: Inherited(NOT_COMPARED))
