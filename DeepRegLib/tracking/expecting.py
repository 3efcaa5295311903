"""The next scan registered from where its motion is expected, by a series and what was seen of the scans before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from DeepRegLib.monitoring import Cancel, Progress, poll_of
from DeepRegLib.motion.components import motion_model
from DeepRegLib.motion.prediction import predictor_named
from DeepRegLib.registration import Registration
from DeepRegLib.tracking.following import follow
from DeepRegLib.tracking.foresight import FORESEEN, Foresight
from DeepRegLib.tracking.request import FOLLOWED, SCORES, Following


def follow_expected(
    following: Following, *, progress: Progress | None = None, cancel: Cancel | None = None
) -> Registration:
    """Register the next scan as `follow` does, from the last result moved on if it comes with a motion.

    Raises
    ------
    InputError
        If the series does not move, or the scan is not later than those before.
    ModelError
        If the model that predicts cannot be used.
    """
    motion = following.motion
    if motion is None:
        return follow(following, progress=progress, cancel=cancel)
    poll = poll_of(cancel)
    model = motion_model(motion.transforms, following.request.fixed.geometry, poll=poll)
    foresight = Foresight(model, predictor_named(motion.predictor))
    for time, *scores in motion.seen:
        foresight.remember(time, np.array(scores))
    foresight.check(motion.time)
    start = foresight.expected(motion.time, following.last.transform, poll=poll)
    moved = replace(following, last=replace(following.last, transform=start))
    result = follow(moved, progress=progress, cancel=cancel)
    found = [float(score) for score in model.principal.scores_of(result.transform)]
    told = (FORESEEN,) if motion.seen and FOLLOWED in result.provenance else ()
    return replace(result, decisions=(*result.decisions, *told), provenance={**result.provenance, SCORES: found})
