"""A tool for the tests: its variant says what becomes of the run."""

from __future__ import annotations

import os
import time
from pathlib import Path

from Testing.benchmarks.peers.job import Clock, Job, run


def register(job: Job, clock: Clock) -> list[Path]:
    """Translate by the millimetres of the variant, or fail as it says."""
    path = job.output / "transform.tfm"
    with clock.phase("register"):
        if job.variant == "crash":
            os.abort()
        if job.variant == "mistake":
            raise ValueError("the images have no contrast")
        if job.variant == "hang":
            time.sleep(600)
        if job.variant == "missing":
            import no_such_package  # noqa: F401
    if job.variant == "garbage":
        path.write_text("this is no transform")
        return [path]
    if job.variant == "nothing":
        return [path]
    path.write_text(translation(job.variant))
    return [path]


def translation(millimetres: str) -> str:
    """Return an ITK transform file that translates; the numbers as text, separated by spaces."""
    return (
        "#Insight Transform File V1.0\n#Transform 0\nTransform: TranslationTransform_double_3_3\n"
        f"Parameters: {millimetres}\nFixedParameters:\n"
    )


if __name__ == "__main__":
    run(register)
