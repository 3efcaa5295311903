"""greedy as its quick start shows it: image centres, rigid, affine, deformable; WNCC, and NMI for unlike images.

Its reference says of NMI: for images as different as T1 and T2, better for the affine than for the deformable stage.
"""

from __future__ import annotations

import os
from pathlib import Path

from Testing.benchmarks.peers.job import Clock, Job, run

ITERATIONS = "100x50x10"
LOCAL_CORRELATION = "WNCC 2x2x2"
VELOCITY = "velocity"


def register(job: Job, clock: Clock) -> list[Path]:
    """Run greedy's three stages."""
    with clock.phase("start"):
        import SimpleITK as sitk
        from picsl_greedy import Greedy3D
    with clock.phase("read"):
        images = {name: sitk.ReadImage(str(path)) for name, path in (("fixed", job.fixed), ("moving", job.moving))}
    common = f"-i fixed moving -n {ITERATIONS} -threads {job.threads} -V 0"
    linear = f"{common} -a -m {'NMI' if job.multimodal else LOCAL_CORRELATION}"
    mode = "-sv" if job.variant == VELOCITY else ""
    greedy = Greedy3D()
    # greedy splits its commands at spaces, and a path may have some.
    os.chdir(job.output)
    with clock.phase("register"):
        greedy.execute(f"{linear} -dof 6 -ia-image-centers -o rigid.mat", **images)
        greedy.execute(f"{linear} -dof 12 -ia rigid.mat -o affine.mat")
        # -wp 0: by default greedy rounds the field it saves to a tenth of a voxel, which would count as roughness.
        greedy.execute(f"{common} -m {LOCAL_CORRELATION} {mode} -it affine.mat -wp 0 -o warp.nii.gz")
    return [job.output / "warp.nii.gz", itk_file(job.output / "affine.mat")]


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
