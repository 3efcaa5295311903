"""Open report and Save results: the files of the latest result, made by the engine and written here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from DeepRegLib.engine.files import FILES, FilesRequest, ResultFiles
from DeepRegLib.engine.job import Job
from DeepRegLib.errors import CancelledError, DeepRegError
from DeepRegLib.panel.engine import Engine
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.registration_section import RegistrationSection
from DeepRegLib.panel.running import Run
from DeepRegLib.saving import OUTPUT_FILES, is_output, reserved_output

REPORT, VIEWER = OUTPUT_FILES["report"], OUTPUT_FILES["viewer"]


class SavingSection:
    """The two buttons of the verdict's card.

    The engine draws and compresses, for Slicer has not what draws the report, and its window would stand still. What it
    makes comes back as bytes, so a report opens and a folder is filled on this computer, wherever the engine runs.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    engine
        Makes the files.
    registration
        Knows the latest result, and shows errors.
    ask
        Asks the user a question and returns whether the answer is yes.
    """

    def __init__(
        self,
        ui: SimpleNamespace,
        engine: Engine,
        registration: RegistrationSection,
        ask: Callable[[str], bool],
    ) -> None:
        self._ui = ui
        self._engine = engine
        self._registration = registration
        self._ask = ask
        self._parameters: Parameters | None = None
        self._job: Job[FilesRequest, ResultFiles] | None = None
        ui.openReportButton.connect("clicked(bool)", self._on_report)
        ui.saveResultsButton.connect("clicked(bool)", self._on_save)

    @property
    def working(self) -> bool:
        """Whether files are being made."""
        return self._job is not None and not self._job.finished

    def bind(self, parameters: Parameters | None) -> None:
        """Show and change these parameters from now on; none while a scene is closed."""
        self._parameters = parameters
        if parameters is None and self._job is not None and self.working:
            self._job.cancel()

    def refresh(self) -> None:
        """Show what the parameters say."""
        if self._parameters is None:
            return
        possible = self._registration.has_result and not self.working and not self._registration.running
        for button in (self._ui.openReportButton, self._ui.saveResultsButton):
            button.enabled = possible

    def _on_report(self, _checked: bool = False) -> None:
        self._registration.with_result(lambda run: self._make(run, self._open, only_report=True))

    def _on_save(self, _checked: bool = False) -> None:
        chosen = str(qt.QFileDialog.getExistingDirectory(None, _("Choose a folder for the results")) or "")
        if not chosen:
            return
        folder = Path(chosen)
        overwrite = _holds_result(folder)
        if overwrite and not self._ask(_question(folder)):
            return

        def save(files: ResultFiles) -> None:
            needed = sum(content.nbytes for content in files.contents)
            with reserved_output(folder, overwrite=overwrite, needed=needed) as place:
                place.commit(place.write(files.write_into))
            self._say(_saved(folder, files))

        self._registration.with_result(lambda run: self._make(run, save))

    def _make(self, run: Run, use: Callable[[ResultFiles], None], *, only_report: bool = False) -> None:
        """Let the engine make files, and use them when they are there; returns at once."""

        def done(files: ResultFiles) -> None:
            self._say("")
            try:
                use(files)
            except DeepRegError as error:
                self._registration.show_error(error)
            self.refresh()

        def failed(error: DeepRegError) -> None:
            self._say("")
            if not isinstance(error, CancelledError):
                self._registration.show_error(error)
            self.refresh()

        if run.registration is None:
            return
        request = FilesRequest(run.registration, only_report)
        self._registration.show_error(None)
        self._say(_("Writing the report...") if only_report else _("Writing the results..."))
        try:
            self._job = self._engine.submit(
                FILES, request, on_progress=lambda *_progress: None, on_result=done, on_error=failed
            )
        except DeepRegError as error:
            failed(error)
        self.refresh()

    def _open(self, files: ResultFiles) -> None:
        folder = Path(tempfile.mkdtemp(prefix="deepreg-report-", dir=slicer.app.temporaryPath))
        files.write_into(folder)
        for name in (REPORT, VIEWER):
            if name in files.names:
                qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder / name)))

    def _say(self, text: str) -> None:
        self._ui.progressLabel.text = text
        self._ui.progressLabel.visible = bool(text)


def _holds_result(folder: Path) -> bool:
    try:
        return any(is_output(path.name) for path in folder.iterdir())
    except OSError:
        return False  # told when it is written


def _question(folder: Path) -> str:
    return _("{folder} holds an earlier result. Replace it? Other files in it stay.").format(folder=folder)


def _saved(folder: Path, files: ResultFiles) -> str:
    text = _("Saved in {folder}.").format(folder=folder)
    if REPORT in files.names:
        return text
    return text + " " + _("There is no report: the engine's Python lacks jinja2 or Pillow, which draw it.")
