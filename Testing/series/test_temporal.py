"""Smoothing over time, looking for the cycle, the curves of a rigid head."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.monitoring import never_cancel
from DeepRegLib.series.chain import order_of
from DeepRegLib.series.frames import read_frames
from DeepRegLib.series.looking import central_frame, is_cyclic, look_at
from DeepRegLib.series.rigid_motion import rigid_motion
from DeepRegLib.series.temporal import Clock, roughness, smoothing_weights
from DeepRegLib.transforms import LinearTransform
from Testing.series.breathing import breath, frame
from Testing.synthetic import rotation

ALL = np.ones(6, dtype=np.bool_)


def test_a_steady_drift_passes_unchanged_even_at_the_ends_and_at_uneven_times() -> None:
    times = np.array([0.0, 1.0, 2.5, 3.0, 4.2, 5.0])
    weights = [smoothing_weights(Clock(times, None), n, 1.0, ALL) for n in range(6)]
    np.testing.assert_allclose([w @ (2 + 3 * times) for w in weights], 2 + 3 * times)


def test_a_cycle_is_smoothed_across_its_seam_alike() -> None:
    clock = Clock(np.arange(6.0), 6.0)
    weights = np.stack([smoothing_weights(clock, n, 0.8, ALL) for n in range(6)])
    np.testing.assert_allclose(weights[0], np.roll(weights[3], -3), atol=1e-12)
    assert weights[0, 5] == pytest.approx(weights[0, 1])


def test_a_missing_frame_lies_between_its_neighbours() -> None:
    known = ALL.copy()
    known[2] = False
    weights = smoothing_weights(Clock(np.arange(6.0), None), 2, 0.0, known)
    assert weights[2] == 0
    assert weights @ np.arange(6.0) == pytest.approx(2.0)


def test_noise_in_time_makes_a_path_rough_and_smoothing_less_so() -> None:
    clock = Clock(np.arange(6.0), 6.0)
    path = np.random.default_rng(0).normal(size=(6, 4, 3))
    smooth = np.stack([np.tensordot(smoothing_weights(clock, n, 1.0, ALL), path, axes=1) for n in range(6)])
    assert roughness(smooth, cyclic=True) < 0.5 * roughness(path, cyclic=True)


def test_a_breath_is_found_to_be_cyclic_and_half_of_one_is_not() -> None:
    whole, half = (read_frames(list(frames)) for frames in (breath(6), breath(8)[:5]))
    assert is_cyclic(whole, look_at(whole, never_cancel))
    assert not is_cyclic(half, look_at(half, never_cancel))


def test_the_central_frame_is_in_the_middle_of_the_motion_and_not_the_blurred_one() -> None:
    frames = read_frames([frame(amount) for amount in (0.0, 1.0, 2.0, 3.0, 9.0)])
    assert central_frame(look_at(frames, never_cancel)) in (1, 2, 3)


def test_frames_of_a_cycle_are_reached_from_both_sides() -> None:
    order = dict(order_of(6, 1, cyclic=True))
    assert list(order)[:2] == [0, 2]
    assert sorted(order[4]) == [3, 5]
    assert dict(order_of(6, 1, cyclic=False))[5] == [4]


def test_the_curves_are_those_of_the_turns_and_framewise_displacement_is_powers() -> None:
    centre = np.array([10.0, 20.0, 30.0])
    turn = np.eye(4)
    turn[:3, :3] = rotation([0.0, 0.0, np.deg2rad(1.5)])
    turn[:3, 3] = centre - turn[:3, :3] @ centre + [0.5, 0.0, -0.25]
    motion = rigid_motion([LinearTransform.identity(), LinearTransform(turn)], centre)
    np.testing.assert_allclose(motion.rotations[1], [0, 0, 1.5], atol=1e-9)
    np.testing.assert_allclose(motion.translations[1], [0.5, 0, -0.25], atol=1e-9)
    assert motion.framewise_displacement[1] == pytest.approx(0.75 + 50 * np.deg2rad(1.5))
