"""Where what was found of each frame is kept while a series runs: in memory, or in a folder that outlives a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from DeepRegLib.errors import DeepRegError
from DeepRegLib.files import make_folder, write_text
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.result import CHECK, FAILED, OK, StartMeasures, Verdict
from DeepRegLib.saving import json_text
from DeepRegLib.transforms import Transform, read_transform, write_transform

FOUND, FOUND_JSON = "found.h5", "found.json"
TRANSFORM, INVERSE = "transform.h5", "inverse.h5"
LARGEST_JSON = 1_000_000
_START = tuple(each.name for each in fields(StartMeasures))


@dataclass(frozen=True, eq=False)
class Found:
    """What a registration found of one member.

    Parameters
    ----------
    kept
        Reference points to its points, or the file they are read from when they are needed; None where it could not be
        registered.
    verdict
        How far to trust it.
    seconds
        That it took.
    start
        How its pose compares with others; None where that was taken over from another member, or nothing was found.
    structure
        How far edges agree, 0 to 1; None where nothing was found.
    """

    kept: Transform | Path | None
    verdict: Verdict
    seconds: float
    start: StartMeasures | None = None
    structure: float | None = None

    @property
    def registered(self) -> bool:
        """Whether there is a transform."""
        return self.kept is not None

    @property
    def transform(self) -> Transform:
        """Reference points to its points; only of one that is `registered`."""
        assert self.kept is not None  # noqa: S101  # for mypy: the caller has looked
        return read_transform(self.kept) if isinstance(self.kept, Path) else self.kept


class Store(Protocol):
    """Keeps what is found; a member has the folder name `frame_0003`, for instance."""

    def load(self, name: str, key: str) -> Found | None:
        """Return what was found of a member with the same inputs, which `key` stands for; None if nothing was."""

    def save(self, name: str, key: str, found: Found) -> Found:
        """Keep what was found, and return it as it is kept."""

    def finish(self, name: str, transform: Transform, inverse: Transform) -> None:
        """Keep the final transforms of a member."""

    def finished(self, names: Sequence[str]) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """Return the final transforms and inverses of members."""


@dataclass(eq=False)
class MemoryStore:
    """Keeps everything in memory; `found` holds what was found by name and key."""

    found: dict[tuple[str, str], Found] = field(default_factory=dict)
    _finished: dict[str, tuple[Transform, Transform]] = field(default_factory=dict)

    def load(self, name: str, key: str) -> Found | None:
        """As `Store` has it."""
        return self.found.get((name, key))

    def save(self, name: str, key: str, found: Found) -> Found:
        """As `Store` has it."""
        self.found[name, key] = found
        return found

    def finish(self, name: str, transform: Transform, inverse: Transform) -> None:
        """As `Store` has it."""
        self._finished[name] = transform, inverse

    def finished(self, names: Sequence[str]) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """As `Store` has it."""
        both = [self._finished[name] for name in names]
        return tuple(one for one, _ in both), tuple(other for _, other in both)


@dataclass(frozen=True)
class FolderStore:
    """Keeps everything in a folder a member, so that memory does not grow and a later run goes on.

    Parameters
    ----------
    folder
        In which a folder a member is made.
    finals
        In which those of the final transforms are, where that is another one.
    """

    folder: Path
    finals: Path | None = None

    def load(self, name: str, key: str) -> Found | None:
        """As `Store` has it; what is damaged counts as not there."""
        place = self.folder / name
        table = json_table(place / FOUND_JSON, LARGEST_JSON) or {}
        if table.get("key") != key:
            return None
        path = place / FOUND if table.get("registered") else None
        try:
            found = _found_of(table, path)
            if path is not None:
                read_transform(path)
        except (KeyError, TypeError, ValueError, OverflowError, DeepRegError):
            return None
        return found if found.verdict.level in (OK, CHECK, FAILED) else None

    def save(self, name: str, key: str, found: Found) -> Found:
        """As `Store` has it; the table comes last, so that where it lies the transform lies too."""
        place = make_folder(self.folder / name)
        (place / FOUND_JSON).unlink(missing_ok=True)
        path = None
        if found.registered:
            path = place / FOUND
            write_transform(found.transform, path)
        table = {
            "key": key,
            "registered": found.registered,
            "verdict": {"level": found.verdict.level, "reasons": found.verdict.reasons},
            "seconds": found.seconds,
            "start": None if found.start is None else asdict(found.start),
            "structure": found.structure,
        }
        write_text(place / FOUND_JSON, json_text(table))
        return replace(found, kept=path)

    def finish(self, name: str, transform: Transform, inverse: Transform) -> None:
        """As `Store` has it."""
        place = make_folder((self.finals or self.folder) / name)
        write_transform(transform, place / TRANSFORM)
        write_transform(inverse, place / INVERSE)

    def finished(self, names: Sequence[str]) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """As `Store` has it; they are read when they are asked for."""
        home = self.finals or self.folder
        return tuple(SavedTransforms(tuple(home / n / file for n in names)) for file in (TRANSFORM, INVERSE))  # type: ignore[return-value]


@dataclass(frozen=True)
class SavedTransforms(Sequence[Transform]):
    """Transforms in files, read when they are asked for."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        found = self.paths[index]
        return SavedTransforms(found) if isinstance(found, tuple) else read_transform(found)


def _found_of(table: dict[str, Any], path: Path | None) -> Found:
    level, reasons = table["verdict"]["level"], tuple(str(reason) for reason in table["verdict"]["reasons"])
    start, structure = table["start"], table["structure"]
    measures = None if start is None else StartMeasures(**{key: _number(start[key]) for key in _START})
    return Found(path, Verdict(level, reasons), float(table["seconds"]), measures, _number(structure))


def _number(value: Any) -> Any:
    return None if value is None else float(value)
