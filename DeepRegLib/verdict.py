"""The verdict on a result: what its measures say of it, in words. The figures behind the limits: docs/verdict.md."""

from __future__ import annotations

import math
from collections.abc import Mapping

from DeepRegLib.result import CHECK, FAILED, OK, Measures, Verdict

# Structure agreement, measured on 15 wrong and 28 right pairs (parts `wrong` and `pairs` of Testing/benchmarks). Wrong
# body parts and noise reached 0.36 after the linear stage, mostly below 0.25, and 0.68 after the deformable one; the
# same anatomy 0.39 at least and 0.80 (one pair 0.50).
HOPELESS_LINEAR_STRUCTURE, LOW_LINEAR_STRUCTURE, DOUBTFUL_LINEAR_STRUCTURE = 0.25, 0.42, 0.45
FAILED_STRUCTURE, DOUBTFUL_STRUCTURE = 0.72, 0.78
# Information at the pose over the most at any other, and at one a tenth of the anatomy's radius away; edges likewise.
# Of 40 right poses none was doubted by these, of 115 wrong ones one passed; no right one was below 0.66. A ball agrees
# as well when it is turned a little, so the limit for close poses is below 1.
WORSE_THAN_OTHERS, NO_BETTER_THAN_OTHERS = 0.6, 1.05
# A better pose so few mm away is a doubt and no failure: of small anatomy that is a pose right within 3 mm.
NEAR_MM = 5.0
NO_BETTER_THAN_CLOSE = 0.97
EDGES_NO_BETTER_THAN_OTHERS = 1.0
# Information at the best mirrored pose over that at the pose: see docs/verdict.md.
OTHER_SIDE = 1.03
# Edges there over those at the pose: seven mirrored scans had 1.01 and more, a right brain against a template 0.89.
OTHER_SIDE_EDGES = 0.95
# A pose that is clearly the best, with edges that agree, is right even where the anatomy differs much or the scan is
# noisy (hippocampi of two people: structure 0.39). Wrong poses and other anatomy had less of one or the other.
BEST_OF_ALL, ALIKE_EDGES = 1.15, 0.4
FAINT_EDGES = 0.02
# An ultrasound's speckle agrees with nothing: there it is the share explained at the pose, over that a tenth of the
# cone's radius away. Of simulated ones right poses had 1.36 and more, poses 3 mm off 1.11, other people's brains 1.12.
EXPLAINED_BEST = 1.2
# A mask that leaves less than this share of the anatomy says too little of the pose: all of the anatomy is asked, and
# few edges inside the mask are no sign of failure.
SMALL_MASK = 0.1
IMPLAUSIBLE_SCALE = 2.5
LOST_STRUCTURE = 0.05
LEAST_COVERAGE = 0.15
DOUBTFUL_COVERAGE = 0.5
STRONG_DEFORMATION = 1.0
COARSE_INVERSE_MM = 0.5
# Mean over a small cube, see docs/verdict.md: right results reached 3.7, a bump of 10 mm about 6.
LED_ASTRAY_MM = 4.0
# Landmarks: breathing moves them by up to 16 mm, so that alone is no failure; of small anatomy a quarter of the spread.
LARGE_TRE_MM, HOPELESS_TRE_MM = 10.0, 30.0
LARGE_TRE_OF_SPREAD, HOPELESS_TRE_OF_SPREAD = 0.25, 0.6
# Rigid fits of right pairs leave up to 0.2 of the spread (a breathing liver), in the wrong order 0.7 and more.
UNFITTING_RESIDUAL = 0.4
# Structures that do not touch after the registration have not been brought together.
HOPELESS_DICE = 0.02
# Of labels that drive alone: right results reached .92 to .95, one that led an abdomen astray .69.
ENOUGH_DICE_ALONE = 0.8
LOST_DICE = 0.02


def verdict_on(measures: Measures, *, deformed: bool, labels_alone: bool = False) -> Verdict:
    """Judge a result by its measures: failed, to be checked, or nothing against it.

    Landmarks and labels of the user's come first: where landmarks lie together, images that resemble each other
    little are a doubt and no failure.

    Parameters
    ----------
    measures
        Of the result.
    deformed
        Whether the deformable stage ran: it makes edges agree, so more agreement is asked for.
    labels_alone
        Whether nothing but labels drove it, so that they ought to lie on each other.
    """
    limits = (FAILED_STRUCTURE, DOUBTFUL_STRUCTURE) if deformed else (0.0, DOUBTFUL_LINEAR_STRUCTURE)
    by_user = _reasons([*_landmark_failures(measures), *_label_failures(measures)])
    by_images = _reasons(_image_failures(measures, limits[0]))
    drivers = [*_driver_doubts(measures), *(_doubts_of_labels_alone(measures) if labels_alone else ())]
    doubts = _reasons([*drivers, *_image_doubts(measures, limits[1]), *_field_doubts(measures)])
    failures = by_user if _landmarks_agree(measures) else by_user + by_images
    if failures:
        return Verdict(FAILED, tuple(failures))
    doubts = by_images + [doubt for doubt in doubts if doubt not in by_images]
    return Verdict(CHECK, tuple(doubts)) if doubts else Verdict(OK, ())


