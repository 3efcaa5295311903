"""Improving a result by hand: a whole registration again, corrected where something was dragged."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from DeepRegLib.correction import Correction, Improvement
from DeepRegLib.engine.packing import Arrays
from DeepRegLib.engine.protocol import Decoder, encode
from DeepRegLib.engine.tasks import TASKS
from DeepRegLib.errors import CancelledError
from DeepRegLib.image import Image
from DeepRegLib.improving import improve
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.request import Drivers, Extras, Request
from DeepRegLib.result import Registration, start_measures
from DeepRegLib.stages.rigid_segments import rigid_motions
from DeepRegLib.transforms import apply_to_image
from Testing.small import small_pair, small_registration

DRAG = Correction(np.array([[0.0, 0.0, 0.0]]), np.array([[4.0, 0.0, 0.0]]))


def dragged() -> Correction:
    """Drag a place in the middle of the small pair by 5 mm."""
    centre = small_registration().fixed.geometry.centre[None]
    return Correction(centre, centre + np.array([4.0, 0.0, 3.0]))


def improvement(**changes: object) -> Improvement:
    earlier = small_registration()
    fixed, moving, _, moving_labels = small_pair()
    request = Request(
        fixed, moving, earlier.recipe, device="cpu", extras=Extras(moving_layers=(moving_labels,), jacobian=True)
    )
    made = Improvement(request, earlier.transform, earlier.inverse, dragged(), earlier.decisions)
    return replace(made, **changes)  # type: ignore[arg-type]


@cache
def improved() -> Registration:
    return improve(improvement())


def test_everything_of_the_result_follows_the_corrected_transform() -> None:
    result, earlier = improved(), small_registration()
    there = earlier.transform.apply_to_points(dragged().shown)
    before = np.linalg.norm(earlier.transform.apply_to_points(dragged().wanted) - there)
    after = np.linalg.norm(result.transform.apply_to_points(dragged().wanted) - there)
    assert after < 0.3 * before
    expected = apply_to_image(result.transform, result.moving, result.fixed.geometry)
    np.testing.assert_allclose(result.warped.array, expected.array, atol=1.0)
    assert result.measures.folds == 0
    assert result.measures.inverse_error_mean < 0.1
    assert result.measures.inverse_error_p99 < 0.5
    assert result.warped_layers[0].geometry == result.fixed.geometry
    assert result.jacobian is not None


def test_what_was_dragged_is_told_and_kept() -> None:
    result = improved()
    assert result.decisions[:-1] == small_registration().decisions
    assert result.decisions[-1].startswith("Corrected by hand: 1 places dragged, by 5.0 mm at most")
    assert result.provenance["corrections"] == [
        {"shown": dragged().shown.tolist(), "wanted": dragged().wanted.tolist()}
    ]
    assert list(result.timings) == ["prepare", "correction", "inverse", "judge"]


def test_a_rigid_segment_moves_as_a_whole_when_it_is_dragged() -> None:
    grid = small_registration().fixed.geometry
    inside = np.linalg.norm(grid.points() - grid.centre, axis=-1) < 5.0
    bone = Image(inside.astype(np.uint8), grid, "bone")
    made = improvement()
    rigid = improve(replace(made, request=replace(made.request, drivers=Drivers(rigid_labels=bone), extras=Extras())))
    (free,), (kept,) = (rigid_motions(each.transform, bone, never_cancel) for each in (improved(), rigid))
    assert free.bending > 0.2
    assert kept.bending < 0.02
    assert any(decision.startswith("1 segments kept rigid") for decision in rigid.decisions)
    assert rigid.measures.inverse_error_mean < 0.1
    corner = grid.corners()[:1]
    # The field has other nodes then, and is linear between them.
    np.testing.assert_allclose(
        rigid.transform.apply_to_points(corner), made.transform.apply_to_points(corner), atol=0.01
    )


def test_an_earlier_correction_is_noted_before_the_new_one() -> None:
    again = improve(improvement(made=(DRAG,)))
    assert [each["wanted"] for each in again.provenance["corrections"]] == [
        DRAG.wanted.tolist(),
        dragged().wanted.tolist(),
    ]


def test_a_place_that_cannot_be_met_is_warned_of() -> None:
    apart = np.array([[8.0, 0.0, 0.0], [-8.0, 0.0, 0.0]])
    one_end = Correction(dragged().shown + apart, np.repeat(dragged().wanted, 2, axis=0))
    result = improve(improvement(correction=one_end))
    assert any("from where it was dragged to" in warning for warning in result.warnings)
    assert result.measures.folds == 0
    assert not any("from where it was dragged to" in warning for warning in improved().warnings)


def test_what_the_earlier_result_measured_of_its_linear_part_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured_again(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the pose was compared with others again")

    monkeypatch.setattr("DeepRegLib.finishing.compare_start", measured_again)
    earlier = small_registration().measures
    result = improve(improvement(at_start=start_measures(earlier)))
    assert start_measures(result.measures) == start_measures(earlier)
    again = improved().measures
    for name in ("ncc_before", "nmi_before", "structure_before", "structure_linear", "information", "edges"):
        assert getattr(result.measures, name) == pytest.approx(getattr(again, name), abs=1e-3), name
    for name in (
        "ncc_after",
        "structure_after",
        "folds",
        "inverse_folds",
        "jacobian_min",
        "inverse_error_p99",
        "coverage",
    ):
        assert getattr(result.measures, name) == getattr(again, name), name


def test_it_can_be_cancelled() -> None:
    with pytest.raises(CancelledError):
        improve(improvement(), cancel=lambda: True)


def test_labels_that_a_user_gives_are_brought_along_and_measured() -> None:
    fixed, moving, fixed_labels, moving_labels = small_pair()
    drivers = Drivers(fixed_labels=fixed_labels, moving_labels=moving_labels)
    result = improve(improvement(request=Request(fixed, moving, small_registration().recipe, drivers, "cpu")))
    assert result.warped_labels is not None
    assert result.measures.dice_after is not None


def test_it_travels_to_the_engine_and_back() -> None:
    task, asked = TASKS["improve"], improvement(made=(DRAG,), at_start=start_measures(small_registration().measures))
    arrays: Arrays = {}
    received = task.unpack_request(task.pack_request(asked, arrays), arrays)
    np.testing.assert_array_equal(received.correction.wanted, asked.correction.wanted)
    np.testing.assert_array_equal(received.made[0].shown, DRAG.shown)
    assert received.decisions == asked.decisions
    assert received.at_start == asked.at_start
    points = asked.request.fixed.geometry.corners()
    for name in ("transform", "inverse"):
        np.testing.assert_array_equal(
            getattr(received, name).apply_to_points(points), getattr(asked, name).apply_to_points(points)
        )
    decoder = Decoder()
    for piece in encode(task.result_message(improved(), 3)):
        decoder.feed(bytes(piece))
    back = task.result_of(decoder.next_message(), asked)
    np.testing.assert_array_equal(back.warped.array, improved().warped.array)
    assert back.fixed is asked.request.fixed
