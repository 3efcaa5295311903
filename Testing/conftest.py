"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# OpenMP reads this when torch loads it: threads that spin while they wait take a busy machine's cores from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared real pairs; mark tests that use it with `@pytest.mark.data`."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the shared real pairs are not at {SHARED_DATA}")
    return SHARED_DATA
