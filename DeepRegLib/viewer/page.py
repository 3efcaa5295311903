"""The viewer of a registration as one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from DeepRegLib.dicom.structures import colour_of
from DeepRegLib.errors import DeepRegError
from DeepRegLib.files import write_text
from DeepRegLib.image import Image
from DeepRegLib.naming import base_name
from DeepRegLib.result import Registration
from DeepRegLib.viewer.niivue import niivue_script
from DeepRegLib.viewer.volumes import greys, label_numbers, labels, millimetres, shrunk

if TYPE_CHECKING:
    import jinja2

TEMPLATE = "viewer.html.j2"
LARGEST_PAGE = 8_000_000  # bytes
VOXELS = 2_000_000  # of each volume, unless the page would be too large
SMALLER = 0.7
HIGH = 95  # percentile of the expected error that the colours reach
LEAST_MM = 1.0  # the trust map's colours reach at least as far


@dataclass(frozen=True, eq=False)
class Shown:
    """What a viewer shows of a registration.

    Parameters
    ----------
    fixed, moving
        The scans.
    warped
        The moving scan on the fixed grid.
    verdict, recipe
        The verdict's level, the recipe's name.
    labels
        Carried labels on the fixed grid, or None.
    trust
        Expected error in mm on the fixed grid, or None.
    """

    fixed: Image
    moving: Image
    warped: Image
    verdict: str
    recipe: str
    labels: Image | None = None
    trust: Image | None = None


def shown_of(registration: Registration) -> Shown:
    """Return what a viewer shows of a registration."""
    scans = registration.fixed, registration.moving, registration.warped
    words = registration.verdict.level, registration.recipe.name
    return Shown(*scans, *words, registration.warped_labels, registration.trust)


@dataclass(frozen=True)
class Layer:
    """One volume of the page.

    Parameters
    ----------
    key
        Its name in the page.
    title
        What the reader sees.
    data
        A compressed NIfTI file in base 64.
    kind
        ``"grey"``, ``"labels"`` or ``"map"``.
    opacity
        How much of it shows at first, 0 to 1.
    """

    key: str
    title: str
    data: str
    kind: str
    opacity: float


def write_viewer(shown: Shown, path: str | Path) -> None:
    """Write the viewer of a registration as one HTML file that needs nothing else and may load nothing.

    It shows fixed, moving (as it lay), registered, carried labels and trust map as three linked slices and in 3-D,
    with a slider each. It is at most `LARGEST_PAGE` bytes: volumes are resampled as coarsely as that needs.

    Parameters
    ----------
    shown
        What to show.
    path
        The HTML file. Its folder must exist.

    Raises
    ------
    DeepRegError
        If ipyniivue, whose script it carries, or jinja2 is not installed.
    OutputError
        If the file cannot be written.
    """
    write_text(path, render_viewer(shown))


def render_viewer(shown: Shown) -> str:
    """Return the HTML text that `write_viewer` writes; raises as that does."""
    script, voxels = niivue_script(), VOXELS
    while True:
        page = _rendered(shown, script, list(_layers(shown, voxels)))
        if len(page.encode("utf-8")) <= LARGEST_PAGE:
            return page
        voxels = int(SMALLER * voxels)


def _rendered(shown: Shown, script: str, layers: list[Layer]) -> str:
    carried = shown.labels
    colours = [colour_of(int(label)) for label in label_numbers(carried)] if carried is not None else []
    return _template().render(
        fixed=base_name(shown.fixed.name),
        moving=base_name(shown.moving.name),
        verdict=shown.verdict,
        recipe=shown.recipe,
        layers=layers,
        options=[{"key": each.key, "kind": each.kind, "opacity": each.opacity} for each in layers],
        colours=[list(colour) for colour in colours],
        largest=_largest(shown),
        script=script,
    )


def _layers(shown: Shown, voxels: int) -> Iterator[Layer]:
    grid = shrunk(shown.fixed.geometry, voxels)
    moving = shrunk(shown.moving.geometry, voxels)
    yield _layer("fixed", "Fixed", greys(shown.fixed, grid), "grey", 1.0)
    yield _layer("moving", "Moving, as it lay", greys(shown.moving, moving), "grey", 0.0)
    yield _layer("registered", "Moving, registered", greys(shown.warped, grid), "grey", 0.5)
    if shown.labels is not None:
        yield _layer("labels", "Carried labels", labels(shown.labels, grid), "labels", 0.4)
    if shown.trust is not None:
        trust = millimetres(shown.trust, grid, _largest(shown))
        yield _layer("trust", "Expected error", trust, "map", 0.0)


def _layer(key: str, title: str, data: bytes, kind: str, opacity: float) -> Layer:
    return Layer(key, title, base64.b64encode(data).decode("ascii"), kind, opacity)


def _largest(shown: Shown) -> float:
    if shown.trust is None:
        return LEAST_MM
    values = shown.trust.array.astype(np.float64)
    inside = values[values > 0]
    return max(LEAST_MM, float(np.percentile(inside, HIGH)) if inside.size else 0.0)


@cache
def _template() -> jinja2.Template:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise DeepRegError(
            "The viewer needs the Python package jinja2, which is not installed.",
            'Install it: pip install "slicer-deepreg[viewer]"',
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE)
