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

from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
from DeepRegLib.engine.segmentation import SEGMENT
from DeepRegLib.engine.task import Task
from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.image import read_image
from DeepRegLib.panel.appearance import Icons
from DeepRegLib.panel.atlas_list import AtlasList
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.segment_by import SegmentBy
from DeepRegLib.panel.task_run import TaskRun, TaskWidgets
from DeepRegLib.panel.words import error_html
from DeepRegLib.recipes import load_recipe, recipe_names
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.scene.atlases import AtlasPair, atlas_steps
from DeepRegLib.scene.segmentation_results import SegmentationNodes, add_segmentation_result, segmentation_steps
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.volumes import image_from_volume, scan_fault
from DeepRegLib.segmentation.atlas_folder import atlas_files
from DeepRegLib.segmentation.atlas_numbers import numbered_alike
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.request import (
    DEFAULT_FUSION,
    DEFAULT_RECIPE,
    FUSIONS,
    JOINT,
    LOCAL,
    MAJORITY,
    Atlas,
    SegmentRequest,
)
from DeepRegLib.segmentation.result import Segmentation
from DeepRegLib.segmentation.seg_nrrd import read_segmentation

LOG = logging.getLogger(__name__)
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
        self._scene = scene
        self._engine_problem = engine_problem
        self._parameters: Parameters | None = None
        self.results: SegmentationNodes | None = None
        self._run = TaskRun(
            TaskWidgets(
                ui.segmentButton,
                ui.segmentProgressBar,
                ui.segmentProgressLabel,
                ui.segmentMessageLabel,
                start=_("Segment"),
                stop=_("Stop the segmentation; the scene stays as it is."),
            ),
            engine,
            scene,
            icons,
            self._on_pressed,
            self.refresh,
        )
        ui.segmentButton.connect("clicked(bool)", self._run.press)
        for fusion in FUSIONS:
            ui.fusionSelector.addItem(_fusion_text(fusion), fusion)
        ui.fusionSelector.setCurrentIndex(FUSIONS.index(DEFAULT_FUSION))
        for name in recipe_names():
            ui.segmentRecipeSelector.addItem(name, name)
        ui.segmentRecipeSelector.setCurrentIndex(recipe_names().index(DEFAULT_RECIPE))
        ui.fusionSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.segmentRecipeSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.atlasFolderEdit.connect("currentPathChanged(QString)", self._on_choice)
        self._by = SegmentBy(ui, self.refresh)
        self._pairs = AtlasList(ui, scene, self.refresh)
        ui.taskTabs.connect("currentChanged(int)", self._on_shown)

    @property
    def running(self) -> bool:
        """Whether a volume is being segmented."""
        return self._run.running

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._run.cancel()
            self._run.tell("")
            self._pairs.stop()

    def node_added(self) -> None:
        """Offer what may have become an atlas, soon."""
        self._pairs.node_added()

    def refresh(self) -> None:
        """Show whether it can be run."""
        if self._parameters is None or self.running:
            return
        self._pairs.show(self._parameters.segmentScan, wanted=self._by.atlases)
        self._run.show_problem(self._problem(), _("Segment the volume."))

    def _problem(self) -> DeepRegError | None:
        scan = None if self._parameters is None else self._parameters.segmentScan
        if scan is None:
            return InputError(_("No volume is chosen."), _("Choose the volume to segment."))
        if not self._by.atlases:
            return self._by.problem() or scan_fault(scan)
        if not self._folder() and not self._pairs.checked():
            return InputError(_("No atlases are chosen."), _("Choose a folder of atlases, or check some in the scene."))
        return scan_fault(scan)

    def _folder(self) -> str:
        return str(self._ui.atlasFolderEdit.currentPath).strip()

    def _on_shown(self, _tab: int) -> None:
        self.node_added()

    def _on_choice(self, _value: object = None) -> None:
        self.refresh()

    def _on_pressed(self) -> None:
        if self._parameters is None:
            return
        scan = self._parameters.segmentScan
        self._run.tell("")
        try:
            problem = self._problem() or self._engine_problem()
            if problem is not None:
                raise problem
            files = atlas_files(self._folder()) if self._by.atlases and self._folder() else ()
        except DeepRegError as error:
            self._run.tell(error_html(error))
            return
        self._read(scan, files, self._parameters.device or None)

    def _read(
        self, scan: slicer.vtkMRMLScalarVolumeNode, files: Sequence[tuple[str, Path, Path]], device: str | None
    ) -> None:
        """Read scan and atlases, and then have the engine segment."""
        if not self._by.atlases:
            wanted = _model_steps(scan, self._by.model, self._by.mirror, device)
            self._run.read("read", wanted, lambda request: self._submit(SEGMENT_WITH, request, scan))
            return
        recipe, fusion = (
            str(selector.itemData(selector.currentIndex))
            for selector in (self._ui.segmentRecipeSelector, self._ui.fusionSelector)
        )
        steps = _request_steps(scan, files, self._pairs.checked(), recipe, fusion, device)
        self._run.read("read", steps, lambda request: self._submit(SEGMENT, request, scan))

    def _submit(self, task: Task[Any, Segmentation], request: Any, scan: slicer.vtkMRMLScalarVolumeNode) -> None:
        name = str(scan.GetName())
        self._run.submit(task, request, lambda result: self._arrived(result, scan, name))

    def _arrived(self, result: Segmentation, scan: slicer.vtkMRMLScalarVolumeNode, name: str) -> None:
        def added(labelmaps: tuple[slicer.vtkOrientedImageData, ...]) -> None:
            try:
                there = scan if scan.GetScene() is self._scene else None
                self.results = add_segmentation_result(self._scene, result, labelmaps, there, name)
            except Exception as error:
                LOG.exception("The segmentation could not be put into the scene")
                self._run.fail(error if isinstance(error, DeepRegError) else _not_added(error))
                return
            self._run.finish(result_html(result))

        self._run.add(segmentation_steps(result), added)


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
    pairs: Sequence[AtlasPair],
    recipe: str,
    fusion: str,
    device: str | None,
) -> Steps[SegmentRequest]:
    """Read scan and atlases in steps: those of files, and those of the scene, whose segments are known by name."""
    image, scene = image_from_volume(scan), scan.GetScene()
    atlases: list[Atlas] = []
    for name, scan_file, label_file in files:
        yield
        labels, segments = read_segmentation(label_file)
        yield
        atlases.append(Atlas(name, read_image(scan_file), labels, segments))
    of_scene: list[Atlas] = []
    for pair in pairs:
        atlas = yield from atlas_steps(scene, pair, [each.name for each in (*atlases, *of_scene)])
        of_scene.append(atlas)
    atlases += numbered_alike(of_scene, atlases)
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
