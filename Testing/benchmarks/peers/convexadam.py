"""ConvexAdam with MIND features: both images on the fixed image's field of view in cubic voxels, then its defaults.

It takes images that lie over each other already and has no linear stage; its own scripts resample the moving image with
the identity, and so does this one. They take voxels of 1 mm; here the fixed image's middle spacing, so that a mouse has
as many voxels as a man.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from Testing.benchmarks.peers.job import Clock, Job, run


def register(job: Job, clock: Clock) -> list[Path]:
    """Run ConvexAdam and write its displacements, which are in voxels and ordered (k, j, i), as an ITK field."""
    with clock.phase("start"):
        import numpy as np
        import SimpleITK as sitk
        import torch
        from convexAdam.convex_adam_MIND import convex_adam_pt
        from convexAdam.convex_adam_utils import resample_img, resample_moving_to_fixed

        torch.set_num_threads(job.threads)
    with clock.phase("read"):
        fixed, moving = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (job.fixed, job.moving))
    with clock.phase("register"):
        fixed = resample_img(fixed, spacing=(median(fixed.GetSpacing()),) * 3)
        voxels = convex_adam_pt(img_fixed=fixed, img_moving=resample_moving_to_fixed(fixed, moving))
    path = job.output / "field.nrrd"
    with clock.phase("write"):
        axes = np.array(fixed.GetDirection()).reshape(3, 3) * np.array(fixed.GetSpacing())
        field = sitk.GetImageFromArray(voxels[..., ::-1] @ axes.T, isVector=True)
        field.CopyInformation(fixed)
        sitk.WriteImage(field, str(path))
    return [path]


if __name__ == "__main__":
    run(register)
