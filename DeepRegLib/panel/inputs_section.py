"""Inputs: which volumes, which recipe."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import slicer

from DeepRegLib.errors import DeepRegError
from DeepRegLib.panel.parameters import Parameters, swap
from DeepRegLib.recipes import load_recipe, recipe_names


class InputsSection:
    """The selectors for volumes and recipe.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self._ui = ui
        self._parameters: Parameters | None = None
        for name in recipe_names():
            ui.recipeSelector.addItem(name, name)
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
            self._ui.recipeSelector.addItem(Path(recipe).stem, recipe)
            index = self._ui.recipeSelector.findData(recipe)
        if index != self._ui.recipeSelector.currentIndex:
            blocked = self._ui.recipeSelector.blockSignals(True)
            self._ui.recipeSelector.setCurrentIndex(index)
            self._ui.recipeSelector.blockSignals(blocked)
        self._ui.recipePurposeLabel.text = _purpose(recipe)

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
