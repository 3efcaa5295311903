"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from DeepRegLib.process_setup import prepare_process

if TYPE_CHECKING:
    import slicer

    from Testing.desktop.running import Desktop

# As a registration from the command line or the panel does.
prepare_process()
# Nearly all tests work on small tensors, where waking a second thread takes longer than it saves. The processes that
# tests start, workers among them, do as they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test that fails fails again: the examples are the same in each run.
settings.register_profile("derandomized", derandomize=True)
settings.load_profile("derandomized")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the shared real pairs; mark tests that use it with `@pytest.mark.data`."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the shared real pairs are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture
def scene() -> Iterator[slicer.vtkMRMLScene]:
    """Yield MRML's real scene without the application; empty it after the test."""
    pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
    from Testing.desktop.scene import boot_scene, clear_scene

    yield boot_scene()
    clear_scene()


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    """Yield the harness in which a module's panel runs without the application; empty it after the test."""
    pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)
    from Testing.desktop import boot

    running = boot()
    yield running
    running.close()
