"""Update: the new moving volume, or frame of a sequence, registered from the present result into the same nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import slicer
import vtk

from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Run
from DeepRegLib.panel.task import Task
from DeepRegLib.panel.watching import Watch
from DeepRegLib.scene.sequences import current_volume
from DeepRegLib.tracking.request import last_of


class UpdateSection:
    """The row under Register that follows a patient.

    The result's nodes are overwritten, so what was put under its transforms - segments and markups of a plan under the
    inverse - goes along.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Where the results are.
    registration
        Knows the latest result, and runs the update.
    task
        Returns the task that the panel describes; may raise a `DeepRegError`.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        scene: slicer.vtkMRMLScene,
        registration: RegistrationSection,
        task: Callable[[Parameters], Task],
    ) -> None:
        self._ui = ui
        self._scene = scene
        self._registration = registration
        self._task = task
        self._parameters: Parameters | None = None
        self._due = False
        self._seen: tuple[str, int] | None = None
        # Python code that edits voxels in place says no more than that the node was modified.
        events = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        self._watch = Watch(events, self._on_changed)
        ui.updateButton.connect("clicked(bool)", self._on_update)
        ui.autoUpdateCheckBox.connect("toggled(bool)", self._on_toggled)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._due = False
            self._ui.autoUpdateCheckBox.checked = False
            self._watch.stop()

    def refresh(self) -> None:
        """Show whether there is a result that can be followed, and watch the moving volume if that is wanted."""
        if self._parameters is None:
            return
        run = self._followed()
        self._ui.updateRow.visible = run is not None
        self._ui.updateButton.enabled = run is not None and not self._registration.running
        following = run is not None and self._ui.autoUpdateCheckBox.checked
        self._watch.follow([self._moving()] if following else [])
        if self._due and run is not None and not self._registration.running:
            self._due = False
            self._update(run)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._watch.stop()

    def _followed(self) -> Run | None:
        """Return the latest result if its transform is in the scene and its fixed volume is still chosen."""
        run, parameters = self._registration.result, self._parameters
        if run is None or parameters is None or run.results is None or run.results.transform is None:
            return None
        there = self._scene.GetNodeByID(run.results.transform) is not None
        return run if there and run.task.fixed is parameters.fixedVolume else None

    def _moving(self) -> slicer.vtkMRMLNode | None:
        node = self._parameters.movingVolume if self._parameters is not None else None
        try:
            return current_volume(node) if node is not None else None
        except DeepRegError:  # a sequence without frames
            return None

    def _on_toggled(self, _checked: bool = False) -> None:
        self._seen = _voxels(self._moving())
        self.refresh()

    def _on_changed(self) -> None:
        run, now = self._followed(), _voxels(self._moving())
        if run is None or not self._ui.autoUpdateCheckBox.checked or now == self._seen:
            return
        self._seen = now
        if self._registration.running:
            self._due = True  # of all that came meanwhile the latest counts
        else:
            self._update(run)

    def _on_update(self, _checked: bool = False) -> None:
        run = self._followed()
        if run is not None and not self._registration.running:
            self._update(run)

    def _update(self, run: Run) -> None:
        if self._parameters is None or run.registration is None or run.results is None:
            return
        try:
            wanted = self._task(self._parameters)
        except DeepRegError as error:
            self._registration.show_error(error)
            return
        last = last_of(run.registration, run.task.last)
        existing = dict(run.results.ids)
        task = replace(wanted, existing=existing, overwrite=frozenset(existing), last=last, repair=None)
        self._registration.start(task)


def _voxels(node: slicer.vtkMRMLNode | None) -> tuple[str, int] | None:
    """Return what changes when a volume gets other voxels, or these are edited; None without any."""
    image = node.GetImageData() if node is not None else None
    scalars = image.GetPointData().GetScalars() if image is not None else None
    return None if scalars is None else (str(scalars.GetAddressAsString("vtkDataArray")), int(scalars.GetMTime()))
