"""The commands under one roof, and how mistakes in calling them are told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from DeepRegLib.cli.session import BAD_INPUT, INTERRUPTED, one_line
from DeepRegLib.version import VERSION

PROGRAM = "deepreg"
# Missing and unknown options alike. Typer exports only this child, and where its parent lies differs between versions.
USAGE_ERRORS: tuple[type[Exception], ...] = (typer.BadParameter.__mro__[1],)

# Each command and the module that holds it, in the order of the help. A run imports only the module of its command:
# all of them together take a quarter of a second.
COMMANDS = {
    "register": "registering",
    "view": "viewing",
    "improve": "improving",
    "segment": "segmenting",
    "translate": "translating",
    "series": "series",
    "template": "template",
    "track": "tracking",
    "cohort": "cohort",
    "apply": "transforming",
    "invert": "transforming",
    "compose": "transforming",
    "jacobian": "transforming",
    "evaluate": "evaluate",
    "change": "change",
    "phantom": "phantoms",
    "quality": "quality",
    "discordance": "discordance",
    "train": "training",
    "export": "training",
    "recipes": "about",
    "doctor": "about",
    "models": "models",
}
GROUPS = ("models",)  # commands that have commands of their own


def program(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the program with the commands of these names; by default with all."""
    app = typer.Typer(
        name=PROGRAM,
        help="Register medical images: bring a moving scan onto a fixed one, and say how far the result can be "
        "trusted.",
        epilog="Exit code: 0 done, 1 the registration failed, 2 bad input or output, 130 interrupted.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    for name in names:
        module = import_module(f"DeepRegLib.cli.{COMMANDS[name]}")
        if name in GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {VERSION}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


def _names(words: Sequence[str]) -> Sequence[str]:
    """Return the commands that a call with these words needs: its own, or all, where they are to be told."""
    first = words[0] if words else "--help"
    if first == "--version":
        return ("recipes",)  # typer has no program without a command
    return (first,) if first in COMMANDS else tuple(COMMANDS)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; a wrong call is told in one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # an old console may lack a sign; that must not end a run
    try:
        result = program(_names(words))(words or ["--help"], prog_name=PROGRAM, standalone_mode=False)
    except USAGE_ERRORS as error:
        sys.stderr.write(f"error: {_usage_message(error)}\n")
        return BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _usage_message(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else PROGRAM
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return f"{one_line(message)} See {command} --help."
