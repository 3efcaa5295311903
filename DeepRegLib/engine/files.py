"""The task `files`: a registration in, the files of its folder out, for those who lack torch or what draws reports.

The worker may be on another computer, so the files come back as bytes, and the client alone chooses where they go.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress, poll_of
from DeepRegLib.result import Registration
from DeepRegLib.saving import OUTPUT_FILES, is_output, save

FOLDER = "result"


@dataclass(frozen=True, eq=False)
class FilesRequest:
    """Which files of a registration are wanted.

    Parameters
    ----------
    registration
        Whose files.
    only_report
        The report alone, and the viewer beside it where ipyniivue is installed, rather than the whole folder, which
        may lack a report.
    """

    registration: Registration
    only_report: bool = False


@dataclass(frozen=True, eq=False)
class ResultFiles:
    """Files of one folder.

    Parameters
    ----------
    names
        File names without folders, of those that a saved registration may have; the order they are to appear in.
    contents
        The bytes of each, uint8.
    """

    names: tuple[str, ...]
    contents: tuple[NDArray[np.uint8], ...]

    def __post_init__(self) -> None:
        strange = [name for name in self.names if not is_output(name)]
        if strange or len(self.names) != len(self.contents):
            raise ProtocolError(f"The engine sent {len(self.contents)} files that are none of a result: {strange[:3]}.")

    def write_into(self, folder: Path) -> list[str]:
        """Write all of them into a folder, and return their names."""
        for name, content in zip(self.names, self.contents, strict=True):
            (folder / name).write_bytes(content.tobytes())
        return list(self.names)


def files_of(request: FilesRequest) -> ResultFiles:
    """Return the files as `DeepRegLib.saving.save` writes them, or the report alone.

    Raises
    ------
    DeepRegError
        If the report alone is wanted, and jinja2 or Pillow is not installed.
    OutputError
        If the disk for temporary files is full.
    """
    from DeepRegLib.report import write_report
    from DeepRegLib.viewer import shown_of, viewer_is_installed, write_viewer

    with tempfile.TemporaryDirectory(prefix="deepreg-") as place:
        folder = Path(place) / FOLDER
        if request.only_report:
            folder.mkdir()
            write_report(request.registration, folder / OUTPUT_FILES["report"])
            if viewer_is_installed():
                write_viewer(shown_of(request.registration), folder / OUTPUT_FILES["viewer"])
        else:
            save(request.registration, folder)
        known = list(OUTPUT_FILES.values())  # layers come first of all, the result last
        paths = sorted(folder.iterdir(), key=lambda path: known.index(path.name) if path.name in known else -1)
        contents = tuple(np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in paths)
    return ResultFiles(tuple(path.name for path in paths), contents)


def _run(request: FilesRequest, progress: Progress, cancel: Cancel) -> ResultFiles:
    poll_of(cancel)()
    progress("save", 0.0, None, None)
    return files_of(request)


def _pack_result(files: ResultFiles, arrays: Arrays) -> Content:
    return pack(files, "result", arrays)


def _unpack_result(content: Any, arrays: Received, _request: FilesRequest) -> ResultFiles:
    return unpack(ResultFiles, content, arrays)


FILES = Task("files", FilesRequest, _run, _pack_result, _unpack_result)
