"""Cases by a rule over folders: patterns for the scans, paired by what their stars match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.cohort.cases import Case, Problem, name_from
from DeepRegLib.cohort.columns import COMMANDS
from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.errors import InputError

PARTS = {"*": "([^/]*)", "?": "([^/])"}


@dataclass(frozen=True)
class Found:
    """A file that a pattern matches: what the stars in its folders and in its name stand for."""

    path: str
    folders: tuple[str, ...]
    file: tuple[str, ...]


def cases_by_rule(command: str, patterns: Sequence[str], folder: Path, defaults: dict[str, str]) -> Manifest:
    """Return the cases that patterns describe.

    Parameters
    ----------
    command
        One of `COMMANDS`.
    patterns
        One a scan of the command, such as ``sub-*/ses-1/anat/*T1w.nii.gz``, relative to `folder`. `*` and `?` stay
        within one part of a path. Two scans are a pair if the stars in their folders stand for the same; where there
        are none, if those in their names do. Stars in names decide where several files of the folders fit.
    folder
        Where the patterns begin.
    defaults
        Values of the other columns for every case.

    Raises
    ------
    InputError
        If a pattern matches nothing.
    """
    scans = COMMANDS[command].scans
    found = [_matches(pattern, folder) for pattern in patterns]
    cases: list[Case] = []
    problems: list[Problem] = []
    for number, first in enumerate(found[0], start=1):
        paths = [first.path]
        for pattern, others in zip(patterns[1:], found[1:], strict=True):
            partners = _partners(first, others)
            if len(partners) != 1:
                several = ", ".join(partner.path for partner in partners[:3])
                reason = f"several files of {pattern} fit: {several}" if partners else f"no file of {pattern} fits"
                problems.append(Problem(number, "", f"{first.path} has no partner: {reason}. Write a table of cases."))
                break
            paths.append(partners[0].path)
        else:
            values = defaults | {s: str(folder / p) for s, p in zip(scans, paths, strict=True)}
            cases.append(Case(_name(first, paths), number, command, values, {}))
    return Manifest(command, tuple(cases), tuple(problems))


def _name(first: Found, paths: Sequence[str]) -> str:
    key = "_".join(part for part in (first.folders or first.file) if part)
    return name_from(key) if key else name_from(*paths)


def _matches(pattern: str, folder: Path) -> list[Found]:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise InputError(f"The pattern {pattern} leaves its folder.", "Begin it below the current folder.")
    above, _, name = pattern.rpartition("/")
    expression = re.compile(_expression(pattern))
    in_folders = sum(above.count(sign) for sign in PARTS)
    found = []
    try:
        paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"The pattern {pattern} cannot be used: {error}.", "Use * and ? only.") from error
    for path in paths:
        match = expression.fullmatch(path)
        if match is not None:
            found.append(Found(path, match.groups()[:in_folders], match.groups()[in_folders:]))
    if not found:
        raise InputError(f"No file matches {pattern} in {folder}.", f"Check the pattern; {name or pattern} is its end.")
    return found


def _expression(pattern: str) -> str:
    return "".join(PARTS.get(sign, re.escape(sign)) for sign in pattern)


def _partners(first: Found, others: Sequence[Found]) -> list[Found]:
    """Return the files that fit best: more than one where the patterns leave it open."""
    if not first.folders:
        return [other for other in others if other.file == first.file]
    fitting = [other for other in others if other.folders == first.folders]
    agreed = [sum(a == b for a, b in zip(first.file, other.file, strict=False)) for other in fitting]
    return [other for other, count in zip(fitting, agreed, strict=True) if count == max(agreed)]
