"""What the files of a series' folder are called."""

from __future__ import annotations

import re
from collections.abc import Mapping

from DeepRegLib.motion.tables import SCORES, SERIES_JSON

__all__ = ["FRAME", "SERIES_FILES", "SERIES_JSON"]

# What each file is called, by what it is. The result comes last: where it lies, the others lie too.
SERIES_FILES: Mapping[str, str] = {
    "reference": "reference.nii.gz",
    "stabilised": "stabilised.nii.gz",
    "volume_change": "volume_change.nii.gz",
    "peak_strain": "peak_strain.nii.gz",
    "motion": "motion.nii.gz",
    "measures": "frames.csv",
    "rigid_motion": "rigid_motion.csv",
    "scores": SCORES,
    "picture": "moving.gif",
    "report": "report.html",
    "result": SERIES_JSON,
}
FRAME = re.compile(r"frame_[0-9]{4,}")
