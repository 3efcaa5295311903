"""The panel on the desktop harness: the real module, the real scene, and an engine that is played or real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from Testing.desktop.running import Desktop
    from Testing.panel.opened import OpenedPanel
    from Testing.panel.played import PlayedEngine

MODULE = Path(__file__).resolve().parents[2] / "DeepReg" / "DeepReg.py"


@pytest.fixture
def opened(desktop: Desktop) -> Iterator[OpenedPanel]:
    """Open the module as a user does."""
    from Testing.panel.opened import OpenedPanel

    panel = OpenedPanel(desktop, MODULE)
    yield panel
    panel.close()


@pytest.fixture
def played(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch) -> PlayedEngine:
    """Let the test play the engine behind the opened panel; two volumes are loaded."""
    from Testing.panel.played import PlayedEngine

    engine = PlayedEngine(opened)
    monkeypatch.setattr(opened.engine.client, "_make_transport", engine.hire)
    opened.load_pair()
    return engine
