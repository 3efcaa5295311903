"""What went wrong while `.venv` was made, in one sentence that says what to do.

Like the script that needs this, Testing/environment.py: standard library only, in the syntax of Python 3.7.
"""

from __future__ import annotations

import errno
from pathlib import Path

# What pip's output says, and what to do about it; the first that fits is told.
REMEDIES = (
    (
        ("No space left on device", "not enough space on the disk"),
        "the disk is full: free some space (PyTorch takes several gigabytes where it brings CUDA) and try again",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "the package index's certificate is not trusted: tell pip your organisation's certificate "
        "(`pip config set global.cert FILE`) and try again",
    ),
    (
        (
            "Temporary failure in name resolution",
            "Name or service not known",
            "nodename nor servname provided",
            "getaddrinfo failed",
            "Network is unreachable",
            "Connection refused",
            "NewConnectionError",
            "ConnectTimeoutError",
            "ProxyError",
            "Max retries exceeded",
            "Read timed out",
            "requirement setuptools>=77 (from versions: none)",  # it runs everywhere, so nothing answered
        ),
        "the package index cannot be reached: connect this machine to the network, or tell pip about your proxy or "
        "mirror (`pip config`), and try again",
    ),
    (
        ("ResolutionImpossible", "conflicting dependencies"),
        "the versions in pyproject.toml and constraints.txt contradict each other",
    ),
    (
        ("No matching distribution found",),
        "a package has no build for this system and Python: 64-bit Linux, Windows and Apple silicon are supported",
    ),
    (
        ("Permission denied", "Access is denied", "Read-only file system"),
        "a file cannot be written: check the permissions of this folder, close programs that use .venv, and try again",
    ),
)


class SetupError(Exception):
    """Something the person at the machine has to put right, in one sentence."""


def diagnose(output: list[str]) -> str:
    """Turn the output of a failed installation into one sentence that says what to do."""
    text = "\n".join(output)
    for symptoms, remedy in REMEDIES:
        if any(symptom in text for symptom in symptoms):
            return remedy
    errors = [line.strip() for line in output if line.strip().lower().startswith("error")]
    last = [line.strip() for line in output if line.strip()][-1:]
    said = (errors[:1] or last or ["no reason given"])[0].rstrip(".")
    return f"{said} (more in .venv/install.log)"


def explain(error: OSError, root: Path) -> str:
    """Turn a system error into one sentence that says what to do."""
    place = error.filename or root
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: free some space and try again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place} cannot be written: check its permissions, close programs that use .venv, and try again"
    return f"{error.strerror or error} ({place})"
