"""Improve by hand: anatomy dragged to where it belongs, the result solved again near it, and that undone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import slicer

from DeepRegLib.correction import Correction
from DeepRegLib.panel.parameters import Parameters, nodes_along
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Run
from DeepRegLib.panel.task import Repair, Task, in_place_of
from DeepRegLib.scene.nodes import new_node
from DeepRegLib.scene.outputs import Results

LINE_NAME = "Correction"
SELECTED_COLOUR = (1.0, 0.85, 0.1)


class RepairSection:
    """The controls of the correction by hand.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Where lines are drawn.
    registration
        Knows the latest result, runs the improvement and puts a former result back.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        scene: slicer.vtkMRMLScene,
        registration: RegistrationSection,
    ) -> None:
        self._ui = ui
        self._scene = scene
        self._registration = registration
        self._parameters: Parameters | None = None
        self._before: dict[Run, Run] = {}  # each improvement, and the result that it improved
        ui.drawLineButton.connect("clicked(bool)", self._on_draw)
        ui.improveButton.connect("clicked(bool)", self._on_improve)
        ui.undoImproveButton.connect("clicked(bool)", self._on_undo)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._before.clear()

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._parameters is None:
            return
        result, free = self._result(), not self._registration.running
        there = result is not None or (self._registration.result is None and self._registration.has_result)
        self._ui.drawLineButton.enabled = there
        self._ui.improveButton.enabled = free and there and self._parameters.repairMarkups is not None
        self._ui.undoImproveButton.enabled = free and result is not None and result in self._before

    def _result(self) -> Run | None:
        """Return the latest result if its transform is still in the scene."""
        run = self._registration.result
        if run is None or run.results is None or run.results.transform is None:
            return None
        return run if self._scene.GetNodeByID(run.results.transform) is not None else None

    def _on_draw(self, _checked: bool = False) -> None:
        if self._parameters is None:
            return
        line = new_node(self._scene, "vtkMRMLMarkupsLineNode", LINE_NAME)
        line.CreateDefaultDisplayNodes()
        line.GetDisplayNode().SetSelectedColor(*SELECTED_COLOUR)
        self._parameters.repairMarkups = line
        logic = slicer.modules.markups.logic()
        logic.SetActiveList(line)
        logic.StartPlaceMode(False)

    def _on_improve(self, _checked: bool = False) -> None:
        self._registration.with_result(self._improve)

    def _improve(self, run: Run) -> None:
        if self._parameters is None or run is not self._result() or run.registration is None or run.results is None:
            return
        untouched = run.reading.untouched if run.reading is not None else ()
        repair = Repair(self._parameters.repairMarkups, run.registration, self._made(run), untouched)
        task = replace(_into(run.results, run.task, self._parameters), repair=repair, restore=None)
        self._registration.start(task)
        started = self._registration.run
        if started is not None and started is not run and started.task.repair is repair:
            self._before[started] = run

    def _made(self, run: Run) -> tuple[Correction, ...]:
        """Return the corrections that led to a result."""
        repair, reading, restore = run.task.repair, run.reading, run.task.restore
        if restore is not None:
            return restore.record.corrections
        if repair is None or reading is None or reading.improvement is None:
            return ()
        return (*repair.made, reading.improvement.correction)

    def _on_undo(self, _checked: bool = False) -> None:
        run = self._result()
        before = self._before.get(run) if run is not None else None
        if self._parameters is None or run is None or before is None or run.results is None:
            return

        def restored(again: Run) -> None:
            del self._before[run]
            if before in self._before:  # an improvement itself, which can be undone in its turn
                self._before[again] = self._before.pop(before)

        self._registration.put_back(before, _into(run.results, before.task, self._parameters), restored)


def _into(results: Results, task: Task, parameters: Parameters) -> Task:
    """Return a task whose results go into these nodes, with what is chosen now going along."""
    moving, fixed = nodes_along(parameters.movingAlong), nodes_along(parameters.fixedAlong)
    return in_place_of(results, replace(task, moving_along=moving, fixed_along=fixed))
