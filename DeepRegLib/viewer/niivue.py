"""NiiVue's script out of an installed package (the wheel ipyniivue, BSD 2-clause), as a page may carry it."""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from DeepRegLib.errors import DeepRegError

PACKAGE = "ipyniivue"
SCRIPT = "static/widget.js"
INSTALL = 'Install it: pip install "slicer-deepreg[viewer]"'
# The package's module exports a widget of notebooks; this is where it makes the viewer inside that widget.
MAKES_VIEWER = re.compile(r'"Creating new Niivue instance"\).{0,200}?=new ([A-Za-z_$][\w$]*)\(')
EXPORTS = re.compile(r"export\s*\{[^{}]*\};?\s*$")


def viewer_is_installed() -> bool:
    """Tell whether the package with NiiVue's script is installed; nothing is imported."""
    return _script_path() is not None


@cache
def niivue_script() -> str:
    """Return a module that exports ``Niivue``, compressed by gzip, in base 64.

    Raises
    ------
    DeepRegError
        If the package is not installed, or its script is not built as it was in the versions known here.
    """
    path = _script_path()
    if path is None:
        raise DeepRegError(f"The viewer needs the Python package {PACKAGE}, which is not installed.", INSTALL)
    module = exporting_viewer(path.read_text(encoding="utf-8"))
    return base64.b64encode(gzip.compress(module.encode("utf-8"), compresslevel=9, mtime=0)).decode("ascii")


def exporting_viewer(module: str) -> str:
    """Return the widget's module with its viewer exported as ``Niivue`` in place of the widget.

    Raises
    ------
    DeepRegError
        If the viewer's class is not found in it.
    """
    made = MAKES_VIEWER.search(module)
    exported = EXPORTS.search(module)
    if made is None or exported is None:
        raise DeepRegError(
            f"NiiVue was not found in {PACKAGE} {_version()}, which is built in another way than the versions known.",
            INSTALL,
        )
    return f"{module[: exported.start()]}export{{{made.group(1)} as Niivue}};\n"


def _script_path() -> Path | None:
    found = find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        path = Path(folder) / SCRIPT
        if path.is_file():
            return path
    return None


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "of no version"
