"""elastix with the parameter maps it comes with: rigid, affine, B-spline."""

from __future__ import annotations

from pathlib import Path

from Testing.benchmarks.peers.job import Clock, Job, run

STAGES = ("rigid", "affine", "bspline")


def register(job: Job, clock: Clock) -> list[Path]:
    """Run the three stages.

    The threads come from the environment: after `SetNumberOfThreads` the filter of the wheels 0.17 to 0.25 ends the
    process with a segmentation fault.
    """
    with clock.phase("start"):
        import itk

        method = itk.ElastixRegistrationMethod
    with clock.phase("read"):
        fixed, moving = (itk.imread(str(path), itk.F) for path in (job.fixed, job.moving))
    parameters = itk.ParameterObject.New()
    for stage in STAGES:
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(stage))
    with clock.phase("register"):
        elastix = method.New(fixed, moving)
        elastix.SetParameterObject(parameters)
        elastix.SetLogToConsole(False)
        elastix.Update()
    path = job.output / "transform.h5"
    with clock.phase("write"):
        itk.transformwrite([elastix.ConvertToItkTransform(elastix.GetCombinationTransform())], str(path))
    return [path]


if __name__ == "__main__":
    run(register)
