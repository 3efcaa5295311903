"""The tab Segment: a scan, a folder of atlases or a model, one button, and what came of it."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.job import Job
from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
from DeepRegLib.engine.segmentation import SEGMENT
from DeepRegLib.engine.task import Task
from DeepRegLib.errors import CancelledError, DeepRegError, InputError
from DeepRegLib.panel.appearance import CANCEL_STYLE, PRIMARY_STYLE, Icons, set_icon
from DeepRegLib.panel.double_click import OneClick
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.segment_by import SegmentBy
from DeepRegLib.panel.slicing import Sliced
from DeepRegLib.panel.words import error_html, progress_text, tooltip
from DeepRegLib.recipes import load_recipe, recipe_names
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.scene.segmentation_results import SegmentationNodes, add_segmentation_result, segmentation_steps
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.volumes import image_from_volume, scan_fault
from DeepRegLib.segmentation.atlas_folder import atlas_files, read_atlas
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.request import (
    DEFAULT_FUSION,
    DEFAULT_RECIPE,
    FUSIONS,
    JOINT,
    LOCAL,
    MAJORITY,
    SegmentRequest,
)
from DeepRegLib.segmentation.result import Segmentation

LOG = logging.getLogger(__name__)
FULL = 1000
MOST_TOLD = 8


class SegmentSection:
    """Chooses scan and atlases, runs the segmentation in the engine, and puts it into the scene.

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
        self._job: Job[SegmentRequest, Segmentation] | Job[ModelRequest, Segmentation] | None = None
        self.running = False
        self.results: SegmentationNodes | None = None
        self._one_click = OneClick()  # the second half of a double-click would cancel what the first has started
        for fusion in FUSIONS:
            ui.fusionSelector.addItem(_fusion_text(fusion), fusion)
        ui.fusionSelector.setCurrentIndex(FUSIONS.index(DEFAULT_FUSION))
        for name in recipe_names():
            ui.segmentRecipeSelector.addItem(name, name)
        ui.segmentRecipeSelector.setCurrentIndex(recipe_names().index(DEFAULT_RECIPE))
        ui.segmentButton.installEventFilter(self._one_click)
        ui.segmentButton.connect("clicked(bool)", self._on_button)
        ui.fusionSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.segmentRecipeSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.atlasFolderEdit.connect("currentPathChanged(QString)", self._on_choice)
        self._by = SegmentBy(ui, self.refresh)
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
        self._ui.segmentButton.enabled = problem is None
        tip = _("Segment the volume.") if problem is None else str(problem)
        self._ui.segmentButton.toolTip = tooltip(tip)

    def cancel(self) -> None:
        """Stop what runs; does nothing when nothing does."""
        if not self.running:
            return
        self._ui.segmentProgressLabel.text = progress_text("cancelling", None, None)
        if self._slices is not None and self._slices.stop():
            self._failed(CancelledError())
        elif self._job is not None:
            self._job.cancel()

    def _problem(self) -> DeepRegError | None:
        scan = None if self._parameters is None else self._parameters.segmentScan
        if scan is None:
            return InputError(_("No volume is chosen."), _("Choose the volume to segment."))
        if not self._by.atlases:
            return self._by.problem() or scan_fault(scan)
        if not self._folder():
            return InputError(_("No folder of atlases is chosen."), _("Choose one."))
        return scan_fault(scan)

    def _folder(self) -> str:
        return str(self._ui.atlasFolderEdit.currentPath).strip()

    def _on_choice(self, _value: object = None) -> None:
        self.refresh()

    def _on_button(self, _checked: bool = False) -> None:
        if self.running:
            self.cancel()
        elif self._parameters is not None:
            self._start(self._parameters)

    def _start(self, parameters: Parameters) -> None:
        scan = parameters.segmentScan
        self._tell("")
        try:
            problem = self._problem() or self._engine_problem()
            if problem is not None:
                raise problem
            files = atlas_files(self._folder()) if self._by.atlases else ()
        except DeepRegError as error:
            self._tell(error_html(error))
            return
        self.running = True
        self._job = None
        self._show_button()
        self._on_progress("read", 0.0, None, None)
        self._slices = self._reading(scan, files, parameters.device or None)
        try:
            self._slices.start()
        except DeepRegError as error:
            self._failed(error)

    def _reading(
        self, scan: slicer.vtkMRMLScalarVolumeNode, files: Sequence[tuple[str, Path, Path]], device: str | None
    ) -> Sliced[Any]:
        """Return what reads scan and atlases, and then has the engine segment."""
        if not self._by.atlases:
            wanted = _model_steps(scan, self._by.model, self._by.mirror, device)
            return Sliced(wanted, lambda request: self._submit(SEGMENT_WITH, request, scan), self._failed)
        recipe, fusion = (
            str(selector.itemData(selector.currentIndex))
            for selector in (self._ui.segmentRecipeSelector, self._ui.fusionSelector)
        )
        steps = _request_steps(scan, files, recipe, fusion, device)
        return Sliced(steps, lambda request: self._submit(SEGMENT, request, scan), self._failed)

    def _submit(self, task: Task[Any, Segmentation], request: Any, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        name = str(scan.GetName())
        self._on_progress("waiting", 0.0, None, None)
        self._job = self._engine.submit(
            task,
            request,
            on_progress=self._on_progress,
            on_result=lambda result: self._arrived(result, scan, name),
            on_error=self._failed,
        )

    def _arrived(self, result: Segmentation, scan: slicer.vtkMRMLScalarVolumeNode, name: str) -> None:
        def added(labelmaps: tuple[slicer.vtkOrientedImageData, ...]) -> None:
            try:
                there = scan if scan.GetScene() is self._scene else None
                self.results = add_segmentation_result(self._scene, result, labelmaps, there, name)
            except Exception as error:
                LOG.exception("The segmentation could not be put into the scene")
                self._failed(error if isinstance(error, DeepRegError) else _not_added(error))
                return
            self._finish()
            self._tell(result_html(result))

        if self._scene.IsClosing():
            self._failed(CancelledError())
            return
        self._slices = Sliced(segmentation_steps(result), added, self._failed)
        self._slices.start()

    def _failed(self, error: DeepRegError) -> None:
        self._finish()
        if not isinstance(error, CancelledError):
            self._tell(error_html(error))

    def _finish(self) -> None:
        self.running = False
        self._slices = None
        self._show_button()
        self.refresh()

    def _on_progress(self, stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
        self._ui.segmentProgressBar.value = round(FULL * fraction)
        self._ui.segmentProgressLabel.text = progress_text(stage, similarity, seconds_left)

    def _tell(self, text: str) -> None:
        self._ui.segmentMessageLabel.text = text
        self._ui.segmentMessageLabel.visible = bool(text)

    def _show_button(self) -> None:
        button, running = self._ui.segmentButton, self.running
        button.text = _("Cancel") if running else _("Segment")
        button.setStyleSheet(CANCEL_STYLE if running else PRIMARY_STYLE)
        set_icon(button, self._icons.icon("Cancel" if running else "Register"))
        if running:
            button.toolTip = tooltip(_("Stop the segmentation; the scene stays as it is."))
        self._ui.segmentProgressBar.visible = running
        self._ui.segmentProgressLabel.visible = running


def result_html(result: Segmentation) -> str:
    """Return what to say of a segmentation, as markup."""
    words = {
        OK: _("No sign of failure was found. Compare it with the scan before you rely on it."),
        CHECK: _("Something is unusual. Look at it before you use it."),
        FAILED: _("Do not use this result."),
    }
    used = sum(row.used for row in result.atlases)
    count = _("{used} of {all} atlases took part.").format(used=used, all=len(result.atlases))
    sure = _("agreement {share:.0%}")
    if result.model:
        count = _("By the model {name}.").format(name=result.model.get("name", ""))
        sure = _("confidence {share:.0%}")
    rows = [
        f"{html.escape(row.name)}: {row.volume:.2f} ml"
        + ("" if row.agreement is None else " · " + sure.format(share=row.agreement))
        for row in result.rows
    ]
    lines = [
        f"<b>{html.escape(words[result.verdict.level])}</b>",
        html.escape(count),
        *(html.escape(reason) for reason in result.verdict.reasons),
        *_shortened(rows),
        *(html.escape(warning) for warning in _shortened(result.warnings)),
    ]
    return "<br>".join(lines)


def _shortened(lines: Sequence[str]) -> list[str]:
    more = [_("and {count} more").format(count=len(lines) - MOST_TOLD)] if len(lines) > MOST_TOLD else []
    return [*lines[:MOST_TOLD], *more]


def _request_steps(
    scan: slicer.vtkMRMLScalarVolumeNode,
    files: Sequence[tuple[str, Path, Path]],
    recipe: str,
    fusion: str,
    device: str | None,
) -> Steps[SegmentRequest]:
    """Read scan and atlases in steps, a file each."""
    image = image_from_volume(scan)
    atlases = []
    for name, scan_file, label_file in files:
        yield
        atlases.append(read_atlas(name, scan_file, label_file))
    return SegmentRequest(image, tuple(atlases), load_recipe(recipe), fusion, device)


def _model_steps(
    scan: slicer.vtkMRMLScalarVolumeNode, model: str, mirror: bool, device: str | None
) -> Steps[ModelRequest]:
    """Read the scan in one step."""
    yield
    return ModelRequest(image_from_volume(scan), model, mirror, device)


def _fusion_text(fusion: str) -> str:
    texts = {MAJORITY: _("majority"), LOCAL: _("local weights"), JOINT: _("joint label fusion")}
    return texts.get(fusion, "STAPLE")


def _not_added(error: Exception) -> DeepRegError:
    return DeepRegError(
        _("The segmentation could not be put into the scene: {reason}").format(reason=error),
        _("The inputs are unchanged; see the Python console, and try again."),
    )
