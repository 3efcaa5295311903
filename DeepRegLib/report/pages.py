"""What the pages of reports have in common: the template, the banner of the verdict, pictures as parts of the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from DeepRegLib.errors import DeepRegError
from DeepRegLib.result import CHECK, FAILED, OK, Verdict

if TYPE_CHECKING:
    import jinja2

Banner = tuple[str, str, str, str]
BANNERS: Mapping[str, Banner] = MappingProxyType(
    {
        OK: ("ok", "✓", "OK", "No sign of failure was found. Compare the pictures before you rely on it."),
        CHECK: ("check", "!", "CHECK", "Something is unusual. Look at the pictures before you use this result."),
        FAILED: ("failed", "✗", "FAILED", "Do not use this result."),
    }
)


@dataclass(frozen=True)
class Picture:
    """A figure of the report: a heading, how to read it, and its data URI."""

    title: str
    caption: str
    uri: str


def banner_of(verdict: Verdict) -> Banner:
    """Return the class, sign, word and sentence that a page opens with."""
    return BANNERS.get(verdict.level, BANNERS[CHECK])


def data_uri(data: bytes, kind: str = "jpeg") -> str:
    """Return a picture as a part of the page."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def page_template(name: str) -> jinja2.Template:
    """Return a page, compiled once a process.

    Parameters
    ----------
    name
        Of a file beside this one.

    Raises
    ------
    DeepRegError
        If jinja2 or Pillow is not installed.
    """
    try:
        import jinja2  # noqa: F401  # the page may have been compiled before
        import PIL.Image  # noqa: F401  # the figures need it

        return _compiled(name)
    except ModuleNotFoundError as error:
        package = "Pillow" if (error.name or "").startswith("PIL") else error.name
        raise DeepRegError(
            f"The report needs the Python package {package}, which is not installed.",
            'Install it: pip install "slicer-deepreg[report]"',
        ) from error


@cache
def _compiled(name: str) -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)
