"""The application's one engine: warm for the next run, and at rest when there is nothing to do."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

from DeepRegLib.engine.registration import REGISTER
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine


def at_rest(opened: OpenedPanel) -> bool:
    """Tell whether the engine's timer has stopped, within a second."""
    return opened.desktop.wait_until(lambda: not opened.engine._timer.isActive(), 1)


def test_one_worker_serves_all_runs(opened: OpenedPanel, played: PlayedEngine) -> None:
    for _ in range(3):
        played.run()
    assert len(played.workers) == 1
    assert at_rest(opened)


def test_a_worker_that_does_not_stop_is_replaced_at_once(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    opened.press()
    opened.wait_for_end(5)
    assert opened.message == ""
    assert played.workers[0].killed
    assert opened.desktop.wait_until(lambda: len(played.workers) == 2 and opened.engine.worker is not None, 5)
    assert at_rest(opened)
    played.run()
    assert len(played.workers) == 2


def test_a_worker_that_stops_when_asked_is_kept(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.errors import CancelledError

    played.request()
    opened.press()
    assert played.worker.types()[-1] == "cancel"
    played.fail(CancelledError())
    assert opened.message == ""
    played.run()
    assert len(played.workers) == 1


def test_a_dead_worker_is_replaced_by_the_next_run(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    played.worker.die(-9)
    opened.wait_for_end(5)
    assert "The engine ended unexpectedly" in opened.message
    assert at_rest(opened)
    assert len(played.workers) == 1
    played.run()
    assert len(played.workers) == 2
    assert opened.message == ""


def test_a_script_and_the_panel_share_the_engine(opened: OpenedPanel, played: PlayedEngine) -> None:
    logic = opened.loaded.python.DeepRegLogic()
    assert logic.runner.engine is opened.engine
    fixed, moving = opened.parameters.fixedVolume, opened.parameters.movingVolume
    first = played.request()
    finished: list[object] = []
    run = logic.register(fixed, moving, seed=3, onFinished=finished.append, wait=False)
    assert first.seed == 0
    played.deliver()
    assert opened.desktop.wait_until(lambda: len(played.orders) == 2, 5)
    assert REGISTER.request_of(played.orders[1]).seed == 3
    played.answer()
    assert opened.desktop.wait_until(lambda: bool(finished), 5)
    assert finished == [run]
    assert len(played.workers) == 1
