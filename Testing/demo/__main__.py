"""`make demo`: an atlas registered to a person's head, its tissues carried over, and a report to look at."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from Testing.demo.data import DemoDataError, demo_pair

OUTPUT = Path("demo")


def main(arguments: list[str] | None = None) -> int:
    """Fetch the pair once, then run `deepreg register` on it as a user would."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results (default: demo)")
    parser.add_argument("--recipe", default="auto")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        pair = demo_pair()
    except DemoDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    logging.getLogger().setLevel(logging.WARNING)
    sys.stderr.write(f"Registering the atlas {pair.moving.name} to the head {pair.fixed.name}.\n")
    command = [
        "register",
        os.fspath(pair.fixed),
        os.fspath(pair.moving),
        "--moving-labels",
        os.fspath(pair.moving_labels),
    ]
    command += ["--output", os.fspath(options.output), "--recipe", options.recipe, "--overwrite"]
    from DeepRegLib.cli import main as deepreg

    code = deepreg(command)
    if code == 0:
        sys.stderr.write(f"Open {options.output / 'report.html'} in a browser.\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
