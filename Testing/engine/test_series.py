"""The task `series`: all of it travels, what does not belong is refused, a stopped run is gone on with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.engine.protocol import Message, ProtocolError
from DeepRegLib.engine.series import SERIES
from DeepRegLib.errors import CancelledError, InputError
from DeepRegLib.series.request import SeriesRequest
from DeepRegLib.series.running import SeriesRunner
from Testing.series.breathing import GRID, breath, inner_points, quick_recipe
from Testing.series.results import result_for


def request(count: int = 3, *, labelled: bool = True) -> SeriesRequest:
    frames = breath(5)[:count]
    layers = (frames[0].with_array((frames[0].array > 100).astype(np.uint8)),) if labelled else ()
    return SeriesRequest(frames, tuple(map(float, range(count))), "s", quick_recipe(), "0", layers, device="cpu")


def test_request_and_result_travel_whole() -> None:
    asked = request()
    received = SERIES.request_of(SERIES.request_message(asked, 1))
    assert (received.times, received.unit, received.reference, received.recipe) == (
        asked.times,
        asked.unit,
        asked.reference,
        asked.recipe,
    )
    np.testing.assert_array_equal(received.frames[2].array, asked.frames[2].array)
    made = result_for(asked)
    found = SERIES.result_of(SERIES.result_message(made, 1), asked)
    assert found.rows == made.rows
    for mine, theirs in zip(made.transforms, found.transforms, strict=True):
        np.testing.assert_array_equal(mine.apply_to_points(inner_points()), theirs.apply_to_points(inner_points()))
    np.testing.assert_array_equal(found.carried[2][0].array, made.carried[2][0].array)


@pytest.mark.parametrize("part", ["transforms", "stabilised", "rows", "carried"])
def test_a_result_that_is_short_of_a_frame_is_refused(part: str) -> None:
    asked = request()
    made = result_for(asked)
    short: Message = SERIES.result_message(replace(made, **{part: getattr(made, part)[:-1]}), 1)
    with pytest.raises(ProtocolError):
        SERIES.result_of(short, asked)


def test_frames_and_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="3 frames and 1 times"):
        SeriesRequest(breath(5)[:3], (0.0,))


def test_a_stopped_run_is_gone_on_with_and_carries_labels() -> None:
    runner, stages = SeriesRunner(), []

    def note(stage: str, *_: object) -> None:
        stages.append(stage)

    with pytest.raises(CancelledError):
        runner.run(request(), note, lambda: "frame 3 of 3" in stages)
    kept = len(runner._kept.found)
    assert kept == 1
    result = runner.run(request(), note, lambda: False)
    assert not runner._kept.found
    assert [len(layers) for layers in result.carried] == [1, 1, 1]
    moved = [np.argwhere(layers[0].array).mean(axis=0) for layers in result.carried]
    assert np.linalg.norm(moved[2] - moved[0]) > 0
    assert result.stabilised[2].geometry.is_close(GRID)
