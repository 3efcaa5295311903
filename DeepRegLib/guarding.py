"""What every reader of a foreign file is wrapped in: whatever goes wrong ends as one sentence about that file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from DeepRegLib.errors import CancelledError, DeepRegError, InputError
from DeepRegLib.naming import shown

LONGEST_MESSAGE = 600
COPY_AGAIN = "Copy or export the file again."


@contextmanager
def guarded(source: Path, advice: str = COPY_AGAIN, kind: type[InputError] = InputError) -> Iterator[None]:
    """Turn everything that the body raises into an `InputError` that names the file, in one line.

    A `DeepRegError` keeps its kind and its words, cut to a line; what is raised by accident (a number that is none, a
    header nested a thousand times) is told as a damaged file.

    Parameters
    ----------
    source
        The file or folder that is read.
    advice
        What to do about a damaged file.
    kind
        What is raised: a child of `InputError`.

    Raises
    ------
    InputError
        If the file cannot be opened, or the body failed.
    """
    name = shown(source)
    try:
        yield
    except CancelledError:
        raise
    except DeepRegError as error:
        message, hint = in_one_line(error.message), in_one_line(error.hint)
        if (message, hint) == (error.message, error.hint):
            raise
        raise type(error)(message, hint) from error
    except PermissionError as error:
        raise kind(f"{name} cannot be opened: no permission.", "Change its permissions.") from error
    except FileNotFoundError as error:
        raise kind(f"{name} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise kind(f"{name} is a folder.", "Give a file.") from error
    except (EOFError, UnicodeError) as error:
        raise kind(f"{name} cannot be read: it is damaged or of another kind.", advice) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise kind(f"{name} cannot be opened: {reason}.", "Check the path.") from error
    except MemoryError as error:
        raise kind(f"{name} does not fit into memory.", "Close other programs or resample the image first.") from error
    except RecursionError as error:
        raise kind(f"{name} cannot be read: it is nested too deeply.", advice) from error
    except Exception as error:  # a reader's last line of defence: what nobody foresaw in a stranger's file
        reason = in_one_line(str(error), 120) or "no reason given"
        raise kind(f"{name} is damaged: {reason} ({type(error).__name__}).", advice) from error


def is_there(path: Path) -> bool:
    """Tell whether something lies at a path; a text that can be none, longer than the system takes, leads nowhere."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def in_one_line(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text as one line of printable characters, cut where it is longer than a line can be."""
    line = shown(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[: longest - 4]} ..."
