"""By what a volume is segmented: atlases, or a trained network."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.models import known_models
from DeepRegLib.models.manifest import SEGMENTATION

ATLASES, OTHER = "", "other"
OF_ATLASES = (
    *("atlasFolderLabel", "atlasFolderEdit", "segmentRecipeLabel", "segmentRecipeSelector"),
    *("fusionLabel", "fusionSelector"),
)


class SegmentBy:
    """The list of what can segment, and the line for a bundle that is in no list.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    changed
        Called when another is chosen.
    """

    def __init__(self, ui: SimpleNamespace, changed: Callable[[], None]) -> None:
        self._ui = ui
        self._changed = changed
        ui.segmentBySelector.addItem(_("Atlases"), ATLASES)
        for model in known_models():
            if model.manifest is not None and model.manifest.task == SEGMENTATION and not model.problem:
                ui.segmentBySelector.addItem(_("Model {name}").format(name=model.name), str(model.folder))
        ui.segmentBySelector.addItem(_("Other model or MONAI bundle"), OTHER)
        ui.segmentBySelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.segmentMirrorCheckBox.connect("toggled(bool)", self._on_choice)
        ui.segmentModelEdit.connect("currentPathChanged(QString)", self._on_choice)
        self._show()

    @property
    def atlases(self) -> bool:
        """Whether atlases are chosen."""
        return self._chosen() == ATLASES

    @property
    def model(self) -> str:
        """Folder or file of the model that is chosen; "" if there is none yet."""
        return self._path() if self._chosen() == OTHER else self._chosen()

    @property
    def mirror(self) -> bool:
        """Whether the mirrored volume is segmented too."""
        return bool(self._ui.segmentMirrorCheckBox.checked)

    def problem(self) -> DeepRegError | None:
        """Return why no model can be asked, or None."""
        if self.model:
            return None
        return InputError(_("No model is chosen."), _("Choose the folder of a model, or a MONAI bundle."))

    def _chosen(self) -> str:
        selector = self._ui.segmentBySelector
        return str(selector.itemData(selector.currentIndex))

    def _path(self) -> str:
        return str(self._ui.segmentModelEdit.currentPath).strip()

    def _on_choice(self, _value: object = None) -> None:
        self._show()
        self._changed()

    def _show(self) -> None:
        for name in OF_ATLASES:
            getattr(self._ui, name).visible = self.atlases
        self._ui.segmentModelEdit.visible = self._chosen() == OTHER
        self._ui.segmentMirrorCheckBox.visible = not self.atlases
