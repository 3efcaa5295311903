"""`make demo`: an atlas registered to a person's head, its tissues carried over; a scene and a report to look at."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path

from DeepRegLib.errors import DeepRegError
from Testing.demo.data import DemoDataError, DemoPair, demo_pair

OUTPUT = Path("demo")
DESKTOP = ("slicer", "PySide6.QtWidgets")  # no wheels for some systems; and Qt needs libraries of the system


def main(arguments: list[str] | None = None) -> int:
    """Fetch the pair once, then register it with the panel, or, without Slicer's wheel, on the command line."""
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
    missing = why_no_desktop()
    if not missing:
        return in_scene(pair, options.output, options.recipe)
    sys.stderr.write(f"Without the panel, on the command line, because {missing}.\n")
    return on_command_line(pair, options.output, options.recipe)


def why_no_desktop() -> str:
    """Return why the panel cannot run on this system, or an empty text."""
    try:
        for name in DESKTOP:
            importlib.import_module(name)
    except ImportError as error:
        return f"Slicer's scene or Qt cannot be loaded ({error})"
    return ""


def in_scene(pair: DemoPair, output: Path, recipe: str) -> int:
    """Drive the panel, and leave the result's files beside the scene."""
    from Testing.demo.in_scene import DemoFailedError, run_in_scene

    output.mkdir(parents=True, exist_ok=True)
    try:
        registration = run_in_scene(pair, output, recipe)
        registration.save(output, overwrite=True)
    except (DeepRegError, DemoFailedError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    verdict = registration.verdict
    sys.stderr.write(f"verdict: {verdict.level}\n" + "".join(f"  {reason}\n" for reason in verdict.reasons))
    sys.stderr.write(
        f"Open {output / 'scene.mrb'} in 3D Slicer, {output / 'panel.png'} and {output / 'views.png'} to see what the "
        f"panel shows, and {output / 'report.html'} in a browser.\n"
    )
    return 0


def on_command_line(pair: DemoPair, output: Path, recipe: str) -> int:
    """Run `deepreg register`."""
    from DeepRegLib.cli import main as deepreg

    files = [os.fspath(path) for path in (pair.fixed, pair.moving)]
    labels = ["--moving-labels", os.fspath(pair.moving_labels)]
    code = deepreg(["register", *files, *labels, "--output", os.fspath(output), "--recipe", recipe, "--overwrite"])
    if code == 0:
        sys.stderr.write(f"Open {output / 'report.html'} in a browser.\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
