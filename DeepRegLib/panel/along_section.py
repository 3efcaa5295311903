"""Bring along: markups and models that are copied to the other volume, with each result or now."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import qt
import slicer

from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.panel.check_list import checked_ids, fill
from DeepRegLib.panel.parameters import ALONG, Parameters, nodes_along
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Run
from DeepRegLib.panel.watching import Watch
from DeepRegLib.scene.along import KINDS, along_of, can_go_along
from DeepRegLib.scene.nodes import nodes_of_class
from DeepRegLib.scene.results import bring_along

VISIBLE_ROWS = 4


class AlongSection:
    """The two lists of markups and models under *Outputs*, hidden where the scene has none, and *Carry over now*.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Whose nodes are listed.
    registration
        Knows the latest result.
    """

    def __init__(self, ui: SimpleNamespace, scene: slicer.vtkMRMLScene, registration: RegistrationSection) -> None:
        self._ui = ui
        self._scene = scene
        self._registration = registration
        self._parameters: Parameters | None = None
        self._watch = Watch((), self.refresh)
        for name in ALONG:
            getattr(ui, f"{name}List").connect("itemChanged(QListWidgetItem*)", self._on_checked)
        ui.carryNowButton.connect("clicked(bool)", self._on_carry)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._watch.stop()

    def node_added(self) -> None:
        """List a node that was added to the scene, soon: it may not have its name yet."""
        self._watch.tell()

    def refresh(self) -> None:
        """Show what the parameters say."""
        parameters = self._parameters
        if parameters is None:
            return
        nodes = [node for kind in KINDS for node in nodes_of_class(self._scene, kind) if can_go_along(node)]
        rows = [(node.GetID(), node.GetName()) for node in nodes]
        for name in ALONG:
            chosen_ids = [node.GetID() for node in nodes_along(getattr(parameters, name))]
            fill(getattr(self._ui, f"{name}List"), rows, chosen_ids, VISIBLE_ROWS)
            for part in ("List", "Label"):
                getattr(self._ui, name + part).visible = bool(nodes)
        chosen = any(nodes_along(getattr(parameters, name)) for name in ALONG)
        free = self._registration.has_result and not self._registration.running
        self._ui.carryNowButton.visible = bool(nodes)
        self._ui.carryNowButton.enabled = free and chosen

    def _on_checked(self, _item: object) -> None:
        # Not from here: what is kept fills the lists anew, while Qt still holds the item.
        if self._parameters is not None:
            kept = {name: self._checked(getattr(self._ui, f"{name}List")) for name in ALONG}
            qt.QTimer.singleShot(0, lambda: self._keep(kept))

    def _keep(self, kept: dict[str, list[slicer.vtkMRMLNode]]) -> None:
        if self._parameters is not None:
            for name, nodes in kept.items():
                if nodes != list(nodes_along(getattr(self._parameters, name))):
                    setattr(self._parameters, name, nodes)

    def _checked(self, widget: qt.QListWidget) -> list[slicer.vtkMRMLNode]:
        return [node for node in map(self._scene.GetNodeByID, checked_ids(widget)) if node is not None]

    def _on_carry(self, _checked: bool = False) -> None:
        self._registration.with_result(self._carry)

    def _carry(self, run: Run) -> None:
        parameters = self._parameters
        if parameters is None or run.registration is None or run.results is None or run.inputs is None:
            return
        self._registration.show_error(None)
        moving, fixed = nodes_along(parameters.movingAlong), nodes_along(parameters.fixedAlong)
        along = along_of(moving, fixed)
        try:
            if run.results.transform is None or self._scene.GetNodeByID(run.results.transform) is None:
                raise InputError("The transform of the result is no longer in the scene.", "Register again.")
            run.results = bring_along(self._scene, run.registration, run.inputs, run.results, along)
        except DeepRegError as error:
            self._registration.show_error(error)
            return
        run.inputs = replace(run.inputs, along=along)
        run.task = replace(run.task, moving_along=moving, fixed_along=fixed)
