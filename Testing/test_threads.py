"""How waiting threads behave, which must be said before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from DeepRegLib.threads import WAITING, wait_briefly


def test_what_the_environment_says_is_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    wait_briefly()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["GOMP_SPINCOUNT"] == WAITING["GOMP_SPINCOUNT"]


@pytest.mark.parametrize(
    "start",
    [
        "from DeepRegLib.cli import main; main(['--version'])",
        "from DeepRegLib.engine.worker import main; main()",
    ],
    ids=["command line", "worker"],
)
def test_it_is_said_before_torch_is_loaded(start):
    check = (
        "import builtins, os, sys\n"
        "real = builtins.__import__\n"
        "def watched(name, *rest, **more):\n"
        "    if name == 'torch' and 'GOMP_SPINCOUNT' not in os.environ: os._exit(3)\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = watched\n"
        f"try:\n    exec({start!r})\nfinally:\n    os._exit(0 if 'GOMP_SPINCOUNT' in os.environ else 4)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", check], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
