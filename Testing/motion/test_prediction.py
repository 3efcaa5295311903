"""Predictors on motions whose course is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import ModelError
from DeepRegLib.models import load_bundle
from DeepRegLib.motion.prediction import (
    NetworkPredictor,
    Predictor,
    autoregressive,
    last_value,
    linear_extrapolation,
    network_predictor,
)
from DeepRegLib.motion.traces import Traces, made_trace
from DeepRegLib.networks.motion import MotionNet
from DeepRegLib.training import export, train
from DeepRegLib.training.config import config_from_dict
from Testing.motion.motions import amounts

TIMES = 0.1 * np.arange(200)
BREATH = amounts(220)


def test_no_prediction_holds_and_a_line_goes_on() -> None:
    ramp = np.stack([2 * TIMES, 1 - TIMES], axis=1)
    np.testing.assert_allclose(last_value(TIMES, ramp, 21.0), ramp[-1])
    np.testing.assert_allclose(linear_extrapolation(TIMES, ramp, 21.0), [42.0, -20.0], atol=1e-9)
    np.testing.assert_allclose(linear_extrapolation(TIMES[:1], ramp[:1], 21.0), ramp[0])


def test_the_filter_goes_on_with_a_breath_whose_times_are_uneven() -> None:
    uneven = TIMES + 0.02 * np.sin(np.arange(200) * 1.7)
    seen = np.stack([np.interp(uneven, 0.1 * np.arange(220), column) for column in BREATH.T], axis=1)
    for steps in (3, 10):
        found = autoregressive(uneven, seen, float(TIMES[-1] + 0.1 * steps))
        np.testing.assert_allclose(found, BREATH[199 + steps], atol=0.4)
    # Too little was seen to fit one.
    np.testing.assert_allclose(
        autoregressive(TIMES[:6], BREATH[:6], 0.8), linear_extrapolation(TIMES[:6], BREATH[:6], 0.8)
    )


@pytest.mark.parametrize("gated", [False, True])
def test_a_network_is_asked_at_any_time_and_about_any_number_of_components(gated: bool) -> None:
    network = MotionNet(components=2, hidden=4, ahead=3, gated=gated).eval()
    predict = NetworkPredictor(network, 0.1)
    assert predict.reach == pytest.approx(0.3)
    for columns in (BREATH[:200, :1], BREATH[:200], np.hstack([BREATH[:200], BREATH[:200, :1]])):
        between = predict(TIMES, columns, 20.03)
        assert between.shape == (columns.shape[1],)
        np.testing.assert_allclose(predict(TIMES, columns, 25.0), predict(TIMES, columns, 20.2), atol=1e-6)
        near = predict(TIMES, columns, float(TIMES[-1]) + 1e-6)
        np.testing.assert_allclose(near, columns[-1], atol=1e-3)
    np.testing.assert_allclose(predict(TIMES[:1], BREATH[:1], 1.0), BREATH[0])
    # A component the network does not know stays.
    assert predict(TIMES, np.hstack([BREATH[:200], BREATH[:200, :1]]), 20.1)[2] == BREATH[199, 0]


@pytest.mark.parametrize("gated", [False, True])
def test_neither_unit_nor_zero_matters_to_a_network(gated: bool) -> None:
    predict = NetworkPredictor(MotionNet(components=2, hidden=4, ahead=3, gated=gated).eval(), 0.1)
    plain = predict(TIMES, BREATH[:200], 20.1)
    np.testing.assert_allclose(predict(TIMES, 10 * BREATH[:200] + 7, 20.1), 10 * plain + 7, atol=1e-3)


def test_a_network_trained_for_seconds_predicts_better_than_none_or_a_line(tmp_path: Path) -> None:
    config = config_from_dict(
        {
            "name": "tiny",
            "task": "motion",
            "network": {"architecture": "motion", "arguments": {"hidden": 24, "ahead": 4}},
            "sources": {"shapes": 0.0, "traces": 1.0},
            "motion": {"interval": 0.2, "seen": 15},
            "optimisation": {"iterations": 90, "batch": 12, "rate": 1e-2, "warmup": 10, "average": 0.9},
            "validation": {"every": 120, "pairs": 64},
            "record": {"log_every": 150, "checkpoint_every": 150},
        }
    )
    lines: list[dict[str, float]] = []
    train(config, tmp_path / "run", device="cpu", report=lambda entry: lines.append(dict(entry)))
    assert lines[-1]["error_mm_after"] < 0.85 * lines[-1]["error_mm_before"]
    bundle = export(tmp_path / "run", tmp_path / "bundle")
    assert bundle.manifest.task == "motion"
    assert load_bundle(tmp_path / "bundle").manifest.input.interval == 0.2
    network = network_predictor(bundle)
    assert _error(network) < 0.8 * min(_error(last_value), _error(linear_extrapolation))


def test_a_model_of_another_task_predicts_nothing() -> None:
    shipped = Path(__file__).parents[2] / "DeepRegLib/models/shipped/anatomy"
    with pytest.raises(ModelError, match="task motion"):
        network_predictor(load_bundle(shipped))


def _error(predict: Predictor) -> float:
    """Return the root mean square error 0.6 s ahead on irregular breathing that nothing was trained on."""
    settings = Traces(interval=0.2, irregular=(0.2, 0.3))
    times, apart = 0.2 * np.arange(60), []
    for number in range(30):
        seen, true = made_trace(settings, 60, 3, 5_000_000 + number)
        apart.append(predict(times[:50], seen[:50], float(times[52])) - true[52])
    return float(np.sqrt(np.square(apart).sum(axis=1).mean()))
