"""Label maps out of files of any kind: volumes, and DICOM segmentations and structure sets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.dicom.structures import Structure, StructureSet
    from DeepRegLib.image import Image

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelFiles:
    """What label files hold.

    Parameters
    ----------
    fixed, moving
        Label maps on the grids of the scans, or None.
    layers
        Further label maps of the moving scan, of structures that overlap those of the first.
    structures
        What moving labels are called, where the file tells.
    """

    fixed: Image | None = None
    moving: Image | None = None
    layers: tuple[Image, ...] = ()
    structures: tuple[Structure, ...] = ()


def read_label_pair(fixed: tuple[Path, Image, Path | None], moving: tuple[Path, Image, Path | None]) -> LabelFiles:
    """Read the labels of two scans; structures of DICOM files on both sides are matched by their names.

    Parameters
    ----------
    fixed, moving
        The scan's file, the scan, and the file of its labels or None.

    Raises
    ------
    InputError
        If a file cannot be read, does not belong to its scan, or there are fixed labels only.
    """
    from DeepRegLib.structures import label_images, numbered_like

    if fixed[2] is not None and moving[2] is None:
        raise InputError(f"{fixed[2]} was given without moving labels.", "Give --moving-labels too, or leave it out.")
    still, moved = _read(*fixed), _read(*moving)
    layers: tuple[Image, ...] = ()
    structures: tuple[Structure, ...] = ()
    if isinstance(moved, tuple):
        content, name = moved
        if isinstance(still, tuple):
            still = numbered_like(still[0], content), still[1]
        images = label_images(content, name)
        layers, structures, moved = images[1:], content.structures, images[0]
    if isinstance(still, tuple):
        images = label_images(*still)
        if len(images) > 1:
            logger.warning("Structures of %s overlap: those that do draw and measure nothing.", still[1])
        still = images[0]
    return LabelFiles(still, moved, layers, structures)


def _read(scan_file: Path, scan: Image, path: Path | None) -> Image | tuple[StructureSet, str] | None:
    from DeepRegLib.dicom.series import series_of
    from DeepRegLib.dicom.structure_files import CONTOURS, SEGMENTS, kind_of, read_structures
    from DeepRegLib.image import read_image
    from DeepRegLib.labels import label_map
    from DeepRegLib.naming import shown

    if path is None:
        return None
    if kind_of(path) in (SEGMENTS, CONTOURS):
        return read_structures(path, scan.geometry, series_of(scan_file)), shown(path)
    return label_map(read_image(path))
