"""A small picture of a case: of its report, so that nothing is drawn twice."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path

REPORT = "report.html"
WIDTH = 360  # pixels
LARGEST_REPORT = 50_000_000
PICTURE = re.compile(r'src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)" alt="([^"]*)"')
# What shows best at a glance whether the outlines fit; its lower row is after the registration.
CHOSEN = "Edges"


def write_thumbnail(folder: Path, path: Path) -> bool:
    """Write a small JPEG of the outlines of the fixed image on the moving one after registration.

    Returns
    -------
    bool
        Whether there is one; not without a report, and not without Pillow.
    """
    report = folder / REPORT
    try:
        from PIL import Image

        if report.stat().st_size > LARGEST_REPORT:
            return False
        pictures = {found[2]: found[1] for found in PICTURE.finditer(report.read_text(encoding="utf-8"))}
        data = next((data for title, data in pictures.items() if title.startswith(CHOSEN)), None)
        if data is None:
            return False
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            after = picture.crop((0, picture.height // 2, picture.width, picture.height))
            after.thumbnail((WIDTH, WIDTH))
            after.convert("RGB").save(path, quality=80)
    except (ImportError, OSError, ValueError, binascii.Error):  # a picture must not cost the result
        return False
    return True
