"""Point lists: `.csv`, and Slicer's `.fcsv` and `.mrk.json`; LPS mm inside, whatever the file says."""

from __future__ import annotations

from DeepRegLib.landmarks.pairing import Pairs, outside_message, paired, points_outside
from DeepRegLib.landmarks.points import SUFFIXES, PointList
from DeepRegLib.landmarks.reading import read_point_list, read_points
from DeepRegLib.landmarks.writing import MARKUPS_SCHEMA, write_points

__all__ = [
    "MARKUPS_SCHEMA",
    "SUFFIXES",
    "Pairs",
    "PointList",
    "outside_message",
    "paired",
    "points_outside",
    "read_point_list",
    "read_points",
    "write_points",
]
