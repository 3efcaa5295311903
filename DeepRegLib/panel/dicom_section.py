"""Export DICOM: the shown result as objects that refer to the series of both volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.dicom.series import series_of_files
from DeepRegLib.dicom.structures import Structure
from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.exporting import DicomExport, Dose, export_of, read_dose, write_dicom
from DeepRegLib.files import write_folder
from DeepRegLib.image import Image
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Run
from DeepRegLib.registration import Registration
from DeepRegLib.scene.dicom_series import dicom_files
from DeepRegLib.scene.segmentations import Segment
from DeepRegLib.scene.sequences import current_volume
from DeepRegLib.scene.volumes import own_geometry

FOLDER = "DeepReg DICOM"
FULL = 255


class DicomSection:
    """The button of the verdict's card.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    registration
        Knows the latest result, and shows errors.
    """

    def __init__(self, ui: SimpleNamespace, registration: RegistrationSection) -> None:
        self._ui = ui
        self._registration = registration
        self._parameters: Parameters | None = None
        ui.exportDicomButton.connect("clicked(bool)", self._on_export)

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters

    def refresh(self) -> None:
        """Show what the parameters say."""
        self._ui.exportDicomButton.enabled = self._registration.has_result and not self._registration.running

    def _on_export(self, _checked: bool = False) -> None:
        self._registration.with_result(self._export)

    def _export(self, run: Run) -> None:
        self._registration.show_error(None)
        try:
            export = _export_of(run, self._parameters.movingDose if self._parameters is not None else None)
            chosen = str(qt.QFileDialog.getExistingDirectory(None, _("Choose a folder for the DICOM objects")) or "")
            if chosen:
                self._write(run, export, Path(chosen) / FOLDER)
        except DeepRegError as error:
            self._registration.show_error(error)

    def _write(self, run: Run, export: DicomExport, folder: Path) -> None:
        if run.registration is None:
            return
        segments = run.reading.layers.segments if run.reading is not None and run.reading.layers is not None else ()
        registration, structures = with_own_numbers(run.registration, segments)
        export = replace(export, structures=structures)
        complete = find_spec("highdicom") is not None
        write_folder(folder, lambda new: write_dicom(registration, export, new, with_segmentation=complete))
        said = _("Exported to {folder}.").format(folder=folder)
        if structures and not complete:
            said += " " + _("There is no DICOM segmentation: that needs the Python package highdicom.")
        self._ui.progressLabel.text = said
        self._ui.progressLabel.visible = True


def with_own_numbers(
    registration: Registration, segments: Sequence[Segment]
) -> tuple[Registration, tuple[Structure, ...]]:
    """Return a result whose carried segments have a number each, and what these are called.

    In a segmentation, segments of different layers may have the same value.
    """
    layers = [np.zeros(layer.array.shape, dtype=np.uint16) for layer in registration.warped_layers]
    structures = []
    for number, segment in enumerate(segments, start=1):
        if segment.layer < len(layers):
            layers[segment.layer][registration.warped_layers[segment.layer].array == segment.value] = number
            red, green, blue = (round(FULL * float(part)) for part in segment.description.GetColor())
            structures.append(Structure(number, segment.name, (red, green, blue)))
    numbered = [Image(layer, registration.fixed.geometry, "segments") for layer in layers]
    return replace(registration, warped_labels=None, warped_layers=tuple(numbered)), tuple(structures)


def _export_of(run: Run, dose: slicer.vtkMRMLScalarVolumeNode | None) -> DicomExport:
    """Find the series of both volumes, and the file of a dose of the moving one.

    Raises
    ------
    InputError
        If a volume is gone, not of DICOM or was registered elsewhere than its series lies, or the series do not belong
        together; if the dose is none, or of another scan.
    """
    database: Any = getattr(slicer, "dicomDatabase", None)
    result, series = run.registration, []
    for role, node in (("fixed", run.task.fixed), ("moving", run.task.moving)):
        if node is None or node.GetScene() is None or result is None:
            raise InputError(_("A volume of the result is no longer in the scene."), _("Register again."))
        volume = current_volume(node)
        files = dicom_files(volume, database)
        if not own_geometry(volume).is_close(getattr(result, role).geometry):
            raise InputError(
                _("{name} lay elsewhere when it was registered than its DICOM series does.").format(
                    name=volume.GetName()
                ),
                _("Take it out of its transform, and register again."),
            )
        series.append(series_of_files(files, str(volume.GetName())))
    export = export_of(series[0], series[1])
    return export if dose is None else replace(export, dose=_dose_of(dose, database, export))


def _dose_of(node: slicer.vtkMRMLScalarVolumeNode, database: object, export: DicomExport) -> Dose:
    files = dicom_files(node, database)
    if len(files) != 1:
        raise InputError(
            _("{name} was loaded from {count} DICOM files; a dose has one.").format(
                name=node.GetName(), count=len(files)
            ),
            _("Choose a dose of the moving volume, or no dose."),
        )
    return read_dose(Path(files[0]), export.moving)
