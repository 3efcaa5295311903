"""A small picture of a case: that of its report, so that nothing is drawn twice."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path

REPORT = "report.html"
WIDTH = 360  # pixels
LARGEST_REPORT = 50_000_000
FIRST = re.compile(r'src="data:image/jpeg;base64,([A-Za-z0-9+/=]+)"')


def write_thumbnail(folder: Path, path: Path) -> bool:
    """Write a small JPEG of the first picture of a folder's report.

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
        found = FIRST.search(report.read_text(encoding="utf-8"))
        if found is None:
            return False
        with Image.open(io.BytesIO(base64.b64decode(found.group(1)))) as picture:
            picture.thumbnail((WIDTH, WIDTH))
            picture.convert("RGB").save(path, quality=80)
    except (ImportError, OSError, ValueError, binascii.Error):  # a picture must not cost the result
        return False
    return True
