"""Update: the new moving volume, or frame of a sequence, registered from the present result into the same nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import slicer
import vtk
from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.recipes import motion_predictors
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Run
from DeepRegLib.panel.task import Task, in_place_of
from DeepRegLib.panel.watching import Watch
from DeepRegLib.scene.nodes import APPLIED_ROLE, nodes_of_class
from DeepRegLib.scene.outputs import Results
from DeepRegLib.scene.sequences import current_volume, frame_seconds
from DeepRegLib.tracking import SCORES, Motion
from DeepRegLib.tracking.request import last_of
from DeepRegLib.transforms import Transform

NOT_EXPECTED = ""
KEPT = 200  # scans


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
    motion
        Returns the transforms of the latest series that was registered; () where there is none.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        scene: slicer.vtkMRMLScene,
        registration: RegistrationSection,
        task: Callable[[Parameters], Task],
        motion: Callable[[], tuple[Transform, ...]],
    ) -> None:
        self._ui = ui
        self._scene = scene
        self._registration = registration
        self._task = task
        self._motion = motion
        self._parameters: Parameters | None = None
        self._due = False
        self._seen: tuple[str, int] | None = None
        # Python code that edits voxels in place says no more than that the node was modified.
        events = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        self._watch = Watch(events, self._on_changed)
        choices = ((_("Not expected"), NOT_EXPECTED), (_("By a line"), "line"), (_("By a filter"), "autoregressive"))
        for text, value in (*choices, *((name, name) for name in motion_predictors())):
            ui.updateMotionSelector.addItem(text, value)
        ui.updateMotionSelector.connect("currentIndexChanged(int)", self._on_choice)
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

    def _on_choice(self, _value: object = None) -> None:
        self.refresh()

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
        try:
            motion = self._expected(run)
        except DeepRegError as error:
            self._registration.show_error(error)
            return
        last = last_of(run.registration, run.task.last)
        outputs = replace(wanted.outputs, **dict.fromkeys(self._in_use(run.results), True))
        task = replace(wanted, outputs=outputs, last=last, motion=motion, repair=None)
        self._registration.start(in_place_of(run.results, task))

    def _in_use(self, results: Results) -> list[str]:
        """Return which transforms of a result the user put something under: these are kept, ticked or not."""
        nodes = nodes_of_class(self._scene, "vtkMRMLTransformableNode")
        used = {node.GetTransformNodeID() for node in nodes if not node.GetNodeReferenceID(APPLIED_ROLE)}
        return [name for name in ("transform", "inverse") if results.ids.get(name, "") in used]

    def _expected(self, run: Run) -> Motion | None:
        """Return what is known of the motion, if it is to be expected."""
        selector = self._ui.updateMotionSelector
        predictor = str(selector.itemData(selector.currentIndex))
        if predictor == NOT_EXPECTED:
            return None
        transforms = self._motion()
        if not transforms:
            raise InputError(
                _("There is no motion to expect the anatomy by."),
                _("Register a series in the tab Series first, or choose Not expected under Advanced."),
            )
        moving = self._parameters.movingVolume if self._parameters is not None else None
        at = frame_seconds(moving) if moving is not None else None
        now = time.time() if at is None else at
        return Motion(transforms, predictor, now, tuple(each for each in _seen(run) if each[0] < now))


def _seen(run: Run) -> tuple[tuple[float, ...], ...]:
    """Return when the scans before were taken, and their scores, as far as motion was expected then."""
    motion = run.task.motion
    if motion is None or run.registration is None:
        return ()
    scores = run.registration.provenance.get(SCORES)
    found = () if scores is None else ((motion.time, *(float(score) for score in scores)),)
    return (*motion.seen, *found)[-KEPT:]


def _voxels(node: slicer.vtkMRMLNode | None) -> tuple[str, int] | None:
    """Return what changes when a volume gets other voxels, or these are edited; None without any."""
    image = node.GetImageData() if node is not None else None
    scalars = image.GetPointData().GetScalars() if image is not None else None
    return None if scalars is None else (str(scalars.GetAddressAsString("vtkDataArray")), int(scalars.GetMTime()))
