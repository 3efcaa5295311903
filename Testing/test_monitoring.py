"""Progress, cancelling and stage times."""

from __future__ import annotations

import time

import pytest

from DeepRegLib.errors import CancelledError
from DeepRegLib.monitoring import STAGE_SHARES, Monitor


def test_the_fraction_rises_from_nothing_to_one():
    calls: list[tuple] = []
    stages = ["prepare", "linear", "judge"]
    monitor = Monitor(stages, lambda *call: calls.append(call), None)
    for stage in stages:
        with monitor.stage(stage):
            monitor.step(0.5, 0.25)
    fractions = [call[1] for call in calls]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1)
    assert [call[0] for call in calls] == [stage for stage in stages for _ in range(3)]
    assert [call[2] for call in calls] == [None, 0.25, None] * 3


def test_the_time_left_is_told_once_it_can_be_guessed():
    calls: list[tuple] = []
    monitor = Monitor(["search", "linear"], lambda *call: calls.append(call), None)
    with monitor.stage("search"):
        time.sleep(0.02)
        monitor.step(0.5)
    assert calls[0][3] is None
    assert calls[1][3] > 0
    assert calls[1][3] == pytest.approx(0.02 * (1 - calls[1][1]) / calls[1][1], rel=2)


def test_stages_are_timed_in_order():
    monitor = Monitor(["prepare", "search"], None, None)
    for stage in ("prepare", "search"):
        with monitor.stage(stage):
            time.sleep(0.01)
    assert list(monitor.timings) == ["prepare", "search"]
    assert all(seconds >= 0.009 for seconds in monitor.timings.values())


def test_cancelling_is_noticed_at_every_step_and_poll():
    stop = False
    monitor = Monitor(["linear"], None, lambda: stop)
    with monitor.stage("linear"):
        monitor.step(0.1)
        monitor.poll()
        stop = True
        with pytest.raises(CancelledError):
            monitor.poll()
        with pytest.raises(CancelledError):
            monitor.step(0.2)
        stop = False


def test_an_error_in_a_stage_passes_through():
    monitor = Monitor(["linear"], None, None)
    with pytest.raises(ZeroDivisionError), monitor.stage("linear"):
        raise ZeroDivisionError
    assert "linear" not in monitor.timings


def test_the_shares_of_a_default_run_add_up():
    only_on_request = ("other way", "correction")
    assert sum(share for stage, share in STAGE_SHARES.items() if stage not in only_on_request) == pytest.approx(1)
