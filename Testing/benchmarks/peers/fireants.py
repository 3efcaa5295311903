"""FireANTs as its documentation shows it: moments, rigid, affine, greedy; CC, and MI where the images are unlike."""

from __future__ import annotations

from pathlib import Path

from Testing.benchmarks.peers.job import Clock, Job, run

SCALES = [4, 2, 1]
LINEAR_ITERATIONS = [200, 100, 50]
DEFORMABLE_ITERATIONS = [200, 100, 25]
RATES = {"rigid": 3e-4, "affine": 3e-3, "deformable": 0.5}


def register(job: Job, clock: Clock) -> list[Path]:
    """Run the four stages on the GPU, or on the CPU where there is none."""
    with clock.phase("start"):
        import torch
        from fireants.io import BatchedImages, Image
        from fireants.registration.affine import AffineRegistration
        from fireants.registration.greedy import GreedyRegistration
        from fireants.registration.moments import MomentsRegistration
        from fireants.registration.rigid import RigidRegistration

        torch.set_num_threads(job.threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with clock.phase("read"):
        images = [BatchedImages([Image.load_file(str(path), device=device)]) for path in (job.fixed, job.moving)]
    loss = {"loss_type": "mi"} if job.multimodal else {"loss_type": "cc", "cc_kernel_size": 5}
    common = {**loss, "progress_bar": False}
    with clock.phase("register"):
        moments = MomentsRegistration(SCALES[0], *images, progress_bar=False)
        moments.optimize()
        rigid = RigidRegistration(
            SCALES,
            LINEAR_ITERATIONS,
            *images,
            optimizer_lr=RATES["rigid"],
            init_translation=moments.get_rigid_transl_init(),
            init_moment=moments.get_rigid_moment_init(),
            **common,
        )
        rigid.optimize()
        affine = AffineRegistration(
            SCALES,
            LINEAR_ITERATIONS,
            *images,
            optimizer_lr=RATES["affine"],
            init_rigid=rigid.get_rigid_matrix().detach(),
            **common,
        )
        affine.optimize()
        deformable = GreedyRegistration(
            SCALES,
            DEFORMABLE_ITERATIONS,
            *images,
            deformation_type="compositive",
            smooth_grad_sigma=1,
            optimizer_lr=RATES["deformable"],
            init_affine=affine.get_affine_matrix().detach(),
            **common,
        )
        deformable.optimize()
    path = job.output / "warp.nii.gz"
    with clock.phase("write"):
        deformable.save_as_ants_transforms(str(path))
    return [path]


if __name__ == "__main__":
    run(register)
