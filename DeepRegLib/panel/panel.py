"""The panel: its sections, and what they show of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer

from DeepRegLib.panel.advanced_section import AdvancedSection
from DeepRegLib.panel.along_section import AlongSection
from DeepRegLib.panel.appearance import Icons
from DeepRegLib.panel.compare_section import CompareSection
from DeepRegLib.panel.dicom_section import DicomSection
from DeepRegLib.panel.drivers_section import DriversSection
from DeepRegLib.panel.environment_section import EnvironmentSection
from DeepRegLib.panel.inputs_section import InputsSection
from DeepRegLib.panel.linked_section import LinkedSection
from DeepRegLib.panel.model_section import ModelSection
from DeepRegLib.panel.outputs_section import OutputsSection
from DeepRegLib.panel.parameters import Parameters, let_go, task_of
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.repair_section import RepairSection
from DeepRegLib.panel.running import Runner
from DeepRegLib.panel.saving_section import SavingSection
from DeepRegLib.panel.segment_section import SegmentSection
from DeepRegLib.panel.series_section import SeriesSection
from DeepRegLib.panel.settings import Store
from DeepRegLib.panel.sources import Sources
from DeepRegLib.panel.stable_section import StableSection
from DeepRegLib.panel.translation_section import TranslationSection
from DeepRegLib.panel.update_section import UpdateSection
from DeepRegLib.panel.wrapping import GrowingTabs, WrappedLabels


class Panel:
    """Everything behind the widgets.

    Parameters
    ----------
    ui
        The widgets of ``DeepReg.ui`` by name.
    runner
        Runs registrations.
    scene
        The scene of the module.
    store
        Slicer's settings.
    ask
        Asks the user a question and returns whether the answer is yes.
    icons
        The folder of the panel's icons.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        runner: Runner,
        scene: slicer.vtkMRMLScene,
        store: Store,
        ask: Callable[[str], bool],
        icons: Path,
    ) -> None:
        images = Icons(icons)
        self.environment = EnvironmentSection(ui, runner.engine, store, self._on_environment_changed)
        self._scene = scene
        self._sources = Sources()
        self.inputs = InputsSection(ui, scene, self._sources, self._on_volumes_changed, images)
        self.drivers = DriversSection(ui, self.refresh)
        self.outputs = OutputsSection(ui, scene, ask)
        self.compare = CompareSection(ui, scene)
        self.registration = RegistrationSection(
            ui,
            runner,
            scene,
            self._sources,
            self.outputs.permitted,
            self.compare,
            self.environment.problem,
            ask,
            images,
            self.refresh,
        )
        self.model = ModelSection(ui, self._sources, self.registration.show_error, images)
        self.translation = TranslationSection(ui)
        self.linked = LinkedSection(ui, scene)
        self.repair = RepairSection(ui, scene, self.registration)
        self.update = UpdateSection(
            ui,
            scene,
            self.registration,
            lambda now: task_of(now, self._sources.load),
            lambda: self.series.motion,
        )
        self.along = AlongSection(ui, scene, self.registration)
        self.dicom = DicomSection(ui, self.registration)
        self.stable = StableSection(ui, scene, self.registration, self.registration.press)
        self.segment = SegmentSection(ui, runner.engine, scene, self.environment.problem, images)
        self.series = SeriesSection(ui, runner.engine, scene, self.environment.problem, images)
        self.saving = SavingSection(ui, runner.engine, self.registration, ask)
        self.advanced = AdvancedSection(ui, self._sources, lambda: runner.engine.worker, self.registration.show_error)
        self._sections = (
            self.inputs,
            self.model,
            self.translation,
            self.drivers,
            self.registration,
            self.compare,
            self.linked,
            self.repair,
            self.update,
            self.stable,
            self.along,
            self.dicom,
            self.saving,
            self.advanced,
            self.segment,
            self.series,
        )
        self._parameters: Parameters | None = None
        labels = [widget for widget in vars(ui).values() if isinstance(widget, qt.QLabel) and widget.wordWrap]
        self._sizes = (WrappedLabels(labels), GrowingTabs(ui.taskTabs))

    def bind(self, parameters: Parameters | None, *, with_scene: bool = False) -> None:
        """Show and change these parameters from now on; none while a scene is closed.

        Parameters
        ----------
        parameters
            Of the scene.
        with_scene
            Whether a scene brought them: the files they name are not read before the user was asked.
        """
        self._parameters = parameters
        if parameters is not None and with_scene:
            self._sources.named_by_scene(parameters)
        for section in self._sections:
            section.bind(parameters)
        if parameters is None:
            self.registration.cancel()
            self.registration.show_error(None)
        self.refresh()

    def suspend(self) -> None:
        """Give the views back while another module is open, or the scene is being saved or read."""
        self.compare.suspend()
        self.linked.suspend()

    def resume(self) -> None:
        """Take the views again, and look what was installed meanwhile."""
        self.environment.look_again()
        self.compare.resume()
        self.linked.resume()

    def let_go(self, node: slicer.vtkMRMLNode) -> None:
        """Hold a node no longer that is about to be removed."""
        if self._parameters is not None:
            let_go(self._parameters, node)

    def close(self) -> None:
        """Leave engine and views: the widgets are about to go."""
        self.bind(None)
        self.environment.close()
        for sizes in self._sizes:
            sizes.close()

    def _on_volumes_changed(self) -> None:
        self.inputs.choose_volumes()
        self.refresh()

    def _on_environment_changed(self) -> None:
        self.registration.show_error(None)  # what stood in the way may be gone
        self.refresh()

    def refresh(self) -> None:
        """Show what the parameters say; while many things change in one go, at their end alone."""
        if self._parameters is not None and not self._scene.IsImporting() and not self._scene.IsBatchProcessing():
            for section in self._sections:
                section.refresh()
            self.environment.refresh()
