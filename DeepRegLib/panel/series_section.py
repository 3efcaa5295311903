"""The tab Series: a sequence browser, a reference, one button, and sequences that play with the frames."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.series import SERIES
from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.appearance import Icons
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.task_run import TaskRun, TaskWidgets
from DeepRegLib.panel.words import error_html
from DeepRegLib.recipes import AUTO, load_recipe, recipe_names
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.scene.segmentations import SegmentLayers, layer_steps
from DeepRegLib.scene.series_frames import frame_steps, volume_sequence
from DeepRegLib.scene.series_results import SeriesNodes, series_result_steps
from DeepRegLib.scene.steps import Steps
from DeepRegLib.series.request import SeriesRequest, SeriesResult
from DeepRegLib.transforms import Transform
from DeepRegLib.transforms.thinning import thinned

LOG = logging.getLogger(__name__)
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
        self._scene = scene
        self._engine_problem = engine_problem
        self._parameters: Parameters | None = None
        self.results: SeriesNodes | None = None
        self.motion: tuple[Transform, ...] = ()  # of the latest result, on coarse grids
        self._run = TaskRun(
            TaskWidgets(
                ui.seriesButton,
                ui.seriesProgressBar,
                ui.seriesProgressLabel,
                ui.seriesMessageLabel,
                start=_("Register series"),
                stop=_("Stop; frames that are done are kept for the next run."),
                cancelled=html.escape(_("Cancelled. Frames that are done are kept: press again to go on from them.")),
            ),
            engine,
            scene,
            icons,
            self._on_pressed,
            self.refresh,
        )
        ui.seriesButton.connect("clicked(bool)", self._run.press)
        for text, value in ((_("automatic"), AUTO), (_("the frame shown now"), SHOWN), (_("mean of all frames"), MEAN)):
            ui.seriesReferenceSelector.addItem(text, value)
        for name in recipe_names():
            ui.seriesRecipeSelector.addItem(name, name)
        ui.seriesRecipeSelector.setCurrentIndex(recipe_names().index(AUTO))
        ui.seriesReferenceSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.seriesRecipeSelector.connect("currentIndexChanged(int)", self._on_choice)

    @property
    def running(self) -> bool:
        """Whether a series is being registered."""
        return self._run.running

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self.motion = ()
            self._run.cancel()
            self._run.tell("")

    def refresh(self) -> None:
        """Show whether it can be run."""
        if self._parameters is None or self.running:
            return
        self._run.show_problem(self._problem(), _("Register the frames of the sequence."))

    def _problem(self) -> DeepRegError | None:
        try:
            volume_sequence(None if self._parameters is None else self._parameters.seriesBrowser)
        except DeepRegError as error:
            return error
        return None

    def _on_choice(self, _value: object = None) -> None:
        self.refresh()

    def _on_pressed(self) -> None:
        parameters = self._parameters
        if parameters is None:
            return
        problem = self._problem() or self._engine_problem()
        self._run.tell("" if problem is None else error_html(problem))
        if problem is not None:
            return
        browser = parameters.seriesBrowser
        reference, recipe = (
            str(selector.itemData(selector.currentIndex))
            for selector in (self._ui.seriesReferenceSelector, self._ui.seriesRecipeSelector)
        )
        steps = _request_steps(browser, parameters.seriesContours, reference, recipe, parameters.device or None)
        self._run.read("frames", steps, lambda read: self._submit(read, browser))

    def _submit(self, read: _Read, browser: slicer.vtkMRMLSequenceBrowserNode) -> None:
        name = str(volume_sequence(browser).GetName())
        self._run.submit(SERIES, read.request, lambda result: self._arrived(result, read, browser, name))

    def _arrived(
        self, result: SeriesResult, read: _Read, browser: slicer.vtkMRMLSequenceBrowserNode, name: str
    ) -> None:
        def added(nodes: SeriesNodes) -> None:
            self.results = nodes
            self.motion = tuple(thinned(each) for each in result.transforms)
            self._run.finish(series_html(result))

        self._run.add(_explained(series_result_steps(self._scene, browser, result, read.layers, name)), added)


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
