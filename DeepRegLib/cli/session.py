"""What every command shares: where it prints, how it tells an error, and its exit codes."""

from __future__ import annotations

import logging
import traceback
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from DeepRegLib.errors import CancelledError, DeepRegError, InputError, OutputError, RegistrationError, TrainingError

# What the system says where a library finds no room in memory.
NOT_LOADED = ("failed to map segment", "annot allocate memory")
# Control and format characters (those that turn the direction of writing among them), halves of characters.
COMMANDS = ("Cc", "Cf", "Cs")
DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output, and nothing else.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more, and show where an error comes from.")]


@dataclass(frozen=True)
class Session:
    """One run of one command.

    Parameters
    ----------
    json_output
        Whether standard output is for a program: JSON and nothing else.
    verbose
        Whether everything there is to know is told.
    out, err
        Standard output and standard error.
    written
        What this run has written.
    """

    json_output: bool
    verbose: bool
    out: Console = field(default_factory=lambda: Console(highlight=False))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    written: list[Path] = field(default_factory=list)

    def wrote(self, path: Path) -> None:
        """Note what is written, for the message of a run that is interrupted after that."""
        self.written.append(path)

    def say(self, text: str | Text) -> None:
        """Print a line for a person; with `--json` there is none."""
        if not self.json_output:
            self.out.print(_as_text(text), soft_wrap=True)

    def note(self, text: str | Text) -> None:
        """Print a line on standard error, where it disturbs no program; with `--json` there is none."""
        if not self.json_output:
            self.err.print(_as_text(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning on standard error."""
        self.err.print(Text.assemble(("warning: ", "yellow"), one_line(text)), soft_wrap=True)

    def fail(self, text: str) -> None:
        """Print an error on standard error, in one line."""
        self.err.print(Text.assemble(("error: ", "bold red"), one_line(text)), soft_wrap=True)

    def emit(self, table: dict[str, Any]) -> None:
        """Print a table as JSON if JSON was asked for; NaN and infinities as null."""
        if self.json_output:
            from DeepRegLib.saving import json_text

            self.emit_text(json_text(table))

    def emit_text(self, text: str) -> None:
        """Print JSON text as it is, if JSON was asked for."""
        if self.json_output:
            self.out.file.write(text.rstrip("\n") + "\n")


@contextmanager
def session(json_output: bool, verbose: bool) -> Iterator[Session]:
    """Run the body of a command: every exception becomes one line on standard error and an exit code.

    Raises
    ------
    typer.Exit
        With the exit code, if the body raised anything.
    """
    screen = Session(json_output, verbose)
    with _without_library_messages(screen):
        try:
            yield screen
        except typer.Exit:
            raise
        except (KeyboardInterrupt, CancelledError):
            done = f"{', '.join(map(str, screen.written))} is written" if screen.written else "nothing was written"
            screen.fail(f"Interrupted; {done}.")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader, `head` perhaps, has had enough
            raise typer.Exit(FAILED) from None
        except Exception as error:  # the end of the line: what nobody foresaw is told here
            screen.fail(_explanation(error, screen.verbose))
            if screen.verbose:
                screen.err.print(Text(printable(traceback.format_exc().rstrip())), soft_wrap=True)
            raise typer.Exit(_exit_code(error)) from error


def one_line(text: str) -> str:
    """Return a text with every run of white space, line breaks among it, as one space."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return a text with a question mark for each character that would command a terminal or cannot be written.

    Names and descriptions come from files that others made; an escape code in one could hide or forge a line.
    """
    return "".join("?" if unicodedata.category(c) in COMMANDS and c not in "\n\t" else c for c in text)


def check_output_file(output: Path, suffixes: tuple[str, ...], *inputs: Path | None) -> None:
    """Make sure, before anything is computed, that a result can go into a file.

    Raises
    ------
    InputError
        If the name ends in none of the suffixes, or the file is one of the inputs, or of a DICOM folder among them.
    OutputError
        If its folder does not exist, it cannot have that name, or a file of another image lies where its voxels go.
    """
    from DeepRegLib.files import check_name
    from DeepRegLib.files.output_folder import is_input_of
    from DeepRegLib.image import check_mhd

    if not output.name.lower().endswith(suffixes):
        raise InputError(f"{output} cannot be written by that name.", f"End it in one of {', '.join(suffixes)}.")
    if output.is_dir():
        raise OutputError(f"{output} cannot be written: it is a folder.", "Choose another file name.")
    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output} cannot be written: its folder does not exist.", "Create the folder first.")
    check_name(output)
    if any(path is not None and is_input_of(output, path) for path in inputs):
        raise InputError(f"{output} is one of the inputs.", "Choose another output file.")
    check_mhd(output)


def _as_text(text: str | Text) -> Text:
    if isinstance(text, Text):
        text.plain = printable(text.plain)  # as many characters, so that its styles stay where they are
        return text
    return Text(printable(text))  # no markup: a file name may hold square brackets


def _exit_code(error: Exception) -> int:
    # Where no memory is left nothing can be imported.
    if not isinstance(error, DeepRegError) or isinstance(error, RegistrationError | TrainingError):
        return FAILED
    from DeepRegLib.engine.protocol import EngineError

    return FAILED if isinstance(error, EngineError) else BAD_INPUT


def _explanation(error: Exception, verbose: bool) -> str:
    if isinstance(error, DeepRegError):
        return str(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in NOT_LOADED):
        return "Out of memory. Close other programs, or resample the images to larger voxels."
    advice = "" if verbose else " Run again with --verbose and report it."
    reason = one_line(str(error))[:300]
    return f"Unexpected {type(error).__name__}{': ' + reason if reason else ''}.{advice}"


class _Handler(logging.Handler):
    """Shows the library's log as lines of the session."""

    def __init__(self, screen: Session) -> None:
        super().__init__(logging.INFO if screen.verbose else logging.WARNING)
        self._screen = screen
        self._warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            if record.getMessage() not in self._warned:  # of a file that is read twice, for instance
                self._warned.add(record.getMessage())
                self._screen.warn(record.getMessage())
        else:
            self._screen.err.print(Text(printable(self.format(record)), style="dim"), soft_wrap=True)


@contextmanager
def _without_library_messages(screen: Session) -> Iterator[None]:
    """Show the library's log, and keep the chatter of others off the screen unless it was asked for."""
    logger = logging.getLogger("DeepRegLib")
    handler, level = _Handler(screen), logger.level
    logger.addHandler(handler)
    logger.setLevel(handler.level)
    try:
        with warnings.catch_warnings():
            if not screen.verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def silence_itk(screen: Session) -> None:
    """Silence ITK, which writes warnings past Python straight to standard error, unless `--verbose` was given."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(screen.verbose)


@contextmanager
def reading(screen: Session) -> Iterator[None]:
    """Keep ITK's warnings about a file off the screen, unless `--verbose` was given; the library's own are shown."""
    silence_itk(screen)
    yield
