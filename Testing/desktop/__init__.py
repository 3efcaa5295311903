"""3D Slicer's scripted modules without the application: the real MRML scene, and Qt's widgets on PySide6.

    from Testing.desktop import boot

    desktop = boot()
    loaded = desktop.load_module(Path("DeepReg/DeepReg.py"))
    slicer.util.loadVolume("fixed.nii.gz")
    desktop.choose(loaded.widget.ui.recipe, "Brain")
    desktop.click(loaded.widget.ui.registerButton)
    assert desktop.wait_until(lambda: loaded.widget.ui.progress.value == 100, seconds=60)
    desktop.grab(loaded.panel, Path("panel.png"), size=(420, 800))

`slicer`, `vtk` and `slicer.util` are the real ones of the `slicer-core` wheel. `qt`, `ctk`, the qMRML widgets and
`slicer.app` stand in for C++; what has no stand-in raises an error. `slicer.ScriptedLoadableModule`,
`slicer.parameterNodeWrapper` and `slicer.i18n` are stand-ins too, or Slicer's own where SLICER_PYTHON_DIR says so.

This package imports neither slicer nor Qt by itself, so that tests can skip where they are not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from Testing.desktop.running import Desktop


def boot() -> Desktop:
    """Start the harness in this process, or return a fresh desktop on the one that runs."""
    from Testing.desktop.running import start

    return start()
