"""The worker behind Slicer's launcher `PythonSlicer`, which is the parent of the process that computes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from Testing.desktop.python_slicer import write_launcher
from Testing.engine.fakes import alive
from Testing.panel.opened import OpenedPanel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the launcher is a script, and there are no signals"),
]
GONE_SECONDS = 15.0


@pytest.fixture
def launched(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenedPanel:
    """Open the panel where Slicer's Python is behind its launcher, with a pair and a recipe of a second."""
    launcher = write_launcher(tmp_path / "Slicer")
    monkeypatch.setattr(type(slicer.app), "slicerHome", str(launcher.parents[1]), raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "Slicer" / "SlicerApp-real"))
    opened.load_pair()
    opened.use_quick_recipe(tmp_path)
    return opened


def pids(opened: OpenedPanel) -> tuple[int, int]:
    """Return the ids of the launcher and of the Python behind it."""
    client = opened.engine.client
    return client._transport.pid, client.worker.pid


def test_a_registration_runs_behind_the_launcher_and_nothing_is_left_of_it(launched: OpenedPanel) -> None:
    launched.press()
    launched.wait_for_end()
    assert launched.message == ""
    assert launched.results.transform
    launcher, real = pids(launched)
    assert launcher != real
    launched.engine.close()
    assert launched.desktop.wait_until(lambda: not alive(launcher) and not alive(real), GONE_SECONDS)


@pytest.mark.parametrize("who", [0, 1], ids=["the launcher", "the Python behind it"])
def test_a_killed_process_is_told_no_orphan_stays_and_the_next_run_works(launched: OpenedPanel, who: int) -> None:
    launched.press()
    launched.wait_for_stage("Aligning")
    both = pids(launched)
    os.kill(both[who], signal.SIGKILL)
    launched.wait_for_end(GONE_SECONDS)
    assert launched.message
    assert launched.desktop.wait_until(lambda: not any(map(alive, both)), GONE_SECONDS), both
    launched.press()
    launched.wait_for_end()
    assert launched.message == ""
    assert launched.results.transform
