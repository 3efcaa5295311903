"""The panel: its sections, and what they show of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer

from DeepRegLib.panel.advanced_section import AdvancedSection
from DeepRegLib.panel.appearance import Icons
from DeepRegLib.panel.compare_section import CompareSection
from DeepRegLib.panel.comparison import Comparison
from DeepRegLib.panel.drivers_section import DriversSection
from DeepRegLib.panel.environment_section import EnvironmentSection
from DeepRegLib.panel.inputs_section import InputsSection
from DeepRegLib.panel.linked_section import LinkedSection
from DeepRegLib.panel.model_section import ModelSection
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Runner
from DeepRegLib.panel.settings import Store
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
        self.inputs = InputsSection(ui, images)
        self.drivers = DriversSection(ui)
        self.registration = RegistrationSection(ui, runner, scene, self.environment.problem, ask, images)
        self.model = ModelSection(ui, self.registration.show_error, images)
        self.compare = CompareSection(ui, Comparison(scene))
        self.linked = LinkedSection(ui, scene)
        self.advanced = AdvancedSection(ui, lambda: runner.engine.worker, self.registration.show_error)
        self._sections = (
            self.inputs,
            self.model,
            self.drivers,
            self.registration,
            self.compare,
            self.linked,
            self.advanced,
        )
        self._bound = False
        labels = [widget for widget in vars(ui).values() if isinstance(widget, qt.QLabel) and widget.wordWrap]
        self._sizes = (WrappedLabels(labels), GrowingTabs(ui.taskTabs))

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._bound = parameters is not None
        for section in self._sections:
            section.bind(parameters)
        if parameters is None:
            self.registration.cancel()
            self.registration.show_error(None)
        self.refresh()

    def suspend(self) -> None:
        """Give the views back while another module is open."""
        self.linked.suspend()

    def resume(self) -> None:
        """Take the views again."""
        self.linked.resume()

    def close(self) -> None:
        """Leave engine and views: the widgets are about to go."""
        self.bind(None)
        self.environment.close()
        for sizes in self._sizes:
            sizes.close()

    def _on_environment_changed(self) -> None:
        self.registration.show_error(None)  # what stood in the way may be gone
        self.refresh()

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._bound:
            for section in self._sections:
                section.refresh()
            self.environment.refresh()
