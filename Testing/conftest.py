"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared real pairs; mark tests that use it with `@pytest.mark.data`."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the shared real pairs are not at {SHARED_DATA}")
    return SHARED_DATA
