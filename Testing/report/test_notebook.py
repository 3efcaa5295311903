"""What a notebook shows of a registration."""

from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.registration import Registration
from DeepRegLib.report.notebook import notebook_html
from DeepRegLib.result import CHECK, Verdict
from Testing.small import small_registration

REASON = "<b>Half</b> of /clinic/Smith John/moving.nii.gz is noise."


def test_a_registration_shows_verdict_measures_and_slices_before_and_after() -> None:
    pytest.importorskip("PIL")
    from PIL import Image as PillowImage

    result = small_registration()
    assert isinstance(result, Registration)
    html = replace(result, verdict=Verdict(CHECK, (REASON,)))._repr_html_()
    assert "CHECK" in html
    assert "moving.nii.gz onto fixed.nii.gz" in html
    assert f"{result.measures.structure_after:.3f}" in html
    data = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert data is not None
    pixels = np.asarray(PillowImage.open(io.BytesIO(base64.b64decode(data[1]))))
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., 0].std() > 10


def test_it_names_no_folder_runs_no_markup_and_needs_no_network() -> None:
    html = notebook_html(replace(small_registration(), verdict=Verdict("splendid", (REASON,))))
    assert "Smith" not in html
    assert "&lt;b&gt;Half&lt;/b&gt; of moving.nii.gz is noise." in html
    assert not re.search(r"<script|https?://", html)


def test_without_pillow_there_is_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "DeepRegLib.report.figures", None)  # as where it cannot import Pillow
    html = notebook_html(small_registration())
    assert "<img" not in html
    assert "Structure agreement" in html
