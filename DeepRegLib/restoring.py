"""A registration of which transforms and record are left, prepared and judged anew; nothing is registered."""

from __future__ import annotations

from dataclasses import replace

import torch

from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.extras import with_driving_labels, with_extras
from DeepRegLib.finishing import finish
from DeepRegLib.improving import noted
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.record import Record, Restoring
from DeepRegLib.registration import Registration
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.inverse import invert_well
from DeepRegLib.stages.run import Run
from DeepRegLib.stages.run_of_request import run_of
from DeepRegLib.transforms import linear_part


def restore(restoring: Restoring, *, progress: Progress | None = None, cancel: Cancel | None = None) -> Registration:
    """Return the registration that a transform and its record are of.

    Images, measures and verdict are made anew from the scans and the transform as it is now. Curves, the seconds of the
    stages, and what only a model could say again, its uncertainty, are not there.

    Parameters
    ----------
    restoring
        What is left of the result, and the scans.
    progress, cancel
        As in `register`.

    Raises
    ------
    InputError
        If the scans are not those that were registered, or the request cannot be used.
    CancelledError
        If `cancel` returned true.
    """
    request, record, transform = restoring.request, restoring.record, restoring.transform
    device = choose_device(request.device)
    labels = ("labels",) if request.drivers.moving_labels is not None else ()
    sought = ("inverse",) if restoring.inverse is None else ()
    plan = ("prepare", *sought, "judge", *labels)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        with monitor.stage("prepare"):
            record.require_scans(request.fixed, request.moving)
            run = _as_recorded(run_of(request, device, plan, monitor), record, record.unlike(request.drivers))
        inverse, folds = restoring.inverse, None
        if inverse is None:
            with monitor.stage("inverse"):
                made = invert_well(run, transform, request.seed)
                inverse, folds = made.inverse, made.folds
        with monitor.stage("judge"):
            result = finish(run, request, linear_part(transform), Deformed(transform), inverse, inverse_folds=folds)
        result = with_driving_labels(result, request.drivers, monitor)
    with memory_errors_explained(torch.device("cpu")):
        return with_extras(result, request.extras, monitor)


def _as_recorded(run: Run, record: Record, further: list[str]) -> Run:
    """Return a run that knows what its result said of itself, and these further warnings."""
    run = replace(run, log=run.log.with_decisions(list(record.decisions)))
    for warning in (*record.warnings, *further):
        if warning not in run.log.warnings:
            run.log.add_warning(warning)
    if record.corrections:
        run.log.add_provenance("corrections", [noted(each) for each in record.corrections])
    model = record.provenance.get("model")
    if isinstance(model, dict) and all(isinstance(model.get(key), str) for key in ("name", "version")):
        run.log.add_provenance("model", model)
    return run
