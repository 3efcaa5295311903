"""What a tab with one button shares with others: it reads, asks the engine, adds the result; Cancel stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.job import Job
from DeepRegLib.engine.task import Task
from DeepRegLib.errors import CancelledError, DeepRegError
from DeepRegLib.panel.appearance import CANCEL_STYLE, PRIMARY_STYLE, Icons, set_icon
from DeepRegLib.panel.double_click import OneClick
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.slicing import Sliced
from DeepRegLib.panel.words import error_html, progress_text, tooltip
from DeepRegLib.scene.steps import Steps

FULL = 1000

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Given = TypeVar("Given")


@dataclass(frozen=True, eq=False)
class TaskWidgets:
    """The widgets of a tab's run, and its words.

    Parameters
    ----------
    button, bar, progress, message
        Starts and cancels, shows how far it is, says what is done, says what came of it.
    start
        What is written on the button while nothing runs.
    stop
        What its tooltip says while something does.
    cancelled
        What the message says after Cancel; empty for nothing.
    """

    button: Any
    bar: Any
    progress: Any
    message: Any
    start: str
    stop: str
    cancelled: str = ""


class TaskRun:
    """The run of a tab.

    Parameters
    ----------
    widgets
        Of the tab.
    engine
        Where it is computed.
    scene
        Where the results go.
    icons
        The panel's icons.
    pressed
        Called when the button is pressed while nothing runs.
    ended
        Called when the run has ended, however.
    """

    def __init__(
        self,
        widgets: TaskWidgets,
        engine: Engine,
        scene: slicer.vtkMRMLScene,
        icons: Icons,
        pressed: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self._widgets = widgets
        self._engine = engine
        self._scene = scene
        self._icons = icons
        self._pressed = pressed
        self._ended = ended
        self._slices: Sliced[Any] | None = None
        self._job: Job[Any, Any] | None = None
        self.running = False
        self._one_click = OneClick()  # the second half of a double-click would cancel what the first has started
        widgets.button.installEventFilter(self._one_click)
        self._show_button()

    def show_problem(self, problem: DeepRegError | None, ready: str) -> None:
        """Let the button be pressed if there is no problem; its tooltip says which there is, or what it does."""
        self._widgets.button.enabled = problem is None
        self._widgets.button.toolTip = tooltip(ready if problem is None else str(problem))

    def press(self, _checked: bool = False) -> None:
        """Start what the tab does, or cancel it; the button is to be connected to this."""
        if self.running:
            self.cancel()
        else:
            self._pressed()

    def read(self, stage: str, steps: Steps[Given], submit: Callable[[Given], None]) -> None:
        """Begin: read from the scene in steps, and hand what was read on."""
        self.running = True
        self._job = None
        self._show_button()
        self._on_progress(stage, 0.0, None, None)
        self._go_through(steps, submit)

    def submit(self, task: Task[Asked, Found], asked: Asked, arrived: Callable[[Found], None]) -> None:
        """Ask the engine; its result is handed on unless the scene is being closed."""
        self._on_progress("waiting", 0.0, None, None)

        def on_result(result: Found) -> None:
            if self._scene.IsClosing():
                self.fail(CancelledError())
            else:
                arrived(result)

        self._job = self._engine.submit(
            task, asked, on_progress=self._on_progress, on_result=on_result, on_error=self.fail
        )

    def add(self, steps: Steps[Given], added: Callable[[Given], None]) -> None:
        """Make in steps what goes into the scene."""
        self._go_through(steps, added)

    def cancel(self) -> None:
        """Stop what runs; does nothing when nothing does."""
        if not self.running:
            return
        self._widgets.progress.text = progress_text("cancelling", None, None)
        if self._slices is not None and self._slices.stop():
            self.fail(CancelledError())
        elif self._job is not None:
            self._job.cancel()

    def finish(self, text: str) -> None:
        """End the run and say what came of it, as markup."""
        self._finish()
        self.tell(text)

    def fail(self, error: DeepRegError) -> None:
        """End the run with an error."""
        self._finish()
        if not isinstance(error, CancelledError):
            self.tell(error_html(error))
        elif self._widgets.cancelled:
            self.tell(self._widgets.cancelled)

    def tell(self, text: str) -> None:
        """Show a message, as markup; empty for none."""
        self._widgets.message.text = text
        self._widgets.message.visible = bool(text)

    def _go_through(self, steps: Steps[Given], done: Callable[[Given], None]) -> None:
        self._slices = Sliced(steps, done, self.fail)
        try:
            self._slices.start()
        except DeepRegError as error:
            self.fail(error)

    def _finish(self) -> None:
        self.running = False
        self._slices = None
        self._show_button()
        self._ended()

    def _on_progress(self, stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
        self._widgets.bar.value = round(FULL * fraction)
        self._widgets.progress.text = progress_text(stage, similarity, seconds_left)

    def _show_button(self) -> None:
        button, running = self._widgets.button, self.running
        button.text = _("Cancel") if running else self._widgets.start
        button.setStyleSheet(CANCEL_STYLE if running else PRIMARY_STYLE)
        set_icon(button, self._icons.icon("Cancel" if running else "Register"))
        if running:
            button.toolTip = tooltip(self._widgets.stop)
        self._widgets.bar.visible = running
        self._widgets.progress.visible = running
