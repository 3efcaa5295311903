"""The files of a result as the engine makes them: those that the command line writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.engine.files import FILES, FilesRequest, ResultFiles, files_of
from DeepRegLib.engine.packing import Arrays
from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.errors import DeepRegError
from DeepRegLib.image import read_image
from DeepRegLib.result import Registration
from DeepRegLib.saving import save
from DeepRegLib.transforms import jacobian_determinant, read_transform
from DeepRegLib.viewer import viewer_is_installed
from Testing.small import small_pair, small_registration

NOTHING = np.zeros(0, dtype=np.uint8)


def whole() -> Registration:
    """Return a registration that has all that can be saved."""
    from DeepRegLib.propagation import with_labels, with_layers

    _, _, fixed_labels, moving_labels = small_pair()
    result = with_layers(with_labels(small_registration(), moving_labels, fixed_labels), (moving_labels,))
    return replace(result, jacobian=jacobian_determinant(result.transform, result.fixed.geometry))


def test_they_are_those_that_a_folder_is_saved_with(tmp_path: Path) -> None:
    saved = save(whole(), tmp_path / "saved")
    arrays: Arrays = {}
    asked = FILES.unpack_request(FILES.pack_request(FilesRequest(whole()), arrays), arrays)
    back: Arrays = {}
    files = FILES.unpack_result(FILES.pack_result(files_of(asked), back), back, asked)
    folder = tmp_path / "sent"
    folder.mkdir()
    assert files.write_into(folder)[-1] == "result.json"
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in saved.iterdir())
    for path in saved.glob("*.nii.gz"):
        np.testing.assert_array_equal(read_image(folder / path.name).array, read_image(path).array)
    points = whole().fixed.geometry.corners()
    for name in ("transform.h5", "inverse.h5"):
        mapped = [read_transform(place / name).apply_to_points(points) for place in (folder, saved)]
        np.testing.assert_array_equal(*mapped)
    assert json.loads((folder / "result.json").read_text()) == json.loads((saved / "result.json").read_text())


def test_the_report_comes_without_the_rest_if_that_is_wanted() -> None:
    pytest.importorskip("PIL")
    files = files_of(FilesRequest(small_registration(), only_report=True))
    assert files.names == (("report.html", "viewer.html") if viewer_is_installed() else ("report.html",))
    assert b"<html" in files.contents[0].tobytes()


def test_a_report_that_cannot_be_drawn_is_an_error_but_costs_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_arguments: object) -> None:
        raise DeepRegError("Pillow is not installed.", "Install it.")

    monkeypatch.setattr("DeepRegLib.report.write_report", lacking)
    with pytest.raises(DeepRegError, match="Pillow is not installed"):
        files_of(FilesRequest(small_registration(), only_report=True))
    names = files_of(FilesRequest(small_registration())).names
    assert "report.html" not in names
    assert names[-1] == "result.json"


@pytest.mark.parametrize("name", ["../result.json", "/tmp/transform.h5", "run.sh", "warped_layer_0.nii.gz", ""])
def test_a_name_that_no_result_has_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="none of a result"):
        ResultFiles((name,), (NOTHING,))
