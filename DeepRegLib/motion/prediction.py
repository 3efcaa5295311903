"""Where scores of motion will be: as they are, along a line, by an autoregressive filter, or by a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from DeepRegLib.errors import ModelError
from DeepRegLib.models import ModelBundle, load_network
from DeepRegLib.models.manifest import MOTION
from DeepRegLib.models.registry import usable_bundle

Values = NDArray[np.float64]
# Times (n,) in s, ascending; scores (n, c); and the time asked for. Gives the scores (c,) there.
Predictor = Callable[[Values, Values, float], Values]

LINE_NAME, FILTER_NAME = "line", "autoregressive"
NETWORK_HISTORY = 80
LAGS, RIDGE = 12, 1e-3
LINE = 3  # scores


def last_value(times: Values, scores: Values, when: float) -> Values:
    """Predict that nothing moves."""
    del times, when
    return scores[-1]


def linear_extrapolation(times: Values, scores: Values, when: float) -> Values:
    """Predict by the line through the latest scores (least squares), from the last one on."""
    if len(times) == 1:
        return scores[-1]
    since, values = times[-LINE:] - times[-1], scores[-LINE:]
    centred = since - since.mean()
    slope = centred @ (values - values.mean(axis=0)) / np.sum(centred**2)
    return np.asarray(scores[-1] + slope * (when - times[-1]))


def autoregressive(times: Values, scores: Values, when: float) -> Values:
    """Predict by a linear filter of all components' latest scores, fitted by least squares to what was seen.

    The filter gives the change over the time asked for at once (direct prediction), from scores at even times. Where
    too little was seen to fit one, the line is taken.
    """
    if len(times) < 2 or when <= times[-1]:
        return last_value(times, scores, when)
    interval = float(np.median(np.diff(times)))
    ahead = max(round((when - times[-1]) / interval), 1)
    even = at_even_times(times, scores, interval, int((times[-1] - times[0]) / interval) + 1)
    rows = len(even) - LAGS - ahead + 1
    if rows < LAGS * even.shape[1]:
        return linear_extrapolation(times, scores, when)
    windows = np.stack([even[n : n + LAGS] for n in range(len(even) - LAGS + 1)])
    seen = (windows - windows[:, -1:]).reshape(len(windows), -1)[:, : -even.shape[1]]
    past, change = seen[:rows], even[LAGS - 1 + ahead :] - even[LAGS - 1 : LAGS - 1 + rows]
    gram = past.T @ past
    filtered = np.linalg.solve(gram + RIDGE * (np.trace(gram) / len(gram) + 1e-12) * np.eye(len(gram)), past.T @ change)
    share = (when - times[-1]) / (ahead * interval)
    return np.asarray(scores[-1] + share * (seen[-1] @ filtered))


@dataclass(frozen=True, eq=False)
class NetworkPredictor:
    """Predicts by a recurrent network.

    Parameters
    ----------
    network
        ``(B, n, c)`` scores at even times to the next ``(B, ahead, c)``; attributes `components` and `ahead`.
    interval
        Seconds between these times.
    """

    network: nn.Module
    interval: float

    @property
    def reach(self) -> float:
        """How many seconds ahead it predicts at most."""
        return self.interval * int(self.network.ahead)  # type: ignore[arg-type]  # a network of motion has it

    def __call__(self, times: Values, scores: Values, when: float) -> Values:
        """Predict; beyond the `reach` the last thing predicted holds."""
        if len(times) < 2 or when <= times[-1]:
            return last_value(times, scores, when)
        count = min(int((times[-1] - times[0]) / self.interval) + 1, NETWORK_HISTORY)
        if count < 2:  # nothing is known of the time between two of its steps
            return linear_extrapolation(times, scores, when)
        components = int(self.network.components)  # type: ignore[arg-type]  # as above
        even = np.zeros((count, max(components, scores.shape[1])))
        even[:, : scores.shape[1]] = at_even_times(times, scores, self.interval, count)
        with torch.no_grad():
            device = next(self.network.parameters()).device
            seen = torch.from_numpy(even[:, :components]).float()[None].to(device)
            ahead = self.network(seen)[0].double().cpu().numpy()
        known = min(components, scores.shape[1])
        steps = np.arange(len(ahead) + 1) * self.interval
        result = scores[-1].copy()
        for number in range(known):
            path = np.concatenate([scores[-1:, number], ahead[:, number]])
            result[number] = np.interp(when - times[-1], steps, path)
        return result


def network_predictor(bundle: ModelBundle, device: torch.device | str = "cpu") -> NetworkPredictor:
    """Load what predicts by the network of a bundle.

    Raises
    ------
    ModelError
        If it is a model of another task, or cannot be used.
    """
    manifest = bundle.manifest
    if manifest.task != MOTION:
        raise ModelError(f"The model {manifest.name} is for {manifest.task}.", f"Give one of the task {MOTION}.")
    return NetworkPredictor(load_network(bundle, device), manifest.input.interval)


def predictor_named(name: str) -> Predictor:
    """Return a predictor: ``"line"``, ``"autoregressive"``, or the name or folder of a model of the task `motion`.

    Raises
    ------
    ModelError
        If there is no such model, or it cannot be used.
    """
    filters: Mapping[str, Predictor] = {LINE_NAME: linear_extrapolation, FILTER_NAME: autoregressive}
    return filters[name] if name in filters else network_predictor(usable_bundle(name, MOTION))


def at_even_times(times: Values, scores: Values, interval: float, count: int) -> Values:
    """Return scores at even times that end with the last one, ``(count, c)``, between those seen along lines."""
    at = times[-1] - interval * np.arange(count - 1, -1, -1)
    return np.stack([np.interp(at, times, column) for column in scores.T], axis=1)
