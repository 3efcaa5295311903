"""Model: which trained network proposes a field, what it says of itself, and how one is added."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError, ModelError
from DeepRegLib.models import KnownModel, add_model, known_models, look_up, read_manifest
from DeepRegLib.naming import base_name
from DeepRegLib.panel.appearance import SMALL_ICON_PIXELS, Icons, set_icon
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.recipes import NO_MODEL, RECIPES_MODEL, with_choice
from DeepRegLib.panel.sources import Sources
from DeepRegLib.panel.words import model_html, model_summary, tooltip
from DeepRegLib.recipes import Recipe

REGISTRATION = "registration"
UNREAD = "unread"  # where a model lies that must not be looked at yet

# What a row shows, the value of the parameter `model`, and its tooltip.
Row = tuple[str, str, str]


class ModelSection:
    """The list of models, and what depends on the one that is chosen.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    sources
        Which recipe files and models may be read.
    show_error
        Shows an error in the panel; None takes it away.
    icons
        The panel's icons.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        sources: Sources,
        show_error: Callable[[DeepRegError | None], None],
        icons: Icons,
    ) -> None:
        self._ui = ui
        self._sources = sources
        self._show_error = show_error
        self._parameters: Parameters | None = None
        self._known: list[KnownModel] = []
        self._looked_up: dict[str, KnownModel] = {}
        self._rows: list[Row] = []
        set_icon(ui.modelInfoButton, icons.icon("Info"), SMALL_ICON_PIXELS)
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_model_chosen)
        ui.modelInfoButton.connect("clicked(bool)", self._on_info)
        ui.addModelButton.connect("clicked(bool)", self._on_add)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is not None:
            self._look()

    def refresh(self) -> None:
        """Show what the parameters say of the model, and what the model says."""
        parameters = self._parameters
        if parameters is None:
            return
        recipe = self._recipe(parameters.recipe)
        model = self._asked(parameters, recipe)
        self._show_rows(list(self._offered(parameters.model, recipe)), parameters.model)
        self._ui.modelSelector.enabled = recipe is not None and recipe.deformable.enabled
        self._ui.modelInfoButton.enabled = model is not None and model.manifest is not None
        self._ui.wantUncertaintyCheckBox.enabled = self._ui.wantExplanationCheckBox.enabled = model is not None
        self._ui.modelSelector.toolTip = tooltip(_use(model))
        note = "\n".join(self._notes(parameters.model, recipe, model))
        self._ui.modelNoteLabel.text = note
        self._ui.modelNoteLabel.visible = bool(note)

    def add(self, folder: str) -> None:
        """Copy a model to the user's own and choose it.

        Its network is not built here, for that needs torch: the engine does so before it computes.
        """
        if self._parameters is None or not folder:
            return
        try:
            _check_task(read_manifest(folder).task)
            added = add_model(folder, network=False)
        except DeepRegError as error:
            self._show_error(error)
            return
        self._show_error(None)
        self._look()
        self._parameters.model = added.name
        self.refresh()

    def _look(self) -> None:
        """Look what models there are, which is not done at each change of a slider."""
        self._known = known_models()
        self._looked_up = {}

    def _asked(self, parameters: Parameters, recipe: Recipe | None) -> KnownModel | None:
        """Return the model that a registration would ask, be it there or not."""
        name = with_choice(recipe, parameters.model).model.name if recipe is not None else ""
        if not name:
            return None
        if not self._sources.may_read(name):
            return KnownModel(name, Path(name), UNREAD, None)
        if name not in self._looked_up:
            self._looked_up[name] = look_up(name)
        return self._looked_up[name]

    def _offered(self, chosen: str, recipe: Recipe | None) -> Iterator[Row]:
        own = base_name(recipe.model.name) if recipe is not None else ""
        yield _("{model} (by recipe)").format(model=own or _("no model")), RECIPES_MODEL, ""
        yield _("No model"), NO_MODEL, ""
        names = [RECIPES_MODEL, NO_MODEL]
        for model in self._known:
            if not model.problem and model.manifest is not None and model.manifest.task == REGISTRATION:
                names.append(model.name)
                yield model.name, model.name, model_summary(model)
        if chosen not in names:
            yield base_name(chosen), chosen, chosen

    def _notes(self, chosen: str, recipe: Recipe | None, model: KnownModel | None) -> Iterator[str]:
        named = chosen not in (RECIPES_MODEL, NO_MODEL)
        if named and recipe is not None and not recipe.deformable.enabled:
            yield _("This recipe does not deform, so no model is asked.")
        if model is not None and model.place == UNREAD:
            yield _(
                "The scene names the model in {folder}, which has not been read. Press Register to be asked."
            ).format(folder=model.folder)
        if model is not None and not model.problem and model.manifest is not None:
            task = model.manifest.task
            if task != REGISTRATION:
                yield _wrong_task(task)
        broken = {known.folder: known for known in (model, *self._known) if known is not None and known.problem}
        for known in broken.values():
            yield _("The model {name} cannot be used. {problem}").format(
                name=base_name(known.name), problem=known.problem
            )

    def _show_rows(self, rows: list[Row], chosen: str) -> None:
        selector = self._ui.modelSelector
        blocked = selector.blockSignals(True)
        if rows != self._rows:
            selector.clear()
            for text, value, tip in rows:
                selector.addItem(text, value)
                selector.setItemData(selector.count - 1, tooltip(tip), qt.Qt.ToolTipRole)
            self._rows = rows
        selector.setCurrentIndex([value for _text, value, _tip in rows].index(chosen))
        selector.blockSignals(blocked)

    def _recipe(self, source: str) -> Recipe | None:
        """Return a recipe, or None where there is none that may be read, of which another section tells."""
        try:
            return self._sources.load(source)
        except DeepRegError:
            return None

    def _on_model_chosen(self, index: int) -> None:
        if self._parameters is not None and 0 <= index < len(self._rows):
            self._sources.allow(self._rows[index][1])
            self._parameters.model = self._rows[index][1]

    def _on_info(self, _checked: bool = False) -> None:
        parameters = self._parameters
        model = self._asked(parameters, self._recipe(parameters.recipe)) if parameters is not None else None
        if model is not None and model.manifest is not None:
            slicer.util.infoDisplay(model_html(model), windowTitle=model.name)

    def _on_add(self, _checked: bool = False) -> None:
        self.add(str(qt.QFileDialog.getExistingDirectory(None, _("Folder of a model")) or ""))


def _use(model: KnownModel | None) -> str:
    """Return what the model is for, or what a model is where none is asked."""
    if model is not None and model.manifest is not None:
        return model.manifest.intended_use
    return _("A trained network that proposes a first displacement, which is used where it matches better.")


def _check_task(task: str) -> None:
    if task != REGISTRATION:
        raise ModelError(_wrong_task(task), _("Choose a model for registration."))


def _wrong_task(task: str) -> str:
    return _("This model is for the task {task}, not for registration.").format(task=task)
