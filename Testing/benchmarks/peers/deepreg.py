"""DeepReg itself; the variant is the recipe."""

from __future__ import annotations

from pathlib import Path

from Testing.benchmarks.peers.job import INVERSE, Clock, Job, run


def register(job: Job, clock: Clock) -> list[Path]:
    """Register as `deepreg register` does, and write the transform and its inverse."""
    with clock.phase("start"):
        from DeepRegLib.image import read_image
        from DeepRegLib.pipeline import register
        from DeepRegLib.transforms import write_transform
    with clock.phase("read"):
        fixed, moving = read_image(job.fixed), read_image(job.moving)
    with clock.phase("register"):
        result = register(fixed, moving, recipe=job.variant)
    path = job.output / "transform.h5"
    with clock.phase("write"):
        write_transform(result.transform, path)
        write_transform(result.inverse, job.output / INVERSE)
    return [path]


if __name__ == "__main__":
    run(register)
