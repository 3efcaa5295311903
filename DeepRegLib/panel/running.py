"""A task run from nodes to nodes: read the scene, hand it to the engine, put the results into the scene."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.improvement import IMPROVE
from DeepRegLib.engine.job import Job
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.engine.restoring import RESTORE
from DeepRegLib.engine.tracking import TRACK
from DeepRegLib.errors import CancelledError, DeepRegError, InputError
from DeepRegLib.monitoring import Progress
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.slicing import Sliced
from DeepRegLib.panel.task import Reading, Task, check, reading_steps
from DeepRegLib.registration import Registration
from DeepRegLib.scene.alignment import apply_to_moving, temporarily_unapplied, unapply
from DeepRegLib.scene.along import along_of
from DeepRegLib.scene.chosen_outputs import check_existing
from DeepRegLib.scene.filling import ResultData, result_data_steps
from DeepRegLib.scene.outputs import Inputs, Results, inputs_of
from DeepRegLib.scene.results import add_results, left_behind
from DeepRegLib.scene.sequences import current_volume
from DeepRegLib.scene.steps import Steps

LOG = logging.getLogger(__name__)


def _ignore(*_told: object) -> None:
    """Do nothing: nobody listens."""


@dataclass(frozen=True)
class Listener:
    """Who is told of a run; exactly one of `finished` and `failed` is called, once.

    Parameters
    ----------
    progress
        Called with stage, fraction of the run (0 to 1), similarity or None, seconds left or None.
    finished
        Called when the results are in the scene.
    failed
        Called with the error; a `CancelledError` after a cancel.
    """

    progress: Progress = _ignore
    finished: Callable[[Run], None] = _ignore
    failed: Callable[[DeepRegError], None] = _ignore


@dataclass(eq=False)
class Run:
    """One registration of scene nodes.

    Parameters
    ----------
    task
        What was asked for.
    results
        Ids of the nodes that came of it; None before the end.
    registration
        Their numbers.
    error
        Why there are no results.
    notes
        What did not work out although there are results, as sentences.
    slices
        What reads the scene before there is a job, or makes VTK's data of its result, a little at a time.
    job
        Its registration in the engine.
    inputs, reading
        What was registered, and what was read of the scene for it.
    """

    task: Task
    results: Results | None = None
    registration: Registration | None = None
    error: DeepRegError | None = None
    notes: tuple[str, ...] = ()
    slices: Sliced[Any] | None = None
    job: Job[Any, Registration] | None = None
    inputs: Inputs | None = None
    reading: Reading | None = None
    listener: Listener = field(default_factory=Listener)

    @property
    def finished(self) -> bool:
        """Whether it is over, one way or the other."""
        return self.results is not None or self.error is not None

    def cancel(self) -> None:
        """Ask it to stop."""
        if self.slices is not None and self.slices.stop():
            self.fail(CancelledError())
        elif self.job is not None:
            self.job.cancel()

    def fail(self, error: DeepRegError) -> None:
        """End without results."""
        self.error = error
        self.listener.failed(error)


class Runner:
    """Runs tasks on an engine, and puts what comes back into the scene.

    Parameters
    ----------
    engine
        Where it is computed.
    scene
        Where the nodes are.
    """

    def __init__(self, engine: Engine, scene: slicer.vtkMRMLScene) -> None:
        self.engine = engine
        self._scene = scene

    def start(self, task: Task, listener: Listener) -> Run:
        """Start a run and return at once; what takes long to read is read while the window lives.

        Raises
        ------
        InputError
            If the task cannot run, as far as that is seen at once; the listener is not called then.
        """
        check(task)
        with temporarily_unapplied(_moved(task)):  # of an earlier result: each run begins where the scan was
            steps = reading_steps(task)
            next(steps)
            assert task.fixed is not None  # noqa: S101  # for mypy: `read` has looked
            assert task.moving is not None  # noqa: S101
            inputs = inputs_of(
                task.fixed,
                task.moving,
                task.moving_segmentation,
                task.prefix,
                along_of(task.moving_along, task.fixed_along),
            )
            check_existing(self._scene, inputs, task.existing, task.overwrite)
        run = Run(task, inputs=inputs, listener=listener)
        run.slices = Sliced(steps, lambda reading: self._register(run, inputs, reading), run.fail)
        run.slices.start()
        return run

    def _register(self, run: Run, inputs: Inputs, reading: Reading) -> None:
        def done(registration: Registration) -> None:
            run.registration = registration
            if run.task.restore is not None:  # its nodes are there
                run.results = run.task.restore.results
                run.listener.finished(run)
                return
            self._insert(run, inputs, reading, registration, edited=lambda: _edited(reading))

        run.reading = reading
        run.job = self._submit(reading, run.listener.progress, done, run.fail)

    def _insert(
        self,
        run: Run,
        inputs: Inputs,
        reading: Reading,
        registration: Registration,
        edited: Callable[[], tuple[str, ...]],
    ) -> None:
        """Put a registration into the scene as the end of a run; what takes long is made while the window lives."""

        def added(data: ResultData) -> None:
            try:
                run.results = self._add(run.task, inputs, reading, registration, data)
                run.notes = (*edited(), *_aligned(run.task, run.results), *_left_behind(self._scene, run))
            except Exception as error:
                LOG.exception("The results could not be put into the scene")
                run.fail(error if isinstance(error, DeepRegError) else _not_added(error))
            else:
                run.listener.finished(run)

        run.slices = Sliced(_result_steps(registration, run.task, reading), added, run.fail)
        try:
            run.slices.start()
        except DeepRegError as error:
            run.fail(error)

    def _submit(
        self,
        reading: Reading,
        progress: Progress,
        done: Callable[[Registration], None],
        failed: Callable[[DeepRegError], None],
    ) -> Job[Any, Registration]:
        submit = self.engine.submit
        if reading.improvement is not None:
            return submit(IMPROVE, reading.improvement, on_progress=progress, on_result=done, on_error=failed)
        if reading.restoring is not None:
            return submit(RESTORE, reading.restoring, on_progress=progress, on_result=done, on_error=failed)
        if reading.following is not None:
            return submit(TRACK, reading.following, on_progress=progress, on_result=done, on_error=failed)
        return submit(REGISTER, reading.request, on_progress=progress, on_result=done, on_error=failed)

    def put_back(self, former: Run, task: Task, listener: Listener) -> Run:
        """Put the results of an earlier run into the scene once more, as a run that computes nothing.

        Parameters
        ----------
        former
            Finished, with results.
        task
            That run's, with what is overwritten and what goes along now.
        listener
            Told how it ends. A short one may have ended when this returns.

        Raises
        ------
        DeepRegError
            If the nodes cannot take the results, which stay as they are then.
        """
        inputs, reading, registration = former.inputs, former.reading, former.registration
        if inputs is None or reading is None or registration is None:
            raise InputError(_("The former result is no longer known."), _("Register again."))
        inputs = replace(inputs, along=along_of(task.moving_along, task.fixed_along))
        with temporarily_unapplied(_moved(task)):
            check_existing(self._scene, inputs, task.existing, task.overwrite)
        run = Run(task, registration=registration, inputs=inputs, reading=reading, listener=listener)
        self._insert(run, inputs, reading, registration, edited=lambda: ())
        return run

    def wait(self, run: Run) -> None:
        """Let Qt's events be handled until a run is over."""
        loop = qt.QEventLoop()
        timer = qt.QTimer()
        timer.connect("timeout()", lambda: loop.quit() if run.finished else None)
        timer.start(10)
        if not run.finished:
            loop.exec_()
        timer.stop()

    def _add(
        self,
        task: Task,
        inputs: Inputs,
        reading: Reading,
        registration: Registration,
        data: ResultData,
    ) -> Results:
        if self._scene.IsClosing():
            raise CancelledError(_("The scene was closed during the registration."))
        with temporarily_unapplied(_moved(task)):
            results = add_results(
                self._scene,
                registration,
                inputs,
                task.outputs,
                layers=reading.layers,
                data=data,
                existing=task.existing,
                overwrite=task.overwrite,
                label_names=reading.label_names,
                former=task.former,
            )
        unapply(_moved(task))
        return results


