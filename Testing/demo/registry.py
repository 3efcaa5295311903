"""Fetch one file from the package registry that this machine's pip is set up for, and run nothing of what is in it.

`pip download` would do for a wheel. For a source distribution it builds the metadata first, which runs the package's
build backend. So pip is asked only where the file lies, and its own session fetches it: mirrors, credentials, proxies
and certificates are those the person has set up for pip. pip keeps these parts for itself, so they run in a process of
their own, and where a future pip has moved them the error says how to put the file in place by hand.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE, NOT_OFFERED, OTHER_PIP, NO_PIP = "unreachable", "not offered", "other pip", "no pip"


class RegistryError(Exception):
    """The registry did not give the file; `kind` says why, the text what was said."""

    def __init__(self, kind: str, said: str = "") -> None:
        super().__init__(said or kind)
        self.kind = kind


def download(project: str, filename: str, target: Path) -> str:
    """Fetch a file of a project into `target`.

    Parameters
    ----------
    project
        The project's name in the registry.
    filename
        The file's name: a wheel or a source distribution.
    target
        Where to write it; the caller checks it and gives it its final name.

    Returns
    -------
    str
        The SHA-256 that the registry states for the file, empty if it states none.

    Raises
    ------
    RegistryError
        If the registry cannot be reached, does not have the file, or this pip cannot be asked.
    OSError
        If the file cannot be written.
    """
    command = [sys.executable, "-m", "Testing.demo.registry", project, filename, str(target.resolve())]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    try:
        answer = json.loads(process.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = process.stderr.strip().splitlines()
        raise RegistryError(OTHER_PIP, said[-1] if said else f"exit code {process.returncode}") from None
    if answer.get("errno"):
        raise OSError(answer["errno"], answer["said"], str(target))
    if answer.get("error"):
        raise RegistryError(answer["error"], answer["said"])
    return str(answer["sha256"])


def main() -> None:
    """Fetch what the command line names and print one line of JSON about it."""
    parser = argparse.ArgumentParser(description="Fetch one file from the package registry that pip is set up for.")
    for name in ("project", "filename", "target"):
        parser.add_argument(name)
    options = parser.parse_args()
    try:
        answer = {"sha256": _fetch(options.project, options.filename, Path(options.target))}
    except RegistryError as error:
        answer = {"error": error.kind, "said": str(error)}
    except (ImportError, AttributeError, TypeError) as error:
        answer = {"error": OTHER_PIP, "said": str(error)}
    except OSError as error:  # the network's errors are not of this kind: pip's session has its own
        answer = {"errno": error.errno or 5, "said": error.strerror or str(error)}
    print(json.dumps(answer))


def _fetch(project: str, filename: str, target: Path) -> str:
    try:
        from pip._internal.commands import create_command
    except ModuleNotFoundError:
        raise RegistryError(NO_PIP, f"{sys.executable} has no pip") from None

    from pip._vendor.requests import RequestException  # pip has loaded its vendored packages by now

    command = create_command("download")
    options, _ = command.parse_args(["--no-binary" if filename.endswith(".gz") else "--only-binary", project])
    heard = _Listener()
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session, ignore_requires_python=True)
        links = [candidate.link for candidate in finder.find_all_candidates(project)]
        link = next((link for link in links if link.filename == filename), None)
        if link is None:
            if links:
                raise RegistryError(NOT_OFFERED, f"the registry has {project}, but not {filename}")
            absent = not heard.trouble or "404" in heard.trouble
            raise RegistryError(NOT_OFFERED if absent else UNREACHABLE, heard.trouble or f"no {project} there")
        try:
            with session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True) as answer:
                answer.raise_for_status()
                with target.open("wb") as file:
                    for block in answer.iter_content(1 << 20):
                        file.write(block)
        except RequestException as error:
            raise RegistryError(UNREACHABLE, _essence(str(error))) from None
    return (link.hash or "") if link.hash_name == "sha256" else ""


def _essence(text: str) -> str:
    """Return the innermost reason of a chain of network errors, without a password an address may hold."""
    reason = re.sub(r"//[^/@\s]*@", "//", text)
    return reason if len(reason) < 80 else reason.split(": ")[-1].strip("()'\" ")


class _Listener(logging.Handler):
    """Keep what pip says about an index that does not answer; it goes on without a word otherwise."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.trouble = ""
        logger = logging.getLogger("pip._internal.index.collector")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the first complaint about a page."""
        complaint = re.match(r"Could not fetch URL (\S+): (.*) - skipping", record.getMessage(), re.DOTALL)
        if complaint and not self.trouble:
            self.trouble = f"{complaint[1]}: {_essence(complaint[2])}"


if __name__ == "__main__":
    main()
