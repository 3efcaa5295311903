"""Whether a synthetic scan shows what the scan it was made of shows."""

from __future__ import annotations

import numpy as np

from DeepRegLib.evaluation import structure_agreement
from DeepRegLib.image import Image
from DeepRegLib.models.translation import DOUBTFUL_SYNTHESIS, USELESS_SYNTHESIS
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing import finite, foreground_mask
from DeepRegLib.result import CHECK, FAILED, OK, Verdict


def belief_in(synthetic: Image, scan: Image, *, poll: Poll = never_cancel) -> tuple[float, Verdict]:
    """Compare the edges of a synthetic scan with those of the scan it was made of.

    Parameters
    ----------
    synthetic, scan
        On one grid.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    float, Verdict
        Agreement of the edges inside the body, 0 (chance) to 1, and whether the synthetic scan can be used.
    """
    clean, _ = finite(scan)
    body = foreground_mask(clean, poll=poll)
    if float(np.ptp(synthetic.array)) == 0:
        return 0.0, Verdict(FAILED, ("The synthetic scan is empty.",))
    agreement = structure_agreement(clean, synthetic, body.with_array(body.array.astype(np.bool_)), poll=poll)
    if agreement < USELESS_SYNTHESIS:
        return agreement, Verdict(FAILED, (f"Its edges run like those of the scan to {agreement:.0%} only.",))
    if agreement < DOUBTFUL_SYNTHESIS:
        reason = f"Its edges run like those of the scan to {agreement:.0%}: parts may be left out or invented."
        return agreement, Verdict(CHECK, (reason,))
    return agreement, Verdict(OK, ())
