"""What the panel says: progress, verdict and errors in words."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError
from DeepRegLib.models import KnownModel, ModelInput
from DeepRegLib.panel.task import ALONE, JUDGE, MASK, PULL
from DeepRegLib.result import CHECK, FAILED, OK, Registration

SECONDS_SHOWN_AS_MINUTES = 90
COLON = ": "
PARAGRAPH = "margin-top:2px; margin-bottom:2px"


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
        "other way": _("Registering from the other side"),
        "deformable": _("Deforming"),
        "correction": _("Correcting"),
        "inverse": _("Computing the inverse"),
        "judge": _("Judging the result"),
        "jacobian": _("Computing the change of volume"),
        "read": _("Reading the atlases"),
        "frames": _("Reading the frames"),
        "fuse": _("Fusing the labels"),
        "segment": _("Segmenting"),
        "translate": _("Translating"),
        "save": _("Writing the files"),
        "labels": _("Carrying over the segmentation"),
        "restoring": _("Bringing the former result back"),
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


def measures_of(registration: Registration) -> list[str]:
    """Return what was measured and found, each as what it is, a colon and its value."""
    m = registration.measures
    rows = [(_("Likeness"), f"{_share(m.structure_before)} → {_share(m.structure_after)}")]
    if m.dice_after:
        rows.append((_("Overlap of segments"), _change(m.dice_before, m.dice_after)))
    if m.tre_after is not None:
        rows.append((_("Landmarks"), _distance_apart(m.tre_before, m.tre_after)))
    rows.append((_("Folded tissue"), _voxels(m.folds)))
    if m.inverse_folds:
        rows.append((_("Folded on the way back"), _voxels(m.inverse_folds)))
    rows.append((_("Way back"), _("within {error:.2f} mm").format(error=m.inverse_error_p99)))
    if registration.model:
        rows.append((_("Model"), registration.model))
    percentiles = registration.uncertainty_percentiles()
    if percentiles is not None:
        median, high = percentiles
        text = _("differ by {median:.2f} mm, 95 % by less than {high:.2f} mm").format(median=median, high=high)
        rows.append((_("Its answers"), text))
    return [f"{name}{COLON}{value}" for name, value in rows]


def _voxels(count: int) -> str:
    return _("none") if count == 0 else _("{count} voxels").format(count=count)


def _share(value: float) -> str:
    return f"{max(value, 0.0):.0%}".replace("%", " %")


def _change(before: Mapping[int, float] | None, after: Mapping[int, float]) -> str:
    now = _share(sum(after.values()) / len(after))
    return f"{_share(sum(before.values()) / len(before))} → {now}" if before else now


def _distance_apart(before: float | None, after: float) -> str:
    if before is None:
        return _("{after:.1f} mm apart").format(after=after)
    return _("{before:.1f} → {after:.1f} mm apart").format(before=before, after=after)


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
        (_("Images"), _grid_of(manifest.input)),
        (_("Network"), _("{name}, {count:,} parameters").format(name=manifest.architecture, count=manifest.parameters)),
        (_("Size"), _("{size:.1f} MB").format(size=model.megabytes)),
        (_("Needs"), _("DeepReg {version} or newer").format(version=manifest.minimum_library)),
        (_("Folder"), str(model.folder)),
    )
    return table_html(rows)


def _grid_of(images: ModelInput) -> str:
    """Return on what grid a model sees its images."""
    if images.across:
        return _("{count} voxels along the longest side, of anatomy of any size").format(count=images.across)
    return _("voxels of {spacing:g} mm").format(spacing=images.spacing)


def table_html(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and texts as a table, in the rich text of a message box."""
    lines = "".join(
        f'<tr><th align="left">{html.escape(name)}&nbsp;</th><td>{html.escape(text)}</td></tr>' for name, text in rows
    )
    return f"<table>{lines}</table>"


def verdict_title(level: str) -> str:
    """Return what a verdict says, in three words."""
    return {OK: _("Looks right"), CHECK: _("Check this result"), FAILED: _("Do not use")}[level]


def title_html(text: str) -> str:
    """Return the heading of a card, in the rich text of a label."""
    return f"<b>{html.escape(text)}</b>"


def reasons_html(reasons: Sequence[str]) -> str:
    """Return sentences, each a paragraph, in the rich text of a label."""
    return "".join(f'<p style="{PARAGRAPH}">{html.escape(text)}</p>' for text in reasons if text)


def measures_html(measures: Sequence[str]) -> str:
    """Return the rows of `measures_of` as a table, in the rich text of a label."""
    rows = (row.partition(COLON) for row in measures)
    cells = (
        f"<tr><td>{html.escape(name)}:&nbsp;&nbsp;</td><td>{html.escape(value)}</td></tr>"
        for name, _colon, value in rows
    )
    return f'<table cellspacing="0" cellpadding="1">{"".join(cells)}</table>' if measures else ""


def place_text(place: Sequence[float], what: str) -> str:
    """Return a place (x, y, z, LPS mm) and what is wrong there as one text, for `place_of` to read."""
    return f"{' '.join(f'{value:.2f}' for value in place)}{COLON}{what}"


def places_of(registration: Registration) -> list[str]:
    """Return the places of a result to look at first, each as a `place_text`."""
    text = _("{reason}, about {error:.1f} mm")
    return [
        place_text(place.position, text.format(reason=place.reason, error=place.expected_mm))
        for place in registration.worst_places
    ]


def place_of(text: str) -> tuple[tuple[float, float, float], str]:
    """Return the place (x, y, z, LPS mm) of a `place_text`, and what is wrong there."""
    place, _colon, what = text.partition(COLON)
    x, y, z = (float(value) for value in place.split())
    return (x, y, z), what


def places_html(places: Sequence[str]) -> str:
    """Return links to places, each a `place_text`, in the rich text of a label; a link's address is its number."""
    if not places:
        return ""
    links = (
        f'{number + 1}. <a href="{number}">{html.escape(place_of(text)[1])}</a>' for number, text in enumerate(places)
    )
    return html.escape(_("Look here first:")) + "".join(f'<p style="{PARAGRAPH}">{link}</p>' for link in links)


def pair_text(moving: str, fixed: str) -> str:
    """Return which scans a result belongs to."""
    return _("{moving} onto {fixed}").format(moving=moving, fixed=fixed)


def tooltip(text: str) -> str:
    """Return a tooltip that shows a text as it stands: Qt would take what looks like markup for such."""
    return f"<p>{html.escape(text)}</p>" if text else ""


def error_html(error: DeepRegError) -> str:
    """Return an error and what to do about it, in the rich text of a label."""
    return title_html(error.message) + reasons_html((error.hint,))


def role_words(role: str) -> tuple[str, str]:
    """Return what a role of the segmentations is called, and what it does."""
    words = {
        JUDGE: (_("Judge the result"), _("Segments of the same name are compared when all is done.")),
        PULL: (
            _("Also draw the field"),
            _("Segments of the same name draw the field onto each other; their overlap then proves nothing."),
        ),
        MASK: (
            _("Also serve as masks"),
            _("The scans are compared inside their segmentation, unless a mask is chosen; all segments count."),
        ),
        ALONE: (
            _("Drive alone"),
            _(
                "Nothing but segments of the same name is compared (recipe labels-only): for scans with no contrast in "
                "common."
            ),
        ),
    }
    return words.get(role, words[JUDGE])
