"""Where irregular breathing will be: errors of four predictors on traces that no network was trained on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.models import load_bundle
from DeepRegLib.motion.prediction import Predictor, autoregressive, last_value, linear_extrapolation, network_predictor
from DeepRegLib.motion.traces import Traces, made_trace
from DeepRegLib.training import export, load_config, train
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table

TITLE = "Motion predicted"
AHEAD = (0.3, 0.5, 1.0)  # s
COLUMNS = ("predictor", *(f"error {ahead:g} s ahead (mm)" for ahead in AHEAD), "95 % 1 s ahead (mm)")
COUNT, SECONDS, SEED = 100, 30.0, 10_000_000
KINDS = {"breathing": Traces(irregular=(0.15, 0.3), heart=0.0), "breathing and heartbeat": Traces(heart=1.0)}
NETWORK, FILTER = "network", "autoregressive filter"


def measure(options: Options) -> Table:
    """Train the shipped recipe, or take the model that was named, and measure all predictors on the same traces."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        named = (Path(options.model) / "model.json").is_file()
        bundle = Path(options.model) if named else _trained(Path(place))
        network = network_predictor(load_bundle(bundle))
    spent = time.process_time() - begun
    predictors = {"none": last_value, "line": linear_extrapolation, FILTER: autoregressive, NETWORK: network}
    rows = []
    for number, (kind, traces) in enumerate(KINDS.items()):
        errors = errors_of(predictors, traces, COUNT, SEED * (number + 1))
        for name, found in errors.items():
            means = [float(np.sqrt(np.mean(found[:, n] ** 2))) for n in range(len(AHEAD))]
            values = [*means, float(np.percentile(found[:, -1], 95))]
            rows.append({"predictor": f"{name}, {kind}", **dict(zip(COLUMNS[1:], values, strict=True))})
    said = [
        f"Root mean square over {COUNT} traces of {SECONDS:g} s a kind, amplitude 3 to 15 mm, seen with noise of 2 %.",
        f"Training took {spent:.0f} CPU seconds." if not named else f"The network is {bundle.name}.",
    ]
    return Table(TITLE, COLUMNS, rows, said, None)


def errors_of(
    predictors: Mapping[str, Predictor], traces: Traces, count: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return the distance from where each trace went, ``(samples, ahead)``, mm, of each predictor."""
    steps = [round(ahead / traces.interval) for ahead in AHEAD]
    length = round(SECONDS / traces.interval)
    found: dict[str, list[list[float]]] = {name: [] for name in predictors}
    for number in range(count):
        seen, true = made_trace(traces, length, 3, seed + number)
        times = traces.interval * np.arange(length, dtype=np.float64)
        for now in np.random.default_rng(number).integers(length // 2, length - max(steps), 5):
            for name, predict in predictors.items():
                said = [predict(times[: now + 1], seen[: now + 1], float(times[now + step])) for step in steps]
                apart = [float(np.linalg.norm(one - true[now + step])) for one, step in zip(said, steps, strict=True)]
                found[name].append(apart)
    return {name: np.array(errors) for name, errors in found.items()}


def _trained(place: Path) -> Path:
    config = load_config("motion")
    train(replace(config, validation=replace(config.validation, every=10_000)), place / "run", device="cpu")
    export(place / "run", place / "motion")
    return place / "motion"
