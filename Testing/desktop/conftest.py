"""Fixtures for the tests of the harness itself."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

SAMPLE = Path(__file__).parent / "sample_module" / "SampleModule.py"


@pytest.fixture
def qt(desktop) -> ModuleType:
    """Return Slicer's `qt` module, which exists once a desktop runs."""
    return importlib.import_module("qt")


@pytest.fixture
def ctk(desktop) -> ModuleType:
    """Return Slicer's `ctk` module."""
    return importlib.import_module("ctk")


@pytest.fixture
def sample(desktop):
    """Return the sample module, loaded and shown."""
    loaded = desktop.load_module(SAMPLE)
    desktop.show(loaded.panel, (420, 520))
    return loaded
