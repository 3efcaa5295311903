"""Inputs: which volumes, which recipe."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.appearance import SMALL_ICON_PIXELS, Icons, set_icon
from DeepRegLib.panel.parameters import Parameters, swap
from DeepRegLib.panel.words import table_html
from DeepRegLib.recipes import load_recipe, recipe_names


class InputsSection:
    """The selectors for volumes and recipe.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    icons
        The panel's icons.
    """

    def __init__(self, ui: SimpleNamespace, icons: Icons) -> None:
        self._ui = ui
        self._parameters: Parameters | None = None
        for name in recipe_names():
            self._offer(name, name)
        set_icon(ui.recipeInfoButton, icons.icon("Info"), SMALL_ICON_PIXELS)
        ui.recipeInfoButton.connect("clicked(bool)", self._on_info)
        ui.recipeSelector.connect("currentIndexChanged(int)", self._on_recipe_chosen)
        ui.swapButton.connect("clicked(bool)", self._on_swap)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters

    def choose_volumes(self) -> None:
        """Propose the first two volumes of the scene where nothing has been chosen."""
        parameters = self._parameters
        if parameters is None or parameters.fixedVolume is not None or parameters.movingVolume is not None:
            return
        volumes = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors()
        ]
        if len(volumes) >= 2:
            parameters.fixedVolume, parameters.movingVolume = volumes[:2]

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._parameters is None:
            return
        recipe = self._parameters.recipe
        index = self._ui.recipeSelector.findData(recipe)
        if index < 0:
            self._offer(Path(recipe).stem, recipe)
            index = self._ui.recipeSelector.findData(recipe)
        if index != self._ui.recipeSelector.currentIndex:
            blocked = self._ui.recipeSelector.blockSignals(True)
            self._ui.recipeSelector.setCurrentIndex(index)
            self._ui.recipeSelector.blockSignals(blocked)
        self._ui.recipeSelector.toolTip = _purpose(recipe)

    def _offer(self, text: str, recipe: str) -> None:
        selector = self._ui.recipeSelector
        selector.addItem(text, recipe)
        selector.setItemData(selector.count - 1, _purpose(recipe), qt.Qt.ToolTipRole)

    def _on_info(self, _checked: bool = False) -> None:
        selector = self._ui.recipeSelector
        rows = [(selector.itemText(row), _purpose(str(selector.itemData(row)))) for row in range(selector.count)]
        slicer.util.infoDisplay(table_html(rows), windowTitle=_("Recipes"))

    def _on_recipe_chosen(self, index: int) -> None:
        if self._parameters is not None and index >= 0:
            self._parameters.recipe = str(self._ui.recipeSelector.itemData(index))

    def _on_swap(self, _checked: bool = False) -> None:
        if self._parameters is not None:
            swap(self._parameters)


def _purpose(recipe: str) -> str:
    try:
        return load_recipe(recipe).purpose
    except DeepRegError as error:
        return str(error)
