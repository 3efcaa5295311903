"""The tab Series: a sequence browser, a reference, one button, and sequences that play with the frames."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.job import Job
from DeepRegLib.engine.series import SERIES
from DeepRegLib.errors import CancelledError, DeepRegError
from DeepRegLib.panel.appearance import CANCEL_STYLE, PRIMARY_STYLE, Icons, set_icon
from DeepRegLib.panel.double_click import OneClick
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.slicing import Sliced
from DeepRegLib.panel.words import error_html, progress_text, tooltip
from DeepRegLib.recipes import AUTO, load_recipe, recipe_names
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.scene.segmentations import SegmentLayers, layer_steps
from DeepRegLib.scene.series_frames import frame_steps, volume_sequence
from DeepRegLib.scene.series_results import SeriesNodes, series_result_steps
from DeepRegLib.scene.steps import Steps
from DeepRegLib.series.request import SeriesRequest, SeriesResult

LOG = logging.getLogger(__name__)
FULL = 1000
SHOWN = "shown"
MEAN = "mean"


@dataclass(frozen=True, eq=False)
class _Read:
    request: SeriesRequest
    layers: SegmentLayers | None


class SeriesSection:
    """Chooses frames and reference, registers the series in one run of the engine, and puts it into the scene.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    engine
        Where it is computed.
    scene
        Where the results go.
    engine_problem
        Returns why the engine cannot run as it is set, or None.
    icons
        The panel's icons.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        engine: Engine,
        scene: slicer.vtkMRMLScene,
        engine_problem: Callable[[], DeepRegError | None],
        icons: Icons,
    ) -> None:
        self._ui = ui
        self._engine = engine
        self._scene = scene
        self._engine_problem = engine_problem
        self._icons = icons
        self._parameters: Parameters | None = None
        self._slices: Sliced[Any] | None = None
        self._job: Job[SeriesRequest, SeriesResult] | None = None
        self.running = False
        self.results: SeriesNodes | None = None
        self._one_click = OneClick()  # the second half of a double-click would cancel what the first has started
        for text, value in ((_("automatic"), AUTO), (_("the frame shown now"), SHOWN), (_("mean of all frames"), MEAN)):
            ui.seriesReferenceSelector.addItem(text, value)
        for name in recipe_names():
            ui.seriesRecipeSelector.addItem(name, name)
        ui.seriesRecipeSelector.setCurrentIndex(recipe_names().index(AUTO))
        ui.seriesReferenceSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.seriesRecipeSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.seriesButton.installEventFilter(self._one_click)
        ui.seriesButton.connect("clicked(bool)", self._on_button)
        self._show_button()

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self.cancel()
            self._tell("")

    def refresh(self) -> None:
        """Show whether it can be run."""
        if self._parameters is None or self.running:
            return
        problem = self._problem()
        self._ui.seriesButton.enabled = problem is None
        tip = _("Register the frames of the sequence.") if problem is None else str(problem)
        self._ui.seriesButton.toolTip = tooltip(tip)

    def cancel(self) -> None:
        """Stop what runs; does nothing when nothing does."""
        if not self.running:
            return
        self._ui.seriesProgressLabel.text = progress_text("cancelling", None, None)
        if self._slices is not None and self._slices.stop():
            self._failed(CancelledError())
        elif self._job is not None:
            self._job.cancel()

    def _problem(self) -> DeepRegError | None:
        try:
            volume_sequence(None if self._parameters is None else self._parameters.seriesBrowser)
        except DeepRegError as error:
            return error
        return None

    def _on_choice(self, _value: object = None) -> None:
        self.refresh()

    def _on_button(self, _checked: bool = False) -> None:
        if self.running:
            self.cancel()
        elif self._parameters is not None:
            self._start(self._parameters)

    def _start(self, parameters: Parameters) -> None:
        self._tell("")
        problem = self._problem() or self._engine_problem()
        if problem is not None:
            self._tell(error_html(problem))
            return
        browser = parameters.seriesBrowser
        self.running = True
        self._job = None
        self._show_button()
        self._on_progress("frames", 0.0, None, None)
        reference, recipe = (
            str(selector.itemData(selector.currentIndex))
            for selector in (self._ui.seriesReferenceSelector, self._ui.seriesRecipeSelector)
        )
        steps = _request_steps(browser, parameters.seriesContours, reference, recipe, parameters.device or None)
        self._slices = Sliced(steps, lambda read: self._submit(read, browser), self._failed)
        try:
            self._slices.start()
        except DeepRegError as error:
            self._failed(error)

    def _submit(self, read: _Read, browser: slicer.vtkMRMLSequenceBrowserNode) -> None:
        name = str(volume_sequence(browser).GetName())
        self._on_progress("waiting", 0.0, None, None)
        self._job = self._engine.submit(
            SERIES,
            read.request,
            on_progress=self._on_progress,
            on_result=lambda result: self._arrived(result, read, browser, name),
            on_error=self._failed,
        )

    def _arrived(
        self, result: SeriesResult, read: _Read, browser: slicer.vtkMRMLSequenceBrowserNode, name: str
    ) -> None:
        def added(nodes: SeriesNodes) -> None:
            self.results = nodes
            self._finish()
            self._tell(series_html(result))

        if self._scene.IsClosing():
            self._failed(CancelledError())
            return
        steps = _explained(series_result_steps(self._scene, browser, result, read.layers, name))
        self._slices = Sliced(steps, added, self._failed)
        try:
            self._slices.start()
        except DeepRegError as error:
            self._failed(error)

    def _failed(self, error: DeepRegError) -> None:
        self._finish()
        if isinstance(error, CancelledError):
            self._tell(html.escape(_("Cancelled. Frames that are done are kept: press again to go on from them.")))
        else:
            self._tell(error_html(error))

    def _finish(self) -> None:
        self.running = False
        self._slices = None
        self._show_button()
        self.refresh()

    def _on_progress(self, stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
        self._ui.seriesProgressBar.value = round(FULL * fraction)
        self._ui.seriesProgressLabel.text = progress_text(stage, similarity, seconds_left)

    def _tell(self, text: str) -> None:
        self._ui.seriesMessageLabel.text = text
        self._ui.seriesMessageLabel.visible = bool(text)

    def _show_button(self) -> None:
        button, running = self._ui.seriesButton, self.running
        button.text = _("Cancel") if running else _("Register series")
        button.setStyleSheet(CANCEL_STYLE if running else PRIMARY_STYLE)
        set_icon(button, self._icons.icon("Cancel" if running else "Register"))
        if running:
            button.toolTip = tooltip(_("Stop; frames that are done are kept for the next run."))
        self._ui.seriesProgressBar.visible = running
        self._ui.seriesProgressLabel.visible = running


def series_html(result: SeriesResult) -> str:
    """Return what to say of a registered series, as markup."""
    words = {
        OK: _("No sign of failure was found. Play it before you rely on it."),
        CHECK: _("Something is unusual. Look at it before you use it."),
        FAILED: _("Do not use this result."),
    }
    largest = max(result.rows, key=lambda row: row.motion_mean)
    motion = _("Largest mean motion: {motion:.1f} mm, in {frame}.").format(
        motion=largest.motion_mean, frame=largest.name
    )
    rough = _("Roughness of paths over time: {before:.2f} mm before smoothing, {after:.2f} mm after.").format(
        before=result.roughness_before, after=result.roughness_after
    )
    texts = (*result.verdict.reasons, motion, rough, *result.warnings, *result.decisions)
    return "<br>".join([f"<b>{html.escape(words[result.verdict.level])}</b>", *(html.escape(text) for text in texts)])


def _request_steps(
    browser: slicer.vtkMRMLSequenceBrowserNode,
    contours: slicer.vtkMRMLSegmentationNode | None,
    reference: str,
    recipe: str,
    device: str | None,
) -> Steps[_Read]:
    """Read frames and contours in steps."""
    shown = max(browser.GetSelectedItemNumber(), 0)
    layers = None
    if contours is not None:
        layers = yield from layer_steps(contours)
    frames = yield from frame_steps(browser)
    request = SeriesRequest(
        frames.images,
        frames.times,
        frames.unit,
        load_recipe(recipe),
        str(shown) if reference == SHOWN else reference,
        () if layers is None else layers.images,
        shown,
        device,
    )
    return _Read(request, layers)


def _explained(steps: Steps[SeriesNodes]) -> Steps[SeriesNodes]:
    """Turn what goes wrong while nodes are made into an error that can be told."""
    try:
        nodes = yield from steps
    except DeepRegError:
        raise
    except Exception as error:
        LOG.exception("The registered series could not be put into the scene")
        raise DeepRegError(
            _("The registered series could not be put into the scene: {reason}").format(reason=error),
            _("The frames are unchanged; see the Python console, and try again."),
        ) from error
    return nodes
