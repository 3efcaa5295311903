"""Slicer's `PythonSlicer`: a launcher that runs the real Python as a child, and lives as long as that does.

A launcher that is killed leaves its child behind, which then hears nothing but the end of its input.
"""

from __future__ import annotations

import sys
from pathlib import Path

LAUNCHER = f"""#!{sys.executable}
import subprocess, sys
code = subprocess.call([{sys.executable!r}, *sys.argv[1:]])
sys.exit(code if code >= 0 else 128 - code)
"""


def write_launcher(home: Path) -> Path:
    """Write the launcher where Slicer has it below its folder, and return its path."""
    launcher = home / "bin" / "PythonSlicer"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(LAUNCHER, encoding="utf-8")
    launcher.chmod(0o755)
    return launcher