def prominence(measures: Measures) -> float | None:
    """Return the information at the pose over the most at any other pose; None if it was not measured."""
    m = measures
    if m.information is None or m.information_nearby is None or m.information_elsewhere is None:
        return None
    return m.information / max(m.information_nearby, m.information_elsewhere, 1e-6)


def edge_prominence(measures: Measures) -> float | None:
    """Return the agreement of edges at the pose over the most at any other pose; None if it was not measured."""
    m = measures
    if m.edges is None or m.edges_nearby is None or m.edges_elsewhere is None:
        return None
    return m.edges / max(m.edges_nearby, m.edges_elsewhere, FAINT_EDGES)


Judged = list[tuple[bool, str]]


def _reasons(judged: Judged) -> list[str]:
    return [sentence for holds, sentence in judged if holds]


def _landmark_failures(m: Measures) -> Judged:
    if m.tre_after is None:
        return []
    spread, residual = m.landmark_spread or math.inf, m.landmark_residual or 0.0
    return [
        (
            residual > UNFITTING_RESIDUAL * spread,
            f"The landmarks do not fit together: the other pairs predict each one {residual:.0f} mm off. Check their "
            "order, and whether both lists are in the same frame (LPS or RAS).",
        ),
        (
            m.tre_after > min(HOPELESS_TRE_MM, HOPELESS_TRE_OF_SPREAD * spread),
            f"The landmarks lie {m.tre_after:.1f} mm apart after the registration.",
        ),
    ]


def _label_failures(m: Measures) -> Judged:
    after = _mean_dice(m.dice_after)
    if after is None:
        return []
    return [(after < HOPELESS_DICE, f"The labels do not overlap after the registration (mean Dice {after:.2f}).")]


def _image_failures(m: Measures, least_structure: float) -> Judged:
    hopeless = m.structure_linear < HOPELESS_LINEAR_STRUCTURE
    unlike = hopeless or (m.structure_linear < LOW_LINEAR_STRUCTURE and m.structure_after < least_structure)
    unlike = (unlike or m.explained is not None) and not (
        _is_clearly_best(m) or _mask_is_small(m) or _better_pose_is_near(m)
    )
    coverage, ratio = _coverage(m), prominence(m)
    return [
        (coverage < LEAST_COVERAGE, f"The scans hardly overlap: {coverage:.0%} of the anatomy is covered."),
        (unlike, _mismatch_text(m)),
        (ratio is not None and ratio < WORSE_THAN_OTHERS and not _better_pose_is_near(m), _better_pose(m)),
    ]


def _better_pose_is_near(m: Measures) -> bool:
    """Tell whether what shows most information of all is a pose a few millimetres away: the anatomy is the same."""
    if m.information_elsewhere is None or m.elsewhere_mm is None:
        return False
    best = m.information_elsewhere > max(m.information or 0.0, m.information_nearby or 0.0)
    return best and 0 < m.elsewhere_mm < NEAR_MM


def _mismatch_text(m: Measures) -> str:
    if m.explained is not None:
        close = m.information_close or 0.0
        return (
            f"The other scan explains {m.explained:.0%} of the ultrasound here, and {close:.0%} when it is moved a "
            "little: this alignment is wrong, or the scans do not show the same anatomy."
        )
    return (
        "The scans do not seem to show the same anatomy: aligned as well as possible, their edges agree to "
        f"{max(m.structure_linear, 0):.0%} before and {max(m.structure_after, 0):.0%} after deformation."
    )


def _is_clearly_best(m: Measures) -> bool:
    """Tell whether the pose is clearly the best there is: then little structure in common is no sign of failure."""
    ratio = prominence(m)
    if m.explained is not None:
        peaked = m.explained >= EXPLAINED_BEST * (m.information_close or 0.0)
        return peaked and ratio is not None and ratio >= BEST_OF_ALL
    return ratio is not None and ratio >= BEST_OF_ALL and m.edges is not None and m.edges >= ALIKE_EDGES


def _is_of_the_other_side(m: Measures) -> bool:
    """Tell whether a mirrored pose shows more information, and its edges do not speak against it."""
    if m.mirrored_information is None or m.mirrored_information <= OTHER_SIDE:
        return False
    return m.mirrored_edges is None or m.mirrored_edges > OTHER_SIDE_EDGES


def _mask_is_small(m: Measures) -> bool:
    return m.masked_share is not None and m.masked_share < SMALL_MASK


def with_doubt(verdict: Verdict, doubt: str) -> Verdict:
    """Return a verdict with one more reason to check, which never makes it better."""
    return Verdict(CHECK if verdict.level == OK else verdict.level, (*verdict.reasons, doubt))


def inexact_inverse(p99: float) -> str:
    """Return the doubt about an inverse whose error has this 99th percentile, mm."""
    return f"The inverse is inexact: 1 % of the points come back more than {p99:.1f} mm off."


