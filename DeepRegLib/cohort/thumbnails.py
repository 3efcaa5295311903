"""A small picture of a case: of what its result has already, so that little is drawn for it."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.cohort.cases import Case
from DeepRegLib.errors import DeepRegError
from DeepRegLib.segmentation.saving import SEGMENTATION_FILES
from DeepRegLib.series.names import SERIES_FILES

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

REPORT = "report.html"
WIDTH = 360  # pixels
LARGEST_REPORT = 50_000_000
PICTURE = re.compile(r'src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)" alt="([^"]*)"')
# What shows best at a glance whether the outlines fit; its lower row is after the registration.
CHOSEN = "Edges"


def write_thumbnail(case: Case, folder: Path, path: Path) -> bool:
    """Write a small JPEG of a result.

    Of a registration it shows the outlines of the fixed image on the moving one after it; of a segmentation the
    outlines of its labels on the scan; of a series a frame of its moving picture.

    Returns
    -------
    bool
        Whether there is one; not without what it is drawn from, and not without Pillow.
    """
    try:
        drawn = {"register": _of_report, "segment": _of_labels, "series": _of_frame}[case.command](case, folder)
        if drawn is None:
            return False
        drawn.thumbnail((WIDTH, WIDTH))
        drawn.convert("RGB").save(path, quality=80)
    except (ImportError, OSError, ValueError, DeepRegError, binascii.Error):  # a picture must not cost the result
        return False
    return True


def _of_report(_case: Case, folder: Path) -> Picture | None:
    from PIL import Image

    report = folder / REPORT
    if report.stat().st_size > LARGEST_REPORT:
        return None
    pictures = {found[2]: found[1] for found in PICTURE.finditer(report.read_text(encoding="utf-8"))}
    data = next((data for title, data in pictures.items() if title.startswith(CHOSEN)), None)
    if data is None:
        return None
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return picture.crop((0, picture.height // 2, picture.width, picture.height))


def _of_labels(case: Case, folder: Path) -> Picture | None:
    from PIL import Image

    from DeepRegLib.image import read_image
    from DeepRegLib.report.figures import labelled_figure
    from DeepRegLib.report.planes import planes_of_labels
    from DeepRegLib.segmentation.seg_nrrd import read_segmentation

    labels, _ = read_segmentation(folder / SEGMENTATION_FILES["segmentation"])
    scan = read_image(case.values["scan"])
    if scan.array.shape != labels.array.shape:
        return None
    with Image.open(io.BytesIO(labelled_figure(planes_of_labels(scan, labels)))) as picture:
        return picture.copy()


def _of_frame(_case: Case, folder: Path) -> Picture | None:
    from PIL import Image

    with Image.open(folder / SERIES_FILES["picture"]) as picture:
        return picture.convert("RGB")
