"""The list of atlases in the scene: volumes with what was drawn on them, a box each."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import qt
import slicer

from DeepRegLib.panel.watching import Watch
from DeepRegLib.panel.words import tooltip
from DeepRegLib.scene.atlases import AtlasPair, atlas_pairs

ID_ROLE = 256  # Qt.UserRole, whose type differs between Qt 5 and Qt 6
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
        self._filling = False
        self._widget.connect("itemChanged(QListWidgetItem*)", self._on_checked)

    def show(self, scan: slicer.vtkMRMLNode | None, *, wanted: bool) -> None:
        """List what can be an atlas of a volume, if atlases are wanted at all."""
        pairs = atlas_pairs(self._scene, scan) if wanted else []
        if pairs != self._shown:
            self._shown = pairs
            self._fill()
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

    def _fill(self) -> None:
        self._filling = True
        self._widget.clear()
        for pair in self._shown:
            item = qt.QListWidgetItem(pair.name)
            item.setData(ID_ROLE, pair.labels)
            item.setToolTip(tooltip(pair.name))
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Checked if pair.labels in self._checked else qt.Qt.Unchecked)
            self._widget.addItem(item)
        row = self._widget.fontMetrics().height() + 6
        self._widget.setFixedHeight(row * min(VISIBLE_ROWS, max(1, len(self._shown))) + 6)
        self._filling = False

    def _on_checked(self, _item: object) -> None:
        if self._filling:
            return
        items = [self._widget.item(row) for row in range(self._widget.count)]
        for item in items:
            change = self._checked.add if item.checkState() == qt.Qt.Checked else self._checked.discard
            change(str(item.data(ID_ROLE)))
        # Not from here: what hears of it may fill the list anew, while Qt still holds the item.
        self._changed.tell()
