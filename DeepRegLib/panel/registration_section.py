"""Register and Cancel, progress, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import NodeModify

from DeepRegLib.errors import CancelledError, DeepRegError, MemoryShortageError
from DeepRegLib.panel.appearance import CANCEL_STYLE, COLOURS, PRIMARY_STYLE, Icons, bar_style, set_icon
from DeepRegLib.panel.compare_section import CompareSection
from DeepRegLib.panel.comparison import BLEND, MODES, NONE
from DeepRegLib.panel.double_click import OneClick
from DeepRegLib.panel.parameters import Parameters, task_of
from DeepRegLib.panel.restoring import restoring_task, saved_transform
from DeepRegLib.panel.running import Listener, Run, Runner
from DeepRegLib.panel.slicing import Sliced, let_go_one_by_one
from DeepRegLib.panel.sources import Sources
from DeepRegLib.panel.task import Task, check
from DeepRegLib.panel.verdict_section import VerdictSection
from DeepRegLib.panel.words import error_html, progress_text, tooltip
from DeepRegLib.result import FAILED
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_with, one_change
from DeepRegLib.scene.results import remove_results
from DeepRegLib.scene.sequences import current_volume
from DeepRegLib.scene.volumes import scan_fault

FULL = 1000
CPU = "cpu"


class RegistrationSection:
    """The button in the middle of the panel and what belongs to it.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    runner
        Runs the registration.
    scene
        Where the results go.
    sources
        Which recipe files and models may be read.
    permitted
        Returns a task with what it may overwrite, or None if the user would rather not start it.
    compare
        Has the views.
    engine_problem
        Returns why the engine cannot run as it is set, or None.
    ask
        Asks the user a question and returns whether the answer is yes.
    icons
        The panel's icons.
    changed
        Called when a run has begun or failed, for other sections that wait meanwhile.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        runner: Runner,
        scene: slicer.vtkMRMLScene,
        sources: Sources,
        permitted: Callable[[Task], Task | None],
        compare: CompareSection,
        engine_problem: Callable[[], DeepRegError | None],
        ask: Callable[[str], bool],
        icons: Icons,
        changed: Callable[[], None],
    ) -> None:
        self._ui = ui
        self._changed = changed
        self._runner = runner
        self._icons = icons
        self._verdict = VerdictSection(ui, scene, icons)
        self._scene = scene
        self._sources = sources
        self._permitted = permitted
        self._compare = compare
        self._engine_problem = engine_problem
        self._ask = ask
        self._parameters: Parameters | None = None
        self.run: Run | None = None
        self._latest: Run | None = None  # with results, while these are in the scene
        self._leaving: Sliced[None] | None = None  # the nodes of removed results
        self._one_click = OneClick()  # the second half of a double-click would cancel what the first has started
        ui.registerButton.installEventFilter(self._one_click)
        ui.registerButton.connect("clicked(bool)", self._on_button)
        ui.removeResultsButton.connect("clicked(bool)", self._on_remove)
        ui.messageBar.setStyleSheet(bar_style(COLOURS[FAILED]))
        ui.messageIcon.setPixmap(icons.pixmap("VerdictFailed"))
        self._show_button(running=False)

    @property
    def running(self) -> bool:
        """Whether a registration is under way."""
        return self.run is not None and not self.run.finished

    @property
    def result(self) -> Run | None:
        """The result that the verdict is about, if its numbers are known: not where a scene brought it."""
        return None if self._saved() is not None else self._latest

    @property
    def has_result(self) -> bool:
        """Whether there is a result to use, of this session or brought by a scene."""
        return self._latest is not None or self._saved() is not None

    def with_result(self, use: Callable[[Run], None]) -> None:
        """Have the result used, at once or, if a scene brought it, when the engine has judged it anew."""
        parameters, result, saved = self._parameters, self.result, self._saved()
        if result is not None:
            use(result)
        elif parameters is not None and saved is not None and not self.running:
            try:
                task = restoring_task(parameters, saved)
            except DeepRegError as error:
                self.show_error(error)
                return
            self._start(task, use)

    def _saved(self) -> slicer.vtkMRMLTransformNode | None:
        """Return the transform of the result that the verdict is about, if a scene brought it."""
        return saved_transform(self._parameters) if self._parameters is not None else None

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        self._verdict.bind(parameters)
        if parameters is None:
            self._latest = None

    def refresh(self) -> None:
        """Show what the parameters say, and whether they can be run."""
        if self._parameters is None:
            return
        if not self.running:
            problem = self._problem(self._parameters)
            self._ui.registerButton.enabled = problem is None
            self._ui.registerButton.toolTip = tooltip(
                _("Register the moving volume to the fixed one.") if problem is None else str(problem)
            )
        self._verdict.refresh(hidden=self.running)
        self._ui.removeResultsButton.visible = bool(nodes_with(self._scene, RESULT_ATTRIBUTE)) and not self.running

    def press(self) -> None:
        """Do what a click on Register does; nothing while something runs."""
        if not self.running:
            self._on_button()

    def start(self, task: Task) -> None:
        """Run a task as if Register had been pressed."""
        if not self.running and self._parameters is not None:
            self._start(task)

    def put_back(self, former: Run, task: Task, done: Callable[[Run], None]) -> None:
        """Put the results of an earlier run into the scene once more, where its task, changed so far, says.

        `done` is called with the run that did it when they are there; before the panel shows them.
        """

        def finished(run: Run) -> None:
            self.run = run
            done(run)
            self._on_finished(run)

        def failed(error: DeepRegError) -> None:
            self._show_running(False)
            if not isinstance(error, CancelledError):
                self.show_error(error)
            self._changed()

        self.show_error(None)
        try:
            run = self._runner.put_back(former, task, Listener(finished=finished, failed=failed))
        except DeepRegError as error:
            self.show_error(error)
            return
        self.run = run
        if not run.finished:
            self._show_running(True)
            self._on_progress("restoring", 0.0, None, None)
            self._changed()

    def cancel(self) -> None:
        """Stop what runs; does nothing when nothing does."""
        if self.running and self.run is not None:
            self._ui.progressLabel.text = progress_text("cancelling", None, None)
            self.run.cancel()

    def show_error(self, error: DeepRegError | None) -> None:
        """Say what is wrong and what to do; None takes it away."""
        self._ui.messageLabel.text = error_html(error) if error is not None else ""
        self._ui.messageCard.visible = error is not None

    def _on_button(self, _checked: bool = False) -> None:
        if self.running:
            self.cancel()
        elif self._parameters is not None:
            try:
                if not self._sources.agreed(self._parameters, self._ask):
                    return
                task = self._permitted(task_of(self._parameters, self._sources.load))
            except DeepRegError as error:
                self.show_error(error)
                return
            finally:
                self.refresh()
            if task is not None:
                self._start(task)

    def _start(self, task: Task, use: Callable[[Run], None] | None = None) -> None:
        """Start a task; `use` is called with its result, once what ended the run has returned."""

        def finished(run: Run) -> None:
            self._on_finished(run)
            if use is not None:
                qt.QTimer.singleShot(0, lambda: use(run))

        self.show_error(None)
        listener = Listener(self._on_progress, finished, lambda error: self._on_failed(task, error, use))
        try:
            problem = self._engine_problem()
            if problem is not None:
                raise problem
            run = self._runner.start(task, listener)
        except DeepRegError as error:
            self.show_error(error)
            return
        if run.finished:  # the engine could not even be started, which has been told
            return
        self.run = run
        self._show_running(True)
        self._on_progress("waiting", 0.0, None, None)
        self._changed()

    def _show_running(self, running: bool) -> None:
        self._show_button(running)
        tip = _("Stop the registration; the scene stays as it is.") if running else ""
        self._ui.registerButton.toolTip = tooltip(tip)
        self._ui.registerButton.enabled = True
        self._ui.progressBar.visible = running
        self._ui.progressLabel.visible = running
        self.refresh()

    def _show_button(self, running: bool) -> None:
        self._ui.registerButton.text = _("Cancel") if running else _("Register")
        self._ui.registerButton.setStyleSheet(CANCEL_STYLE if running else PRIMARY_STYLE)
        set_icon(self._ui.registerButton, self._icons.icon("Cancel" if running else "Register"))

    def _problem(self, parameters: Parameters) -> DeepRegError | None:
        try:
            check(task_of(parameters, self._sources.glance))
        except DeepRegError as error:
            return error
        faults = (scan_fault(node) for node in (parameters.fixedVolume, parameters.movingVolume))
        return next((fault for fault in faults if fault is not None), None)

    def _on_progress(self, stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
        self._ui.progressBar.value = round(FULL * fraction)
        self._ui.progressLabel.text = progress_text(stage, similarity, seconds_left)

    def _on_finished(self, run: Run) -> None:
        parameters, registration, results = self._parameters, run.registration, run.results
        self._show_running(False)
        if parameters is None or registration is None or results is None:
            return
        self._latest = run
        with NodeModify(parameters):  # the views change once
            self._verdict.keep(run, registration, results)
            parameters.comparedFixed = self._volume(run.task.fixed)
            parameters.comparedWarped = self._scene.GetNodeByID(results.warped) if results.warped else None
            parameters.linkedTransform = self._scene.GetNodeByID(results.transform) if results.transform else None
            restored = run.task.restore is not None  # nothing in the scene has changed
            if not restored and (parameters.compareMode not in MODES or parameters.compareMode == NONE):
                parameters.compareMode = BLEND
            # Even if all of that is as before: nodes may have been overwritten.
            parameters.Modified()  # type: ignore[attr-defined]  # the wrapper has it
        self.refresh()
        if parameters.comparedFixed is not None and not restored:
            self._compare.look_at(parameters.comparedFixed)

    def _volume(self, node: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLVolumeNode | None:
        """Return what the views show of an input: the frame of a sequence; nothing if it was deleted."""
        return current_volume(node) if node is not None and node.GetScene() is not None else None

    def _on_failed(self, task: Task, error: DeepRegError, use: Callable[[Run], None] | None) -> None:
        self._show_running(False)
        if not isinstance(error, CancelledError):
            self.show_error(error)
        self._changed()
        if isinstance(error, MemoryShortageError) and error.device not in ("", CPU):
            # Not from here: the engine waits for this call to return, and would hear nothing while the question stands.
            qt.QTimer.singleShot(0, lambda: self._offer_cpu(task, use))

    def _offer_cpu(self, task: Task, use: Callable[[Run], None] | None) -> None:
        if not self.running and self._parameters is not None and self._ask(_memory_question()):
            self._start(replace(task, device=CPU), use)

    def _on_remove(self, _checked: bool = False) -> None:
        parameters = self._parameters
        self._latest = None
        self._compare.put_views_back()
        with one_change(self._scene):  # the panel is shown once
            if parameters is not None:
                parameters.compareMode = NONE
            gone = remove_results(self._scene)
            if parameters is not None:
                self._verdict.drop()
        self.show_error(None)
        self.refresh()
        self._leaving = let_go_one_by_one(gone)  # of large volumes each takes as long as a person notices


def _memory_question() -> str:
    return _("The graphics card has too little memory for these scans. Compute on the processor instead?")