def _better_pose(m: Measures) -> str:
    if (m.information_elsewhere or 0.0) > (m.information_nearby or 0.0):
        return (
            f"The scans resemble each other more in another position, {m.elsewhere_mm or 0.0:.0f} mm from this one: "
            "this alignment is wrong, or the scans do not show the same anatomy."
        )
    return (
        "The scans resemble each other no less when they are moved apart: this alignment is wrong, or they do not "
        "show the same anatomy."
    )


def _driver_doubts(m: Measures) -> Judged:
    doubts: Judged = []
    if m.tre_after is not None:
        spread = m.landmark_spread or math.inf
        doubts += [
            (
                m.tre_after > min(LARGE_TRE_MM, LARGE_TRE_OF_SPREAD * spread),
                f"The landmarks lie {m.tre_after:.1f} mm apart after the registration.",
            ),
            (
                m.tre_before is not None and m.tre_after > m.tre_before,
                "The landmarks lie further apart than before the registration.",
            ),
            (bool(m.landmarks_outside), f"{m.landmarks_outside} landmarks lie outside their scan."),
        ]
    before, after = _mean_dice(m.dice_before), _mean_dice(m.dice_after)
    if before is not None and after is not None:
        doubts.append(
            (
                after < before - LOST_DICE,
                f"The labels overlap less than before: mean Dice {before:.2f}, now {after:.2f}.",
            )
        )
    return doubts


def _doubts_of_labels_alone(m: Measures) -> Judged:
    after = _mean_dice(m.dice_after)
    if after is None:
        return []
    return [
        (
            after < ENOUGH_DICE_ALONE,
            f"The labels alone drove this registration, and they overlap by {after:.2f} only (mean Dice).",
        )
    ]


def _image_doubts(m: Measures, enough_structure: float) -> Judged:
    scale = max(m.volume_scale, 1 / max(m.volume_scale, 1e-9))
    coverage, ratio = _coverage(m), prominence(m)
    edges = edge_prominence(m)
    closer = m.information is not None and m.information < NO_BETTER_THAN_CLOSE * (m.information_close or 0.0)
    return [
        (
            (ratio is not None and ratio < NO_BETTER_THAN_OTHERS)
            or (edges is not None and edges < EDGES_NO_BETTER_THAN_OTHERS),
            _better_pose(m),
        ),
        (
            _mask_is_small(m) and not _is_clearly_best(m),
            f"The masks leave {m.masked_share or 0.0:.0%} of the anatomy, which is too little to tell.",
        ),
        (
            _is_of_the_other_side(m),
            "The scans resemble each other more when one of them is mirrored: check which side is which, and how left "
            "and right are stored.",
        ),
        (closer, "The scans resemble each other more when they are moved a little from here: look at the borders."),
        (
            m.structure_after < (m.structure_linear - LOST_STRUCTURE if _is_clearly_best(m) else enough_structure),
            f"The scans resemble each other little: aligned, their edges agree to {max(m.structure_after, 0):.0%}.",
        ),
        (
            scale > IMPLAUSIBLE_SCALE,
            f"The linear alignment changes the volume by a factor of {m.volume_scale:.2f}.",
        ),
        (
            LEAST_COVERAGE <= coverage < DOUBTFUL_COVERAGE,
            f"Only {coverage:.0%} of the anatomy is covered by the other scan.",
        ),
        (
            # Scans that lie together as they are stored lose a little by any resampling.
            m.structure_after < m.structure_before - LOST_STRUCTURE
            and m.nmi_after < m.nmi_before
            and not _is_clearly_best(m),
            "The scans resemble each other less than before the registration.",
        ),
    ]


def _field_doubts(m: Measures) -> Judged:
    astray = m.led_astray or 0.0
    return [
        (
            astray > LED_ASTRAY_MM,
            f"At one place the field leads {astray:.0f} mm and more from where its surroundings lead, which would fit "
            "better: look at the worst places.",
        ),
        (m.folds > 0, f"The field folds at {m.folds} voxels: tissue is turned inside out there."),
        (
            bool(m.inverse_folds),
            f"The inverse folds at {m.inverse_folds} voxels of the moving scan: what it brings back is turned inside "
            "out there.",
        ),
        (
            m.log_jacobian_sd > STRONG_DEFORMATION,
            f"The deformation is strong (spread of log volume change {m.log_jacobian_sd:.2f}).",
        ),
        (m.inverse_error_p99 > COARSE_INVERSE_MM, inexact_inverse(m.inverse_error_p99)),
    ]


def _landmarks_agree(m: Measures) -> bool:
    """Tell whether enough landmarks of the user's fit each other and lie together."""
    if m.tre_after is None or m.landmark_spread is None or m.landmark_residual is None:
        return False
    near = m.tre_after <= min(LARGE_TRE_MM, LARGE_TRE_OF_SPREAD * m.landmark_spread)
    return near and m.landmark_residual <= UNFITTING_RESIDUAL * m.landmark_spread and not m.landmarks_outside


def _coverage(m: Measures) -> float:
    return m.overlap if m.coverage is None else m.coverage


def _mean_dice(scores: Mapping[int, float] | None) -> float | None:
    return math.fsum(scores.values()) / len(scores) if scores else None
