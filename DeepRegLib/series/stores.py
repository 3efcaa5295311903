"""Where what was found of each frame is kept while a series runs: in memory, or in a folder that outlives a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from DeepRegLib.errors import DeepRegError
from DeepRegLib.files import make_folder, write_text
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.saving import json_text
from DeepRegLib.transforms import Transform, read_transform, write_transform

FOUND, FOUND_JSON = "found.h5", "found.json"
TRANSFORM, INVERSE = "transform.h5", "inverse.h5"
LARGEST_JSON = 1_000_000


@dataclass(frozen=True, eq=False)
class Found:
    """What a registration found of one member.

    Parameters
    ----------
    transform
        Reference points to its points; None where it could not be registered.
    verdict
        How far to trust it.
    seconds
        That it took.
    """

    transform: Transform | None
    verdict: Verdict
    seconds: float


class Store(Protocol):
    """Keeps what is found; a member has the folder name `frame_0003`, for instance."""

    def load(self, name: str, key: str) -> Found | None:
        """Return what was found of a member with the same inputs, which `key` stands for; None if nothing was."""

    def save(self, name: str, key: str, found: Found) -> None:
        """Keep what was found."""

    def finish(self, name: str, transform: Transform, inverse: Transform) -> None:
        """Keep the final transforms of a member."""

    def finished(self, names: Sequence[str]) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """Return the final transforms and inverses of members."""


@dataclass(eq=False)
class MemoryStore:
    """Keeps everything in memory."""

    _found: dict[tuple[str, str], Found] = field(default_factory=dict)
    _finished: dict[str, tuple[Transform, Transform]] = field(default_factory=dict)

    def load(self, name: str, key: str) -> Found | None:
        """As `Store` has it."""
        return self._found.get((name, key))

    def save(self, name: str, key: str, found: Found) -> None:
        """As `Store` has it."""
        self._found[name, key] = found

    def finish(self, name: str, transform: Transform, inverse: Transform) -> None:
        """As `Store` has it."""
        self._finished[name] = transform, inverse

    def finished(self, names: Sequence[str]) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """As `Store` has it."""
        both = [self._finished[name] for name in names]
        return tuple(one for one, _ in both), tuple(other for _, other in both)


@dataclass(frozen=True)
class FolderStore:
    """Keeps everything in a folder a member, so that memory does not grow and a later run goes on."""

    folder: Path

    def load(self, name: str, key: str) -> Found | None:
        """As `Store` has it; what is damaged counts as not there."""
        place = self.folder / name
        table = _table(place / FOUND_JSON)
        if table.get("key") != key:
            return None
        verdict = table.get("verdict", {})
        try:
            level, reasons = verdict["level"], tuple(str(reason) for reason in verdict["reasons"])
            seconds = float(table["seconds"])
            transform = read_transform(place / FOUND) if table["registered"] else None
        except (KeyError, TypeError, ValueError, DeepRegError):
            return None
        return Found(transform, Verdict(level, reasons), seconds) if level in (OK, CHECK, FAILED) else None

    def save(self, name: str, key: str, found: Found) -> None:
        """As `Store` has it; the table comes last, so that where it lies the transform lies too."""
        place = make_folder(self.folder / name)
        (place / FOUND_JSON).unlink(missing_ok=True)
        if found.transform is not None:
            write_transform(found.transform, place / FOUND)
        table = {
            "key": key,
            "registered": found.transform is not None,
            "verdict": {"level": found.verdict.level, "reasons": found.verdict.reasons},
            "seconds": found.seconds,
        }
        write_text(place / FOUND_JSON, json_text(table))

    def finish(self, name: str, transform: Transform, inverse: Transform) -> None:
        """As `Store` has it."""
        place = make_folder(self.folder / name)
        write_transform(transform, place / TRANSFORM)
        write_transform(inverse, place / INVERSE)

    def finished(self, names: Sequence[str]) -> tuple[Sequence[Transform], Sequence[Transform]]:
        """As `Store` has it; they are read when they are asked for."""
        return tuple(SavedTransforms(tuple(self.folder / n / file for n in names)) for file in (TRANSFORM, INVERSE))  # type: ignore[return-value]


@dataclass(frozen=True)
class SavedTransforms(Sequence[Transform]):
    """Transforms in files, read when they are asked for."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        found = self.paths[index]
        return SavedTransforms(found) if isinstance(found, tuple) else read_transform(found)


def _table(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            return {}
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
