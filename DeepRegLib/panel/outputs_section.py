"""Outputs: whether the nodes chosen for them may be overwritten. Everything else is bound by name."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import slicer
from slicer.i18n import tr as _

from DeepRegLib.panel.task import Task
from DeepRegLib.scene.chosen_outputs import foreign_outputs

SELECTED = ("transform", "inverse", "warped", "segmentation")


class OutputsSection:
    """The selectors for nodes that are overwritten.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Where the nodes are.
    ask
        Asks the user a question and returns whether the answer is yes.
    """

    def __init__(self, ui: SimpleNamespace, scene: slicer.vtkMRMLScene, ask: Callable[[str], bool]) -> None:
        self._scene = scene
        self._ask = ask
        # What the user's own hand chose in this session; a selector also changes by itself, and with a scene.
        self._by_hand: dict[str, str] = {}
        for name in SELECTED:
            getattr(ui, f"{name}OutputSelector").connect("nodeActivated(vtkMRMLNode*)", self._keeper(name))

    def permitted(self, task: Task) -> Task | None:
        """Return a task with what the user lets it overwrite, or None if the user would rather not start it.

        Only what was chosen by hand is asked about; what got there otherwise is not overwritten.
        """
        foreign = foreign_outputs(self._scene, task.existing)
        chosen = {name: node for name, node in foreign.items() if self._by_hand.get(name) == node.GetID()}
        if not chosen:
            return task
        if not self._ask(_question([str(node.GetName()) for node in chosen.values()])):
            return None
        return replace(task, overwrite=frozenset(chosen))

    def _keeper(self, name: str) -> Callable[[slicer.vtkMRMLNode | None], None]:
        def keep(node: slicer.vtkMRMLNode | None) -> None:
            self._by_hand[name] = "" if node is None else str(node.GetID())

        return keep


def _question(names: list[str]) -> str:
    listed = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    before = html.escape(_("The result will replace what these hold now, and that cannot be undone:"))
    return f"<p>{before}</p><ul>{listed}</ul><p>{html.escape(_('Overwrite?'))}</p>"
