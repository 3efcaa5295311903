"""The report of a segmentation: what a reader finds in it, and what he must not."""

from __future__ import annotations

import base64
import builtins
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.segmentation import AtlasRow, Segment, Segmentation, SegmentRow
from DeepRegLib.segmentation.report import segmentation_report
from DeepRegLib.segmentation.saving import save_segmentation
from Testing.synthetic import blobs

GRID = Geometry((24, 22, 20))


def segmentation(name: str = "/home/Jane Doe/scan.nii.gz") -> Segmentation:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[6:14, 6:14, 6:12], labels[6:14, 6:14, 14:18] = 3, 5
    agreement = np.ones(GRID.shape, np.float32)
    agreement[labels == 3] = 0.6
    return Segmentation(
        scan=replace(blobs(GRID), name=name),
        labels=Image(labels, GRID, "segmentation"),
        agreement=Image(agreement, GRID, "agreement"),
        segments=(
            Segment(3, "<b>Leber 肝</b>", (1.0, 0.0, 0.5)),
            Segment(5, "two words", (0.0, 1.0, 0.0)),
            Segment(9, "lost", (0.0, 0.0, 1.0)),
        ),
        rows=(
            SegmentRow(3, "<b>Leber 肝</b>", 0.384, 0.4, 0.6),
            SegmentRow(5, "two words", 0.256, 0.25, 1.0),
            SegmentRow(9, "lost", 0.0, 0.1, None),
        ),
        atlases=(
            AtlasRow("first", True, Verdict(OK, ()), 0.91, 3.2),
            AtlasRow("second", False, Verdict(FAILED, (f"{name} does not overlap.",)), None, 1.0),
        ),
        verdict=Verdict(CHECK, ("1 of 2 atlases could not be registered: second.",)),
        recipe=load_recipe("fast"),
        fusion="joint",
        timings={"atlases": 4.2, "fuse": 0.3},
        provenance={"versions": {"deepreg": "9.9"}},
    )


def test_the_page_names_segments_atlases_and_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    page = segmentation_report(segmentation())
    for text in (
        "CHECK",
        "scan.nii.gz",
        "by 1 of 2 atlases, fused by joint, recipe fast",
        "4.5 s",
        "&lt;b&gt;Leber 肝",
    ):
        assert text in page
    for text in ("background: #ff0080", "0.384", "0.60", "not found", "left out", "does not overlap.", "0.910"):
        assert text in page
    assert "Jane Doe" not in page
    assert "<b>Leber" not in page
    assert not re.search(r"<script|https?://|<link", page)


def test_the_picture_shows_outlines_in_the_segments_own_colours_and_the_map() -> None:
    from PIL import Image as Pictures

    (uri,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', segmentation_report(segmentation()))
    pixels = np.asarray(Pictures.open(io.BytesIO(base64.b64decode(uri))).convert("RGB")).astype(int)
    rows = np.array_split(pixels, 3)
    pink = [np.sum((row[..., 0] > 180) & (row[..., 1] < 90) & (row[..., 2] > 70)) for row in rows]
    assert pink[1] > 100 > max(pink[0], pink[2])
    # An agreement of .6 is green in the map of the last row, one of 1 yellow.
    green = np.sum((rows[2][..., 1] > 140) & (rows[2][..., 0] < 120))
    yellow = np.sum((rows[2][..., 0] > 200) & (rows[2][..., 1] > 200) & (rows[2][..., 2] < 120))
    assert min(green, yellow) > 500


def test_of_a_model_there_is_confidence_and_no_atlas() -> None:
    found = replace(segmentation(), atlases=(), recipe=None, fusion="", model={"name": "tiny", "version": "1"})
    page = segmentation_report(found)
    assert "by the model tiny" in page
    assert "Confidence" in page
    assert "<h2>Atlases</h2>" not in page
    assert "Mean of the atlases" not in page


def test_an_empty_result_has_a_page_too() -> None:
    found = segmentation()
    nothing = replace(found, labels=found.labels.with_array(np.zeros(GRID.shape, np.uint8)))
    assert "data:image/jpeg" in segmentation_report(nothing)


def test_a_folder_has_the_report_where_it_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_segmentation(segmentation("scan"), tmp_path / "with")
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["files"]["report"] == "report.html"
    assert (folder / "report.html").is_file()
    real = builtins.__import__

    def without_pillow(name: str, *rest: object, **more: object) -> object:
        if name.startswith("PIL"):
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    folder = save_segmentation(segmentation("scan"), tmp_path / "without")
    assert "report" not in json.loads((folder / "result.json").read_text(encoding="utf-8"))["files"]
    assert not (folder / "report.html").exists()
