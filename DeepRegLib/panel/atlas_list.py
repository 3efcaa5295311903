"""The list of atlases in the scene: volumes with what was drawn on them, a box each."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import slicer

from DeepRegLib.panel.check_list import checked_ids, fill
from DeepRegLib.panel.watching import Watch
from DeepRegLib.scene.atlases import AtlasPair, atlas_pairs

VISIBLE_ROWS = 4


class AtlasList:
    """Lists the pairs of a scene, none checked at first; hidden where there is none.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Whose nodes are listed.
    changed
        Called when the user changes a box.
    """

    def __init__(self, ui: SimpleNamespace, scene: slicer.vtkMRMLScene, changed: Callable[[], None]) -> None:
        self._widget, self._label = ui.atlasPairsList, ui.atlasPairsLabel
        self._scene = scene
        self._changed = Watch((), changed)
        self._shown: list[AtlasPair] = []
        self._checked: set[str] = set()
        self._widget.connect("itemChanged(QListWidgetItem*)", self._on_checked)

    def show(self, scan: slicer.vtkMRMLNode | None, *, wanted: bool) -> None:
        """List what can be an atlas of a volume, if atlases are wanted at all."""
        pairs = atlas_pairs(self._scene, scan) if wanted else []
        if pairs != self._shown:
            self._shown = pairs
            fill(self._widget, [(pair.labels, pair.name) for pair in pairs], self._checked, VISIBLE_ROWS)
        for widget in (self._widget, self._label):
            widget.visible = bool(pairs)

    def checked(self) -> list[AtlasPair]:
        """Return the pairs that are checked and still listed."""
        return [pair for pair in self._shown if pair.labels in self._checked]

    def node_added(self) -> None:
        """Look again, soon: a node that was just added may not have its name yet."""
        self._changed.tell()

    def stop(self) -> None:
        """Forget what was checked: the scene goes."""
        self._checked.clear()
        self._changed.stop()

    def _on_checked(self, _item: object) -> None:
        listed = {pair.labels for pair in self._shown}
        self._checked = (self._checked - listed) | set(checked_ids(self._widget))
        # Not from here: what hears of it may fill the list anew, while Qt still holds the item.
        self._changed.tell()
