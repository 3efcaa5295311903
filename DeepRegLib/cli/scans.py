"""The scans of a command, by the names that the user gave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.session import one_line

if TYPE_CHECKING:
    from DeepRegLib.image import Image

Name = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="What the result and the report call the two scans, instead of their file names; DICOM folders, "
        "which often bear a patient's name, are left out anyway.",
    ),
]


def read_scan(path: Path, role: str, name: str | None) -> Image:
    """Return a scan by the name the user gave the pair; a DICOM series has none of its own.

    Parameters
    ----------
    path
        A volume file or a DICOM folder.
    role
        ``"fixed"`` or ``"moving"``.
    name
        Of the pair; None for that of the file.
    """
    from DeepRegLib.image import read_image
    from DeepRegLib.image.reading import DICOM_SERIES

    image = read_image(path)
    if name is not None:
        return replace(image, name=f"{one_line(name)} ({role})")
    return replace(image, name=f"{role} {DICOM_SERIES}") if image.name == DICOM_SERIES else image
