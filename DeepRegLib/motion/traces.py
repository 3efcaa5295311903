"""Breathing and heartbeat as scores over time, made at random: irregular, drifting, on another way out than in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.tables import require

Values = NDArray[np.float64]
Generator = np.random.Generator
PERIOD, BEAT = (2.8, 6.0), (0.6, 1.1)  # s
AMPLITUDE = (3.0, 15.0)  # mm
EXPONENTS = (1, 2, 3)  # Lujan et al., Med Phys 26, 1999: the longer the rest between two breaths
PAUSES = 0.05
LONGEST_PAUSE = 3.0  # s
DRIFT = 0.02  # of the amplitude, each second
SLOW = (20.0, 60.0)  # s


@dataclass(frozen=True)
class Traces:
    """What made-up motion is like.

    Parameters
    ----------
    interval
        Seconds from one score to the next.
    seen
        Scores that are seen before those to be predicted.
    irregular
        Least and largest deviation of periods and amplitudes from one cycle to the next, as a share.
    heart
        Share of the traces with a heartbeat in the breathing; a tenth of them have the heartbeat alone.
    noise
        Of the scores seen, as a share of the amplitude.
    """

    interval: float = 0.1
    seen: int = 80
    irregular: tuple[float, float] = (0.05, 0.3)
    heart: float = 0.3
    noise: float = 0.02

    def __post_init__(self) -> None:
        low, high = self.irregular
        require(0.01 <= self.interval <= 5, "motion.interval", self.interval, "0.01 to 5 seconds")
        require(4 <= self.seen <= 1000, "motion.seen", self.seen, "4 to 1000 scores")
        require(0 <= low <= high <= 0.5, "motion.irregular", self.irregular, "two shares in order, 0 to 0.5")
        require(0 <= self.heart <= 1, "motion.heart", self.heart, "0 to 1")
        require(0 <= self.noise <= 0.2, "motion.noise", self.noise, "0 to 0.2")


def made_trace(settings: Traces, count: int, components: int, seed: int) -> tuple[Values, Values]:
    """Return one trace as it is seen, with noise, and as it is, each ``(count, components)``, mm."""
    random = np.random.default_rng(seed)
    times = settings.interval * np.arange(count, dtype=np.float64)
    irregular = random.uniform(*settings.irregular)
    amplitude = random.uniform(*AMPLITUDE)
    with_heart = random.random() < settings.heart
    alone = with_heart and random.random() < 0.1
    trace = np.zeros((count, components))
    if not alone:
        trace += amplitude * _breathing(random, times, irregular, components)
    if with_heart:
        share = 1.0 if alone else random.uniform(0.05, 0.3)
        trace += share * amplitude * _heartbeat(random, times, irregular, components)
    trace += amplitude * _drift(random, times)[:, None] * random.normal(size=components) / np.sqrt(components)
    trace *= random.choice([-1.0, 1.0], size=components)
    return trace + settings.noise * amplitude * random.normal(size=trace.shape), trace


def varied(random: Generator, curve: Values, times: Values, irregular: float) -> Values:
    """Return the closed curve of one cycle, ``(n, c)``, run through again and again, ``(times, c)``.

    Each round takes another time and goes another part of the way, by `irregular`.
    """
    phase, size = _cycles(random, times, random.uniform(*PERIOD), irregular)
    closed = np.concatenate([curve, curve[:1]])
    at = phase * len(curve)
    path = np.stack([np.interp(at, np.arange(len(closed)), column) for column in closed.T], axis=1)
    return np.asarray(curve[0] + size[:, None] * (path - curve[0]))


def _breathing(random: Generator, times: Values, irregular: float, components: int) -> Values:
    phase, size = _cycles(random, times, random.uniform(*PERIOD), irregular)
    # Inhaling is quicker than exhaling.
    top = random.uniform(0.35, 0.5)
    bent = np.where(phase < top, phase / (2 * top), 0.5 + (phase - top) / (2 * (1 - top)))
    main = np.sin(np.pi * bent) ** (2 * random.choice(EXPONENTS))
    loop = np.sin(2 * np.pi * bent) * np.sin(np.pi * bent) ** 2
    result = np.zeros((len(times), components))
    result[:, 0] = size * main
    for number in range(1, components):
        lag, bend = random.uniform(0, 0.4) / number, random.uniform(-0.2, 0.2) / number
        result[:, number] = size * (lag * loop + bend * main * (1 - main))
    return result


def _heartbeat(random: Generator, times: Values, irregular: float, components: int) -> Values:
    phase, size = _cycles(random, times, random.uniform(*BEAT), irregular / 3)
    pulse = np.sin(np.pi * phase ** random.uniform(0.5, 1.0)) ** 2
    direction = random.normal(size=components)
    return np.asarray((size * pulse)[:, None] * direction / np.linalg.norm(direction))


def _drift(random: Generator, times: Values) -> Values:
    steady = DRIFT * random.normal() * times
    return np.asarray(steady + 0.2 * random.normal() * np.sin(2 * np.pi * times / random.uniform(*SLOW)))


def _cycles(random: Generator, times: Values, period: float, irregular: float) -> tuple[Values, Values]:
    """Return the phase in its cycle, 0 to 1, and the size of the cycle, each ``(n,)``, at times."""
    begun = [-random.uniform(0, period)]
    spent, sizes = [], []
    while begun[-1] <= times[-1]:
        length = period * np.exp(irregular * random.normal())
        pause = random.uniform(0, LONGEST_PAUSE) if random.random() < PAUSES else 0.0
        spent.append(length)
        sizes.append(max(1 + irregular * random.normal(), 0.2))
        begun.append(begun[-1] + length + pause)
    cycle = np.searchsorted(begun, times, side="right") - 1
    phase = np.minimum((times - np.array(begun)[cycle]) / np.array(spent)[cycle], 1.0)
    return phase, np.array(sizes)[cycle]
