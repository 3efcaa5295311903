"""Compare: the volumes as they are, or one of them as a model shows it in the other's modality."""

from __future__ import annotations

from types import SimpleNamespace

from slicer.i18n import tr as _

from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.recipes import RECIPES_TRANSLATION, translators
from DeepRegLib.panel.selectors import show_value


class TranslationSection:
    """The list of what is compared; hidden where this computer has no model that translates.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    """

    def __init__(self, ui: SimpleNamespace) -> None:
        self._ui = ui
        self._parameters: Parameters | None = None
        self._values = [RECIPES_TRANSLATION]
        ui.translationSelector.connect("currentIndexChanged(int)", self._on_choice)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is not None:
            self._look()

    def refresh(self) -> None:
        """Show what the parameters say; a model that a scene names and this computer lacks is forgotten."""
        if self._parameters is None:
            return
        if self._parameters.translation not in self._values:
            self._parameters.translation = RECIPES_TRANSLATION
        show_value(self._ui.translationSelector, self._parameters.translation)

    def _look(self) -> None:
        """Look what models there are, which is not done at each change of a slider."""
        names = translators()
        rows = [(_("Both as they are"), RECIPES_TRANSLATION)]
        for side, text in (("moving", _("Moving as {name}")), ("fixed", _("Fixed as {name}"))):
            rows += [(text.format(name=name), f"{side} {name}") for name in names]
        selector = self._ui.translationSelector
        blocked = selector.blockSignals(True)
        selector.clear()
        for text, value in rows:
            selector.addItem(text, value)
        selector.blockSignals(blocked)
        self._values = [value for _text, value in rows]
        for widget in (self._ui.translationLabel, selector):
            widget.visible = bool(names)

    def _on_choice(self, index: int) -> None:
        if self._parameters is not None and 0 <= index < len(self._values):
            self._parameters.translation = self._values[index]
