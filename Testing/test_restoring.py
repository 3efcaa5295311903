"""A result of which transforms and record are left, judged anew; other scans and damaged records are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from DeepRegLib.correction import Correction
from DeepRegLib.engine.packing import Arrays
from DeepRegLib.engine.tasks import TASKS
from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.image import Image
from DeepRegLib.improving import noted
from DeepRegLib.orientation import AxisOrder
from DeepRegLib.record import RECORDED, Record, Restoring, record_of_text
from DeepRegLib.request import Drivers, Extras, Request
from DeepRegLib.restoring import restore
from DeepRegLib.result import Registration
from DeepRegLib.saving import result_to_dict
from Testing.small import small_pair, small_registration

TURNED = AxisOrder((2, 0, 1), (False, True, False))


def text_of(registration: Registration) -> str:
    table = result_to_dict(registration, {})
    return json.dumps({name: table[name] for name in RECORDED})


def record(**changes: object) -> Record:
    return replace(record_of_text(text_of(small_registration()), "The record"), **changes)  # type: ignore[arg-type]


def restoring(**changes: object) -> Restoring:
    fixed, moving, _, moving_labels = small_pair()
    request = Request(
        fixed, moving, record().recipe, device="cpu", extras=Extras(moving_layers=(moving_labels,), jacobian=True)
    )
    earlier = small_registration()
    return replace(Restoring(request, record(), earlier.transform, earlier.inverse), **changes)  # type: ignore[arg-type]


@cache
def restored() -> Registration:
    return restore(restoring())


def test_the_restored_result_is_what_it_was() -> None:
    result, earlier = restored(), small_registration()
    np.testing.assert_array_equal(result.warped.array, earlier.warped.array)
    assert result.verdict == earlier.verdict
    assert (result.recipe, result.decisions) == (earlier.recipe, earlier.decisions)
    assert set(earlier.warnings) <= set(result.warnings)
    for name in (
        "ncc_before",
        "ncc_after",
        "structure_after",
        "folds",
        "inverse_folds",
        "jacobian_min",
        "inverse_error_p99",
        "overlap",
    ):
        assert getattr(result.measures, name) == pytest.approx(getattr(earlier.measures, name), abs=1e-3), name
    for name in ("seed", "fixed_sha256", "moving_sha256"):
        assert result.provenance[name] == earlier.provenance[name]
    assert result.warped_layers
    assert result.jacobian is not None
    assert result.trust is not None


def test_scans_whose_axes_are_stored_in_another_order_are_the_same_scans() -> None:
    fixed, moving, *_ = small_pair()
    record().require_scans(TURNED.of_image(fixed), TURNED.of_image(moving))


def test_other_scans_are_refused_before_anything_is_computed() -> None:
    fixed, moving, *_ = small_pair()
    edited = moving.array.copy()
    edited[3, 4, 5] += 1
    request = restoring().request
    for other in (
        moving.with_array(edited),
        replace(moving, geometry=replace(moving.geometry, origin=(9.0, 0.0, 0.0))),
    ):
        wrong = replace(request, moving=other, extras=Extras())
        with pytest.raises(InputError, match="is not the moving scan of this result"):
            restore(restoring(request=wrong))
    with pytest.raises(InputError, match="is not the fixed scan of this result"):
        record().require_scans(moving, fixed)


def test_an_inverse_that_is_gone_is_found_anew() -> None:
    result = restore(restoring(inverse=None))
    assert result.measures.inverse_error_p99 < 0.5
    assert "inverse" in result.timings


def test_what_was_corrected_by_hand_and_which_model_was_asked_is_kept_and_a_mask_is_missed() -> None:
    drag = Correction(np.zeros((1, 3)), np.ones((1, 3)))
    model = {"name": "head", "version": "1.0"}
    further = {"fixed_mask_sha256": "0" * 64, "model": model, "corrections": [noted(drag)]}
    kept = record(corrections=(drag,), provenance={**record().provenance, **further})
    result = restore(restoring(record=kept))
    assert result.provenance["corrections"] == [noted(drag)]
    assert result.model == "head 1.0"
    assert "The result was registered with a fixed mask, which is not given now." in result.warnings


def test_a_mask_is_known_again_however_its_axes_are_stored() -> None:
    fixed, *_ = small_pair()
    mask = Image((fixed.array > 20).astype(np.uint8), fixed.geometry)
    from DeepRegLib.provenance import image_hash

    masked = record(provenance={**record().provenance, "fixed_mask_sha256": image_hash(mask)})
    assert masked.unlike(Drivers(fixed_mask=TURNED.of_image(mask))) == []
    assert masked.unlike(Drivers(fixed_mask=mask.with_array(1 - mask.array))) == [
        "The fixed mask is not the one that the result was registered with."
    ]


def test_it_travels_to_the_engine() -> None:
    task, asked = TASKS["restore"], restoring(inverse=None)
    arrays: Arrays = {}
    received = task.unpack_request(json.loads(json.dumps(task.pack_request(asked, arrays))), arrays)
    assert received.record.recipe == asked.record.recipe
    assert received.record.fixed == asked.record.fixed
    assert received.record.provenance == asked.record.provenance
    assert received.inverse is None
    probe = asked.request.fixed.geometry.corners()
    np.testing.assert_array_equal(received.transform.apply_to_points(probe), asked.transform.apply_to_points(probe))


def test_a_record_names_models_without_folders() -> None:
    table = json.loads(text_of(small_registration()))
    table["recipe"]["model"]["name"] = "//share/stranger/model"
    assert record_of_text(json.dumps(table), "The record").recipe.model.name == "model"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": None}, "'recipe' is missing"),
        ({"fixed": {"size": [1, 2]}}, "a scan has no grid"),
        ({"verdict": {"level": 3}}, "'level' is missing"),
        ({"provenance": {"corrections": [{"shown": 3}]}}, "a correction has no places"),
        ({"recipe": {"name": "x", "command": "rm"}}, ""),
    ],
)
def test_a_damaged_record_is_one_of_our_errors(change: dict[str, object], words: str) -> None:
    table = json.loads(text_of(small_registration())) | change
    with pytest.raises(DeepRegError) as refusal:
        record_of_text(json.dumps(table), "The record")
    assert words in str(refusal.value)
