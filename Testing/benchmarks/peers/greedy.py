"""greedy as its quick start shows it: image centres, rigid, affine, deformable; WNCC, and NMI for unlike images.

Its reference calls NMI better for the affine than for the deformable stage, but its WNCC keeps the sign of the
correlation and pulls T1 and T2 apart.
"""

from __future__ import annotations

import os
from pathlib import Path

from Testing.benchmarks.peers.job import Clock, Job, run

ITERATIONS = ("100", "50", "10")
FEWEST_VOXELS = 4  # along each axis of the coarsest level, below which greedy gives up
VELOCITY = "velocity"


def register(job: Job, clock: Clock) -> list[Path]:
    """Run greedy's three stages."""
    with clock.phase("start"):
        import SimpleITK as sitk
        from picsl_greedy import Greedy3D
    with clock.phase("read"):
        images = {name: sitk.ReadImage(str(path)) for name, path in (("fixed", job.fixed), ("moving", job.moving))}
    iterations = "x".join(ITERATIONS[: levels(min(size for image in images.values() for size in image.GetSize()))])
    metric = "NMI" if job.multimodal else "WNCC 2x2x2"
    common = f"-i fixed moving -m {metric} -n {iterations} -threads {job.threads} -V 0"
    mode = "-sv" if job.variant == VELOCITY else ""
    greedy = Greedy3D()
    # greedy splits its commands at spaces, and a path may have some.
    os.chdir(job.output)
    with clock.phase("register"):
        greedy.execute(f"{common} -a -dof 6 -ia-image-centers -o rigid.mat", **images)
        greedy.execute(f"{common} -a -dof 12 -ia rigid.mat -o affine.mat")
        # -wp 0: by default greedy rounds the field it saves to a tenth of a voxel, which would count as roughness.
        greedy.execute(f"{common} {mode} -it affine.mat -wp 0 -o warp.nii.gz")
    return [job.output / "warp.nii.gz", itk_file(job.output / "affine.mat")]


def levels(voxels: int) -> int:
    """Return how many levels, each half as fine as the next, an axis of so many voxels allows; at least one."""
    return next((n for n in range(len(ITERATIONS), 1, -1) if voxels >> (n - 1) >= FEWEST_VOXELS), 1)


def itk_file(affine: Path) -> Path:
    """Write a matrix that greedy wrote (fixed to moving points, RAS) as an ITK transform file (LPS)."""
    sign = (-1, -1, 1, 1)
    rows = [[float(value) for value in line.split()] for line in affine.read_text().splitlines()[:3]]
    lps = [[sign[i] * sign[j] * value for j, value in enumerate(row)] for i, row in enumerate(rows)]
    parameters = [value for row in lps for value in row[:3]] + [row[3] for row in lps]
    lines = (
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        "Parameters: " + " ".join(map(repr, parameters)),
        "FixedParameters: 0 0 0",
    )
    path = affine.with_suffix(".tfm")
    path.write_text("\n".join(lines) + "\n")
    return path


if __name__ == "__main__":
    run(register)
