"""Inputs: which volumes, which recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import NodeModify

from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.appearance import SMALL_ICON_PIXELS, Icons, set_icon
from DeepRegLib.panel.parameters import Parameters, recipe_name, swap
from DeepRegLib.panel.selectors import show_value
from DeepRegLib.panel.sources import Sources
from DeepRegLib.panel.watching import Watch
from DeepRegLib.panel.words import table_html, tooltip
from DeepRegLib.recipes import recipe_names
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE
from DeepRegLib.scene.volumes import scan_fault

SCALAR = "vtkMRMLScalarVolumeNode"  # of the classes derived from it, label maps and vectors are no scans


class InputsSection:
    """The selectors for volumes and recipe.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    scene
        Whose volumes are offered.
    sources
        Which recipe files may be read.
    on_changed
        Called when a volume has come, or got or lost its voxels.
    icons
        The panel's icons.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        scene: slicer.vtkMRMLScene,
        sources: Sources,
        on_changed: Callable[[], None],
        icons: Icons,
    ) -> None:
        self._ui = ui
        self._scene = scene
        self._sources = sources
        self._parameters: Parameters | None = None
        self._watch = Watch([slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent], on_changed)
        for name in recipe_names():
            self._offer(name, name)
        set_icon(ui.recipeInfoButton, icons.icon("Info"), SMALL_ICON_PIXELS)
        ui.recipeInfoButton.connect("clicked(bool)", self._on_info)
        ui.recipeSelector.connect("currentIndexChanged(int)", self._on_recipe_chosen)
        ui.swapButton.connect("clicked(bool)", self._on_swap)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None:
            self._watch.stop()

    def volume_added(self) -> None:
        """Take note of a volume that was added to the scene, soon: it may not have its voxels yet."""
        self._watch.tell()

    def choose_volumes(self) -> None:
        """Propose the first two volumes of the scene where nothing has been chosen."""
        parameters = self._parameters
        if parameters is None or parameters.fixedVolume is not None or parameters.movingVolume is not None:
            return
        volumes = [node for node in self._volumes() if not node.GetAttribute(RESULT_ATTRIBUTE)]
        scans = [node for node in volumes if scan_fault(node) is None]
        if len(scans) >= 2:
            with NodeModify(parameters):
                parameters.fixedVolume, parameters.movingVolume = scans[:2]

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._parameters is None:
            return
        self._offer_scans(self._parameters)
        recipe = recipe_name(self._parameters)
        self._ui.recipeSelector.enabled = recipe == self._parameters.recipe
        if self._ui.recipeSelector.findData(recipe) < 0:
            self._offer(Path(recipe).stem, recipe)
        show_value(self._ui.recipeSelector, recipe)
        self._ui.recipeSelector.toolTip = tooltip(self._purpose(recipe))

    def _offer(self, text: str, recipe: str) -> None:
        selector = self._ui.recipeSelector
        selector.addItem(text, recipe)
        selector.setItemData(selector.count - 1, tooltip(self._purpose(recipe)), qt.Qt.ToolTipRole)

    def _on_info(self, _checked: bool = False) -> None:
        selector = self._ui.recipeSelector
        rows = [(selector.itemText(row), self._purpose(str(selector.itemData(row)))) for row in range(selector.count)]
        slicer.util.infoDisplay(table_html(rows), windowTitle=_("Recipes"))

    def _volumes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", self._scene)
        return [node for node in nodes if node.GetClassName() == SCALAR and not node.GetHideFromEditors()]

    def _offer_scans(self, parameters: Parameters) -> None:
        """Leave volumes that are no scans out of the selectors, but for one that is chosen: they would jump."""
        chosen = (parameters.fixedVolume, parameters.movingVolume)
        unfit = [node for node in self._volumes() if node not in chosen and scan_fault(node) is not None]
        self._watch.follow([*chosen, *unfit])
        hidden = [str(node.GetID()) for node in unfit]
        for selector in (self._ui.fixedSelector, self._ui.movingSelector):
            model = selector.sortFilterProxyModel()
            if list(model.hiddenNodeIDs) != hidden:
                model.hiddenNodeIDs = hidden

    def _on_recipe_chosen(self, index: int) -> None:
        if self._parameters is not None and index >= 0:
            recipe = str(self._ui.recipeSelector.itemData(index))
            self._sources.allow(recipe)
            self._parameters.recipe = recipe

    def _on_swap(self, _checked: bool = False) -> None:
        if self._parameters is not None:
            swap(self._parameters)

    def _purpose(self, recipe: str) -> str:
        try:
            return self._sources.load(recipe).purpose
        except DeepRegError as error:
            return str(error)
