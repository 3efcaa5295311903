"""Where `slicer.ScriptedLoadableModule`, `slicer.parameterNodeWrapper` and `slicer.i18n` come from.

The wheel has none of them. Where the environment variable SLICER_PYTHON_DIR names the folder Base/Python/slicer of a
checkout of Slicer they are Slicer's own, otherwise the stand-ins of this package: a module must work with both.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import slicer

VARIABLE = "SLICER_PYTHON_DIR"


def install() -> None:
    """Make the three modules importable."""
    folder = os.environ.get(VARIABLE)
    if folder:
        use_slicers_own(Path(folder))
    else:
        use_stand_ins()


def use_slicers_own(folder: Path) -> None:
    """Let Python look for further parts of the package `slicer` in a checkout."""
    if not (folder / "ScriptedLoadableModule.py").is_file():
        raise FileNotFoundError(f"{VARIABLE} is {folder}, where there is no ScriptedLoadableModule.py")
    if str(folder) not in slicer.__path__:
        slicer.__path__.append(str(folder))


def use_stand_ins() -> None:
    """Put this package's stand-ins under Slicer's names."""
    from Testing.desktop import parameters, scripted_module

    for name, module in {
        "ScriptedLoadableModule": scripted_module,
        "parameterNodeWrapper": parameters,
        "i18n": translations(),
    }.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def translations() -> types.ModuleType:
    """Return a module whose `tr` and `translate` return the text as it is."""

    def tr(text: str) -> str:
        """Return the text."""
        return text

    def translate(context: str, text: str) -> str:
        """Return the text."""
        return text

    module = types.ModuleType("slicer.i18n", "Texts in the language of the application, which is English here.")
    module.tr, module.translate = tr, translate
    return module
