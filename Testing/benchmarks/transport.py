"""What the engine's process boundary costs: a pair to the worker and a result back, and the start of a warm run."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from DeepRegLib.engine import server, worker
from DeepRegLib.engine.client import EngineClient, subprocess_client
from DeepRegLib.engine.job import Job
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Request
from DeepRegLib.result import Registration
from DeepRegLib.transforms import CompositeTransform, DisplacementField, LinearTransform
from Testing.benchmarks.cases import FULL_SIZE
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table

TITLE = "Process boundary, {} x {} x {} float32".format(*FULL_SIZE)
FIELD_SIZE, INVERSE_SIZE = (96, 127, 97), (168, 223, 170)  # those of the default recipe for two heads of this size
TICK = 0.01  # seconds between two polls, as an application's timer has it
LIMITS = {"there and back": 0.5, "first word": 0.2, "longest poll": 0.05}


@dataclass
class Turn:
    """The seconds of one registration as a window sees them."""

    first_word: float = 0.0
    whole: float = 0.0
    longest_poll: float = 0.0


def measure(options: Options) -> Table:
    """Register through an echo, which computes nothing, and through the real worker, cancelled at its first word."""
    rows: list[dict[str, Any]] = []
    fixed, moving = (speckle(FULL_SIZE, name) for name in ("fixed", "moving"))
    echo = subprocess_client([sys.executable, "-m", __spec__.name])
    real = subprocess_client()
    try:
        for client in (echo, real):
            _come_up(client)
        for number in range(options.repeats + 1):
            there_and_back, start = run(echo, fixed, moving), run(real, fixed, moving, stop=True)
            rows.append(
                {
                    "run": number + 1,
                    "there and back": there_and_back.whole,
                    "first word": start.first_word,
                    "longest poll": there_and_back.longest_poll,
                }
            )
    finally:
        echo.close()
        real.close()
    return summed_up(rows)


def summed_up(rows: list[dict[str, Any]]) -> Table:
    """Return the runs with their medians; the first one fills caches and does not count."""
    middle = {name: median(row[name] for row in rows[1:] or rows) for name in LIMITS}
    summary = [f"{name}: median {middle[name]:.3f} s, limit {limit:g} s" for name, limit in LIMITS.items()]
    passed = all(middle[name] <= limit for name, limit in LIMITS.items())
    return Table(TITLE, ("run", *LIMITS), [*rows, {"run": "median", **middle}], summary, passed)


def run(client: EngineClient, fixed: Image, moving: Image, *, stop: bool = False) -> Turn:
    """Register as a window with a timer does; with `stop`, cancel at the first word of progress."""
    turn = Turn()
    begun = time.perf_counter()

    def heard(*_: object) -> None:
        turn.first_word = turn.first_word or time.perf_counter() - begun

    request = Request(fixed, moving, load_recipe("auto"), device="cpu")
    job = client.submit(REGISTER, request, on_progress=heard)
    while not job.finished:
        if stop and turn.first_word:
            job.cancel()
        before = time.perf_counter()
        client.poll()
        turn.longest_poll = max(turn.longest_poll, time.perf_counter() - before)
        time.sleep(TICK)
    turn.whole = time.perf_counter() - begun
    _check(job, stop)
    return turn


def speckle(size: tuple[int, int, int], name: str) -> Image:
    """Return float32 noise."""
    geometry = Geometry(size)
    return Image(np.random.default_rng(0).random(geometry.shape, dtype=np.float32), geometry, name)


def echo(prepared: Registration, request: Request, progress: Progress, cancel: Cancel) -> Registration:
    """Return a prepared result for a request, without computing."""
    progress("prepare", 0.0, None, None)
    return replace(prepared, fixed=request.fixed, moving=request.moving, warped=request.moving)


def prepared() -> Registration:
    """Return a result whose transforms and masks are of the usual size."""
    from Testing.engine.fakes import hand_made_registration, tiny_image

    mask = Image(np.ones(Geometry(FULL_SIZE).shape, dtype=np.bool_), Geometry(FULL_SIZE), "mask")
    fields = [
        DisplacementField(np.random.default_rng(1).random((*size[::-1], 3), dtype=np.float32), Geometry(size))
        for size in (FIELD_SIZE, INVERSE_SIZE)
    ]
    linear = LinearTransform.identity()
    return replace(
        hand_made_registration(tiny_image(), tiny_image()),
        recipe=load_recipe("auto"),
        transform=CompositeTransform((fields[0], linear)),
        inverse=CompositeTransform((linear, fields[1])),
        field_of_view=mask,
        fixed_foreground=mask,
        warped_labels=None,
        warped_layers=(),
        jacobian=None,
    )


def _come_up(client: EngineClient) -> None:
    client.start()
    while client.worker is None:
        client.poll()
        time.sleep(TICK)


def _check(job: Job, stop: bool) -> None:
    if job.result is None and not stop:
        raise job.error or RuntimeError("The echo did not answer.")


if __name__ == "__main__":
    server.TASKS = {REGISTER.name: replace(REGISTER, run=partial(echo, prepared()))}
    worker.main()
