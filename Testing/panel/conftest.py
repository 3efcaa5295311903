"""The panel on the desktop harness: the real module, the real scene, and an engine that is fake or real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from Testing.desktop.running import Desktop
    from Testing.panel.opened import OpenedPanel

MODULE = Path(__file__).resolve().parents[2] / "DeepReg" / "DeepReg.py"


@pytest.fixture
def desktop() -> Iterator[Desktop]:
    """Start everything around the module, with an empty scene."""
    pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
    pytest.importorskip("PySide6", reason="PySide6 is not installed", exc_type=ImportError)
    from Testing.desktop import boot

    desktop = boot()
    yield desktop
    desktop.close()


@pytest.fixture
def opened(desktop: Desktop) -> Iterator[OpenedPanel]:
    """Open the module as a user does."""
    from Testing.panel.opened import OpenedPanel

    panel = OpenedPanel(desktop, MODULE)
    yield panel
    panel.close()
