"""The test that Slicer runs for the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[2]
# In a process of its own: it closes the scene for good, slice views included.
RUN = """
from pathlib import Path
from Testing.desktop import boot
desktop = boot()
loaded = desktop.load_module(Path("DeepReg/DeepReg.py"))
loaded.python.DeepRegTest().runTest()
desktop.process_events()
print("passed")
"""


@pytest.mark.slow
def test_slicer_s_test_of_the_module_passes() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", RUN], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split()[-1] == "passed"
