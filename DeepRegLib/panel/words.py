"""What the panel says: progress, verdict and errors in words."""

from __future__ import annotations

import html

from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError
from DeepRegLib.models import KnownModel
from DeepRegLib.result import CHECK, FAILED, OK, Measures, Registration

# White on each of these has a contrast above 4.5:1, whatever the theme behind.
COLOURS = {OK: "#2e7d32", CHECK: "#b45309", FAILED: "#c62828"}
SECONDS_SHOWN_AS_MINUTES = 90


def stage_name(stage: str) -> str:
    """Return what a stage of the pipeline does, for a clinician."""
    names = {
        "waiting": _("Starting the engine"),
        "prepare": _("Preparing the scans"),
        "search": _("Searching the starting position"),
        "linear": _("Aligning (rigid, then affine)"),
        "model": _("Asking the model"),
        "levels": _("Resampling the scans"),
        "large motion": _("Searching large motion"),
        "deformable": _("Deforming"),
        "inverse": _("Computing the inverse"),
        "judge": _("Judging the result"),
        "labels": _("Carrying over the segmentation"),
        "cancelling": _("Cancelling"),
    }
    return names.get(stage, stage)


def progress_text(stage: str, similarity: float | None, seconds_left: float | None) -> str:
    """Return one line on where a run is.

    Parameters
    ----------
    stage
        As the pipeline calls it.
    similarity
        Of the images now, if known.
    seconds_left
        Estimate, if known.
    """
    parts = [stage_name(stage)]
    if similarity is not None:
        parts.append(_("similarity {value:.3f}").format(value=similarity))
    if seconds_left is not None:
        parts.append(duration_left(seconds_left))
    return " · ".join(parts)


def duration_left(seconds: float) -> str:
    """Return how long it will take yet."""
    if seconds >= SECONDS_SHOWN_AS_MINUTES:
        return _("about {minutes} min left").format(minutes=round(seconds / 60))
    return _("about {seconds} s left").format(seconds=max(1, round(seconds)))


def measures_text(measures: Measures) -> str:
    """Return the measures that matter most as one line."""
    parts = [
        _("likeness {before:.2f} → {after:.2f}").format(
            before=measures.structure_before, after=measures.structure_after
        )
    ]
    if measures.dice_after:
        mean = sum(measures.dice_after.values()) / len(measures.dice_after)
        parts.append(_("overlap of segments {mean:.2f}").format(mean=mean))
    if measures.tre_after is not None:
        parts.append(_("landmarks {distance:.1f} mm apart").format(distance=measures.tre_after))
    parts.append(_("no folds") if measures.folds == 0 else _("{count} folds").format(count=measures.folds))
    parts.append(_("inverse within {error:.2f} mm").format(error=measures.inverse_error_p99))
    return " · ".join(parts)


def model_text(registration: Registration) -> str:
    """Return which model was asked and how far its answers differ, as one line; empty if none was."""
    parts = [_("model {name}").format(name=registration.model)] if registration.model else []
    percentiles = registration.uncertainty_percentiles()
    if percentiles is not None:
        median, high = percentiles
        parts.append(
            _("its answers differ by {median:.2f} mm, 95 % by less than {high:.2f} mm").format(median=median, high=high)
        )
    return " · ".join(parts)


def model_summary(model: KnownModel) -> str:
    """Return version, task, licence and size of a model as one line."""
    manifest = model.manifest
    if manifest is None:
        return ""
    return " · ".join(
        (
            _("version {version}").format(version=manifest.version),
            _("for {task}").format(task=manifest.task),
            manifest.licence,
            _("{size:.1f} MB").format(size=model.megabytes),
        )
    )


def model_html(model: KnownModel) -> str:
    """Return what a model says of itself, in the rich text of a message box; empty if it says nothing."""
    manifest = model.manifest
    if manifest is None:
        return ""
    rows = (
        (_("Name"), f"{manifest.name} {manifest.version}"),
        (_("Intended use"), manifest.intended_use),
        (_("Limits"), manifest.limits),
        (_("Trained on"), manifest.trained_on),
        (_("Licence"), manifest.licence),
        (_("Task"), manifest.task),
        (_("Images"), _("voxels of {spacing:g} mm").format(spacing=manifest.input.spacing)),
        (_("Network"), _("{name}, {count:,} parameters").format(name=manifest.architecture, count=manifest.parameters)),
        (_("Size"), _("{size:.1f} MB").format(size=model.megabytes)),
        (_("Needs"), _("DeepReg {version} or newer").format(version=manifest.minimum_library)),
        (_("Folder"), str(model.folder)),
    )
    lines = "".join(
        f'<tr><th align="left">{html.escape(name)}&nbsp;</th><td>{html.escape(text)}</td></tr>' for name, text in rows
    )
    return f"<table>{lines}</table>"


def verdict_html(level: str, reasons: list[str] | tuple[str, ...], numbers: str) -> str:
    """Return a verdict as a coloured badge, its reasons and its numbers, in the rich text of a label."""
    titles = {OK: _("Looks right"), CHECK: _("Check this result"), FAILED: _("Do not use")}
    badge = (
        f'<p><span style="background-color:{COLOURS[level]}; color:white; font-weight:bold">'
        f"&nbsp;{html.escape(titles[level])}&nbsp;</span></p>"
    )
    return badge + "".join(f"<p>{html.escape(text)}</p>" for text in (*reasons, numbers) if text)


def error_html(error: DeepRegError) -> str:
    """Return an error and what to do about it, in the rich text of a label."""
    text = f'<p><span style="color:{COLOURS[FAILED]}"><b>{html.escape(error.message)}</b></span></p>'
    return text + (f"<p>{html.escape(error.hint)}</p>" if error.hint else "")