def _result_steps(registration: Registration, task: Task, reading: Reading) -> Steps[ResultData]:
    """Make VTK's data of a result in steps; whatever goes wrong ends as one of our errors."""
    try:
        data = yield from result_data_steps(
            registration, task.outputs, reading.layers, along_of(task.moving_along, task.fixed_along)
        )
    except DeepRegError:
        raise
    except Exception as error:
        LOG.exception("The results could not be put into the scene")
        raise _not_added(error) from error
    return data


def _edited(reading: Reading) -> tuple[str, ...]:
    """Return a sentence for each scan whose voxels were edited in the meantime."""
    return tuple(
        _("{name} was edited during the registration, which may have seen both states. Register again.").format(
            name=scan.name
        )
        for scan in reading.untouched
        if not scan
    )


def _left_behind(scene: slicer.vtkMRMLScene, run: Run) -> tuple[str, ...]:
    """Return a sentence for each of the user's nodes that the result before is still in."""
    former, results = run.task.former, run.results
    nodes = left_behind(scene, former, results) if former is not None and results is not None else []
    told = _("{name} still holds the result before this one, for nothing came to take its place.")
    return tuple(told.format(name=node.GetName()) for node in nodes)


def _moved(task: Task) -> list[slicer.vtkMRMLNode]:
    """Return the nodes that a result moves, as far as they are there."""
    nodes = (task.moving, task.moving_segmentation)
    return [node for node in nodes if node is not None and node.GetScene() is not None]


def _aligned(task: Task, results: Results) -> tuple[str, ...]:
    """Put the moving nodes under the transform if that is wanted; return why it could not be done."""
    if not task.align_moving or task.moving is None or task.moving.GetScene() is None:
        return ()
    segmentation = task.moving_segmentation
    follows = segmentation is not None and segmentation.GetScene() is not None
    try:
        apply_to_moving(results, current_volume(task.moving), segmentation if follows else None)
    except DeepRegError as error:
        return (str(error),)
    return ()


def _not_added(error: Exception) -> DeepRegError:
    return DeepRegError(
        _("The results could not be put into the scene: {reason}").format(reason=error),
        _("The inputs are unchanged; see the Python console, and try again."),
    )
