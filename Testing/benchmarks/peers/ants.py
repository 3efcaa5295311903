"""ANTs with the settings of its scripts antsRegistrationSyNQuick.sh and antsRegistrationSyN.sh, as ANTsPy has them."""

from __future__ import annotations

from pathlib import Path

from Testing.benchmarks.peers.job import Clock, Job, run

SETTINGS = {"quick": "antsRegistrationSyNQuick[s]", "syn": "antsRegistrationSyN[s]"}


def register(job: Job, clock: Clock) -> list[Path]:
    """Run centre of mass, rigid, affine and SyN; the threads come from the environment."""
    with clock.phase("start"):
        import ants
    with clock.phase("read"):
        fixed, moving = (ants.image_read(str(path)) for path in (job.fixed, job.moving))
    with clock.phase("register"):
        result = ants.registration(
            fixed, moving, type_of_transform=SETTINGS[job.variant], outprefix=str(job.output / "ants_")
        )
    return [Path(path) for path in result["fwdtransforms"]]


if __name__ == "__main__":
    run(register)
