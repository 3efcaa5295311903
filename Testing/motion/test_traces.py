"""Motion made at random: what it claims to be, and never twice the same."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.motion.traces import Traces, made_trace, varied

CALM = Traces(irregular=(0.0, 0.0), heart=0.0, noise=0.0)


def cycles(settings: Traces, seed: int) -> np.ndarray:
    """Return the times between the tops of the breaths of two minutes, s."""
    _, trace = made_trace(settings, 1200, 3, seed)
    main = np.abs(trace[:, 0] - np.median(trace[:, 0]))
    inner = main[1:-1]
    high = 0.5 * np.percentile(main, 99)
    tops = np.flatnonzero((inner > main[:-2]) & (inner >= main[2:]) & (inner > high))
    return np.asarray(np.diff(tops) * settings.interval)


def test_the_same_seed_gives_the_same_trace_and_another_another() -> None:
    one, again, other = (made_trace(Traces(), 100, 3, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1


def test_cycles_differ_as_much_as_was_asked_for() -> None:
    calm = np.mean([np.ptp(np.percentile(cycles(CALM, seed), [25, 75])) for seed in range(8)])
    uneven = Traces(irregular=(0.3, 0.3), heart=0.0, noise=0.0)
    assert np.mean([np.ptp(np.percentile(cycles(uneven, seed), [25, 75])) for seed in range(8)]) > 3 * calm


def test_the_way_out_is_not_the_way_in() -> None:
    trace = made_trace(CALM, 300, 3, 4)[1]
    main, across = trace[:, 0], trace[:, 1]
    middle = np.abs(main - (main.max() + main.min()) / 2) < 0.15 * np.ptp(main)
    rising = np.gradient(main) > 0
    assert abs(across[middle & rising].mean() - across[middle & ~rising].mean()) > 0.02 * np.ptp(main)


@pytest.mark.parametrize("settings", [Traces(interval=0.02, heart=1.0), Traces(interval=0.02, heart=0.0)])
def test_a_trace_has_no_jumps(settings: Traces) -> None:
    for seed in range(10):
        trace = made_trace(settings, 600, 3, seed)[1]
        assert np.abs(np.diff(trace, axis=0)).max() < 0.2 * np.ptp(trace, axis=0).max()


def test_a_cycle_is_run_through_again_and_again() -> None:
    angle = 2 * np.pi * np.arange(10) / 10
    curve = np.stack([np.cos(angle), 0.3 * np.sin(angle)], axis=1)
    path = varied(np.random.default_rng(0), curve, 0.1 * np.arange(300), 0.2)
    assert np.abs(np.diff(path, axis=0)).max() < 0.5
    assert np.sum(np.diff(np.sign(path[:, 0] - path[:, 0].mean())) != 0) > 8
