"""The atlases of one scan registered by workers, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.cohort.steps import Steps
from DeepRegLib.cohort.work import DONE
from DeepRegLib.result import FAILED

if TYPE_CHECKING:
    from DeepRegLib.segmentation.request import SegmentRequest
    from DeepRegLib.segmentation.segmenting import Carried


def carried_by(
    request: SegmentRequest, scan: Path, files: Sequence[tuple[str, Path, Path]], steps: Steps
) -> list[Carried]:
    """Return the atlases of a request on the grid of its scan; one whose process fails is left out as others are.

    Parameters
    ----------
    request
        What is asked for.
    scan
        The file that its scan was read from, which every worker sees.
    files
        Name, scan and label map of each atlas.
    steps
        Hands them out.

    Raises
    ------
    StepError
        If nothing can run any more.
    CancelledError
        If the run was stopped.
    """
    from DeepRegLib.segmentation.steps import arguments_of, carried_of

    given = {
        f"atlas {number}": arguments_of(request, scan, each, steps.work / f"atlas-{number}.npz")
        for number, each in enumerate(files)
    }
    ended = steps.all("carry_atlas", given)
    carried = []
    for name, atlas in zip(given, request.atlases, strict=True):
        outcome = ended[name]
        answer = dict(outcome.answer)
        if outcome.kind != DONE:
            answer = {"used": False, "level": FAILED, "reasons": [outcome.reason], "decisions": [], "path": ""}
            answer["seconds"] = outcome.seconds
        carried.append(carried_of(answer, atlas, request.scan))
    return carried
