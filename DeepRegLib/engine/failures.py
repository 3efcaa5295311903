"""What goes wrong between client and worker, in words a user can act on."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from DeepRegLib.engine.protocol import PROTOCOL_VERSION, EngineError, MissingLibraryError, ProtocolError

SSH_FAILED = 255  # the exit code of ssh itself
NOT_FOUND = (126, 127)  # those of a shell for what is no program, or not there
MEMORY_SIGNS = ("out of memory", "bad_alloc", "cannot allocate", "can't allocate", "memoryerror", "oom")
MEMORY_HINT = "It looks like a lack of memory: close other programs, or use the recipe 'fast'."
MISSING_LIBRARY = re.compile(r"No module named '?([\w.]+)'?")


@dataclass(frozen=True)
class Reason:
    """A text to look for in what ssh writes, what it means, and what to do."""

    sign: re.Pattern[str]
    message: str
    hint: str


def _reason(sign: str, message: str, hint: str) -> Reason:
    return Reason(re.compile(sign, re.IGNORECASE), message, hint)


SSH_REASONS = (
    _reason(
        r"host key verification failed|remote host identification has changed",
        "The other computer's identity is unknown to ssh, or has changed.",
        "Log in once in a terminal (ssh and the computer's name), compare its fingerprint and confirm it.",
    ),
    _reason(
        r"permission denied|too many authentication failures|no supported authentication",
        "The other computer refused the login: it accepts none of your ssh keys.",
        "Set up a key (ssh-copy-id and the computer's name) and load it into the agent; no password can be typed here.",
    ),
    _reason(
        r"could not resolve hostname",
        "ssh knows no computer of that name.",
        "Check the name, and that this computer is in the right network.",
    ),
    _reason(
        r"connection refused|timed out|no route to host|network is unreachable",
        "The other computer cannot be reached by ssh.",
        "Check that it is switched on, that its ssh server runs, and that this computer is in the right network.",
    ),
)
CONNECTION_LOST = (
    "The connection to the other computer was lost.",
    "Try again; the engine is started anew. If it recurs, check the network.",
)


def death(code: int, broke_off: bool, lines: Sequence[str]) -> EngineError:
    """Return the error for a worker that ended unasked.

    Parameters
    ----------
    code
        Exit status, negative for a signal.
    broke_off
        Whether it ended in the middle of a message.
    lines
        The last lines it wrote to its standard error.
    """
    text = "\n".join(lines)
    missing = MISSING_LIBRARY.search(lines[-1]) if code > 0 and lines else None
    if code == SSH_FAILED:
        message, hint = _ssh_failure(text)
        return EngineError(_with_last_words(message, lines), hint, text)
    if code in NOT_FOUND:
        return EngineError(
            _with_last_words("There is no such Python where the engine was to run.", lines),
            "Check the path of Python in the engine's settings.",
            text,
        )
    if missing is not None:
        return library_missing(missing.group(1), "the engine's Python", text)
    how = _how_it_ended(code)
    where = ", in the middle of a message" if broke_off else ""
    short = how == "SIGKILL" or code == 137 or any(sign in text.lower() for sign in MEMORY_SIGNS)
    hint = MEMORY_HINT if short else "Try again; the engine is started anew. If it recurs, see the engine's log."
    return EngineError(_with_last_words(f"The engine ended unexpectedly ({how}){where}.", lines), hint, text)


def library_missing(name: str, python: str, details: str = "") -> MissingLibraryError:
    """Return the error for a Python that lacks a library, told by the name it is imported by."""
    root = name.partition(".")[0]
    known = {"torch": "PyTorch", "DeepRegLib": "DeepReg"}
    title = known.get(root, root)
    return MissingLibraryError(
        f"{title} is not installed in {python}.", f"Install {title} there, or choose another Python.", details, root
    )


def not_a_worker(error: ProtocolError) -> EngineError:
    """Return the error for a program that does not speak the protocol."""
    return EngineError(
        f"The engine sent something that is no message. {error.message}",
        "Check the engine's command, and that nothing it starts prints to standard output (shell start-up files).",
    )


def other_version(hello: Mapping[str, Any]) -> EngineError:
    """Return the error for a worker that speaks another version of the protocol."""
    versions = hello.get("versions")
    release = versions.get("deepreg", "unknown") if isinstance(versions, Mapping) else "unknown"
    return EngineError(
        f"The engine speaks protocol {str(hello.get('protocol'))[:20]}, this DeepReg speaks {PROTOCOL_VERSION} "
        f"(the engine's DeepReg is {release}).",
        "Install the same version of DeepReg on both sides.",
    )


def silence(what: str, seconds: float) -> EngineError:
    """Return the error for a worker that was silent for too long."""
    return EngineError(
        f"The engine {what} within {seconds:g} seconds and was stopped.",
        "Try again; if it recurs, see the engine's log.",
    )


def _ssh_failure(text: str) -> tuple[str, str]:
    for reason in SSH_REASONS:
        if reason.sign.search(text):
            return reason.message, reason.hint
    return CONNECTION_LOST


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return names.get(-code, f"signal {-code}")


def _with_last_words(message: str, lines: Sequence[str]) -> str:
    return f"{message} Its last words: {lines[-1][:200]}" if lines else message
