"""Tables of cases over tiny scans, and a process that runs them in no time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, write_image

ROOT = Path(__file__).resolve().parents[2]
QUICK = [sys.executable, str(ROOT / "Testing" / "cohort" / "serving.py")]
Table = Callable[..., Path]


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of a tiny scan."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_image(Image(np.zeros((5, 4, 3), dtype=np.int16), Geometry((3, 4, 5))), path)
    return path.read_bytes()


@pytest.fixture
def table(tmp_path: Path, scan: bytes) -> Table:
    """Write a table with one case a name; each has a fixed scan of that name, and all the same moving one."""

    def write(*names: str, header: str = "case,fixed,moving", more: str = "") -> Path:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        (folder / "moving.nii.gz").write_bytes(scan)
        rows = [header]
        for name in names:
            if not (folder / f"{name}.nii.gz").exists():
                (folder / f"{name}.nii.gz").write_bytes(scan)
            quoted = '"' + name.replace('"', '""') + '"'
            rows.append(f'{quoted},{quoted[:-1]}.nii.gz",moving.nii.gz{more}')
        path = folder / "table.csv"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have cases run by `Testing/cohort/serving.py`, and return its command."""
    monkeypatch.setattr("DeepRegLib.cohort.child.default_command", lambda: QUICK)
    return QUICK
