"""The worker process: `python -m DeepRegLib.engine.worker`, or this file by its path.

Its standard input and output belong to the protocol; what is printed goes to standard error. It leaves when its input
closes. Nothing but the standard library is imported before the streams are safe.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 10)


def main() -> None:
    """Serve until the client leaves."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"DeepReg needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer, {sys.executable} is {version}.")
    incoming, outgoing = take_over_streams()
    # Ctrl+C in a terminal may reach the worker too; whether to stop is the client's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    make_importable()
    from DeepRegLib.process_setup import prepare_process

    prepare_process()
    from DeepRegLib.engine.server import Channel, Server

    Server(Channel(incoming, outgoing)).run()


def take_over_streams() -> tuple[int, int]:
    """Return descriptors of the real standard input and output; from now on, prints go to standard error.

    Descriptors made by `os.dup` are not inherited, so no grandchild can write into the protocol or hold it open.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a standard error
        os.dup2(nothing, 1)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(incoming, os.O_BINARY)
        msvcrt.setmode(outgoing, os.O_BINARY)
    return incoming, outgoing


def make_importable() -> None:
    """Let the package be found if this file was started by its path."""
    folder = Path(__file__).resolve().parent
    if __package__:
        return
    # Python puts the script's own folder first, where `client` or `protocol` would hide other packages of that name.
    if sys.path and Path(sys.path[0] or ".").resolve() == folder:
        del sys.path[0]
    sys.path.insert(0, str(folder.parent.parent))


if __name__ == "__main__":
    main()
