"""The command line, `deepreg`: files in, files out, and an exit code that says how it went."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from DeepRegLib.process_setup import prepare_process

__all__ = ["main"]

INSTALL = 'error: the command line needs {missing}, which is not installed: pip install "slicer-deepreg[cli]"\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `deepreg` and return its exit code.

    Parameters
    ----------
    arguments
        The words after the program's name; None takes them from the command line.

    Returns
    -------
    int
        0 done, 1 the registration failed, 2 bad input or output, 130 interrupted.
    """
    prepare_process()
    try:
        from DeepRegLib.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(INSTALL.format(missing=error.name))
        return 2
    return run(arguments)
