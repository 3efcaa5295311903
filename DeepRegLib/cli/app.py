"""The commands under one roof, and how mistakes in calling them are told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from DeepRegLib.cli import (
    about,
    change,
    cohort,
    discordance,
    evaluate,
    improving,
    models,
    phantoms,
    quality,
    registering,
    segmenting,
    series,
    template,
    tracking,
    training,
    transforming,
    translating,
    viewing,
)
from DeepRegLib.cli.session import BAD_INPUT, INTERRUPTED, one_line
from DeepRegLib.version import VERSION

PROGRAM = "deepreg"
# Missing and unknown options alike. Typer exports only this child, and where its parent lies differs between versions.
USAGE_ERRORS: tuple[type[Exception], ...] = (typer.BadParameter.__mro__[1],)

app = typer.Typer(
    name=PROGRAM,
    help="Register medical images: bring a moving scan onto a fixed one, and say how far the result can be trusted.",
    epilog="Exit code: 0 done, 1 the registration failed, 2 bad input or output, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {VERSION}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    del version


for command in (
    registering.register,
    viewing.view,
    improving.improve,
    segmenting.segment,
    translating.translate,
    series.series,
    template.template,
    tracking.track,
    cohort.cohort,
    transforming.apply,
    transforming.invert,
    transforming.compose,
    transforming.jacobian,
    evaluate.evaluate,
    change.change,
    phantoms.phantom,
    quality.quality,
    discordance.discordance,
    training.train,
    training.export,
    about.recipes,
    about.doctor,
):
    app.command()(command)
app.add_typer(models.app, name="models")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; a wrong call is told in one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # an old console may lack a sign; that must not end a run
    try:
        result = app(words or ["--help"], prog_name=PROGRAM, standalone_mode=False)
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
