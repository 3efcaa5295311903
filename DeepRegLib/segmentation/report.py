"""The report of a segmentation: slices with outlines, how sure they are, segments, and what became of each atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from DeepRegLib.files import write_text
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.recipes import recipe_to_toml, without_folder
from DeepRegLib.report.pages import Picture, banner_of, data_uri, page_template
from DeepRegLib.report.planes import Source, planes_of_labels
from DeepRegLib.segmentation.result import Segmentation

TEMPLATE = "segmentation.html.j2"
FULL = 255
AGREEMENT = "share of the atlases that say what the result says, 0 to 1"
CONFIDENCE = "probability that the model gives to what the result says, 0 to 1"


def write_segmentation_report(segmentation: Segmentation, path: str | Path) -> None:
    """Write what `segmentation_report` returns to a file.

    Raises
    ------
    DeepRegError
        As that does; an `OutputError` if the file cannot be written.
    """
    write_text(path, segmentation_report(segmentation))


def segmentation_report(segmentation: Segmentation) -> str:
    """Return a segmentation as one page of HTML without scripts, links and fonts; of file names the last part is shown.

    Raises
    ------
    DeepRegError
        If jinja2 or Pillow is not installed.
    """
    page, found = page_template(TEMPLATE), segmentation
    names, by_model = [found.scan.name], bool(found.model)
    meaning = CONFIDENCE if by_model else AGREEMENT
    return page.render(
        banner=banner_of(found.verdict),
        reasons=without_folders(found.verdict.reasons, names),
        warnings=without_folders(found.warnings, names),
        decisions=without_folders(found.decisions, names),
        scan=base_name(found.scan.name),
        how=_how(found),
        seconds=f"{sum(found.timings.values()):.1f}" if found.timings else "",
        pictures=[_picture(found, meaning)],
        certainty="Confidence" if by_model else "Agreement",
        certainty_caption=f"{'Confidence' if by_model else 'Agreement'} is the mean inside a segment: {meaning}.",
        segments=_segments(found),
        atlases=_atlases(found),
        recipe="" if found.recipe is None else recipe_to_toml(without_folder(found.recipe)),
        versions=", ".join(f"{name} {version}" for name, version in found.provenance.get("versions", {}).items()),
    )


def _how(found: Segmentation) -> str:
    if found.model:
        return f"by the model {base_name(found.model.get('name', ''))}"
    used = sum(row.used for row in found.atlases)
    recipe = "" if found.recipe is None else f", recipe {found.recipe.name}"
    return f"by {used} of {len(found.atlases)} atlases, fused by {found.fusion}{recipe}"


def _picture(found: Segmentation, meaning: str) -> Picture:
    from DeepRegLib.report.figures import segmented_figure

    planes, drawn = planes_of_labels(found.scan, found.labels), Source(found.agreement, background=1.0)
    certainty = [drawn.on(plane.geometry) for plane in planes]
    colours = {segment.label: segment.colour for segment in found.segments}
    title = "Confidence" if found.model else "Agreement"
    figure = segmented_figure(planes, certainty, colours, title)
    caption = f"Slices through the middle of all segments. Below: {meaning}; dark where nothing else was said."
    return Picture("Segments on the scan", caption, data_uri(figure))


def _segments(found: Segmentation) -> list[dict[str, Any]]:
    return [
        {
            "name": row.name,
            "label": row.label,
            "colour": "#" + "".join(f"{round(FULL * part):02x}" for part in segment.colour),
            "volume": f"{row.volume:.3f}" if row.volume else "not found",
            "atlas_volume": "" if row.atlas_volume is None else f"{row.atlas_volume:.3f}",
            "certainty": "" if row.agreement is None else f"{row.agreement:.2f}",
        }
        for segment, row in zip(found.segments, found.rows, strict=True)
    ]


def _atlases(found: Segmentation) -> list[dict[str, str]]:
    return [
        {
            "name": base_name(row.name),
            "used": "yes" if row.used else "left out",
            "verdict": row.verdict.level,
            "dice": "" if row.dice is None else f"{row.dice:.3f}",
            "seconds": f"{row.seconds:.1f}",
            "reasons": " ".join(without_folders(row.verdict.reasons, [found.scan.name])),
        }
        for row in found.atlases
    ]
