"""A MONAI bundle, as a folder or a zip file: its configuration, its weights and what its classes are called.

Nothing a bundle brings is executed: see `monai_config` for its configuration; weights are safetensors, or read without
unpickling; of a TorchScript file the weights are taken and the program is left (docs/decisions/monai-bundles.md).
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DeepRegLib.errors import ModelError
from DeepRegLib.guarding import guarded, in_one_line, is_there
from DeepRegLib.models.monai_config import MonaiConfig, monai_config
from DeepRegLib.segments import Segment, colour_of

if TYPE_CHECKING:
    from torch import Tensor

INFERENCE, METADATA = "configs/inference.json", "configs/metadata.json"
# Whichever is there first is read.
WEIGHTS = ("models/model.safetensors", "models/model.pt", "models/model.ts")
CHANNEL = re.compile("[1-9][0-9]{0,2}")
LARGEST_CONFIG, LARGEST_WEIGHTS = 4 << 20, 8 << 30
WANTED = f"Give the folder or zip file of a MONAI bundle, with {INFERENCE} and models/model.pt or the like."


@dataclass(frozen=True, eq=False)
class MonaiBundle:
    """What of a MONAI bundle segments a scan.

    Parameters
    ----------
    name, version
        As its metadata say.
    config
        Its inference.
    segments
        Its classes but the background: their labels are those of its channels, from 1.
    tensors
        Weights by name.
    weights_sha256
        Of their file.
    """

    name: str
    version: str
    config: MonaiConfig
    segments: tuple[Segment, ...]
    tensors: Mapping[str, Tensor]
    weights_sha256: str

    @property
    def identity(self) -> dict[str, str]:
        """What a result notes of it."""
        return {"name": self.name, "version": self.version, "weights_sha256": self.weights_sha256}


def is_monai_bundle(source: str | Path) -> bool:
    """Tell whether a path is the folder or the zip file of a MONAI bundle."""
    path = Path(source)
    return is_there(path) and ((path / INFERENCE).is_file() or (path.is_file() and zipfile.is_zipfile(path)))


def read_monai_bundle(source: str | Path) -> MonaiBundle:
    """Read a MONAI bundle from a folder or a zip file; nothing of it is executed or written anywhere.

    Raises
    ------
    ModelError
        If a file is missing or damaged, leads out of the bundle, or the configuration names what it may not.
    """
    path = Path(source)
    with guarded(path, WANTED, ModelError):
        if path.is_dir():
            return _read(_FolderFiles(path), path.name)
        try:
            with zipfile.ZipFile(path) as archive:
                return _read(_ZipFiles(archive, path.name), path.stem)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError) as error:  # damaged, or locked by a password
            raise ModelError(f"{path.name} cannot be unpacked: {in_one_line(str(error), 200)}.", WANTED) from error


class _FolderFiles:
    """The files of a bundle that is a folder; none is read that lies elsewhere, as by a link."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str, largest: int) -> bytes | None:
        path = self._folder / name
        if not path.exists():
            return None
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise ModelError(f"{name} of the bundle lies outside of its folder.", WANTED)
        if path.stat().st_size > largest:
            raise ModelError(f"{name} of the bundle has {path.stat().st_size >> 20} MB.", WANTED)
        return path.read_bytes()


class _ZipFiles:
    """The files of a bundle that is a zip file, at its top or in one folder; they are unpacked into memory alone."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        names = archive.namelist()
        for each in names:
            parts = each.replace("\\", "/").split("/")
            if ".." in parts or each.startswith(("/", "\\")) or ":" in parts[0]:
                raise ModelError(f"{name} has an entry {in_one_line(each, 80)}, which leads out of its folder.", WANTED)
        tops = [each.removesuffix(INFERENCE) for each in names if each.endswith(INFERENCE)]
        tops = [top for top in tops if top.count("/") <= 1]
        if len(tops) != 1:
            raise ModelError(f"{name} is no MONAI bundle: it has {len(tops)} files {INFERENCE}.", WANTED)
        self._top = tops[0]

    def read(self, name: str, largest: int) -> bytes | None:
        try:
            entry = self._archive.getinfo(self._top + name)
        except KeyError:
            return None
        if entry.file_size > largest:
            raise ModelError(f"{name} of the bundle has {entry.file_size >> 20} MB.", WANTED)
        from DeepRegLib.models.torch_files import unpacked

        return unpacked(self._archive, entry.filename)


def _read(files: _FolderFiles | _ZipFiles, called: str) -> MonaiBundle:
    config = monai_config(_json(files, INFERENCE))
    metadata = _json(files, METADATA, optional=True)
    for name in WEIGHTS:
        content = files.read(name, LARGEST_WEIGHTS)
        if content is not None:
            tensors = _tensors(name, content)
            return MonaiBundle(
                in_one_line(str(metadata.get("name", called)), 80) or called,
                in_one_line(str(metadata.get("version", "unknown")), 40),
                config,
                _segments(metadata),
                tensors,
                hashlib.sha256(content).hexdigest(),
            )
    raise ModelError(f"The bundle has none of {', '.join(WEIGHTS)}.", WANTED)


def _json(files: _FolderFiles | _ZipFiles, name: str, *, optional: bool = False) -> dict[str, Any]:
    content = files.read(name, LARGEST_CONFIG)
    if content is None:
        if optional:
            return {}
        raise ModelError(f"The bundle has no {name}.", WANTED)
    try:
        table = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} of the bundle is not JSON: {in_one_line(str(error), 200)}.", WANTED) from error
    if not isinstance(table, dict):
        raise ModelError(f"{name} of the bundle holds no table.", WANTED)
    return table


def _tensors(name: str, content: bytes) -> dict[str, Tensor]:
    import io

    from DeepRegLib.models.torch_files import tensors_of
    from DeepRegLib.models.torchscript_files import is_torchscript, torchscript_tensors_of

    if name.endswith(".safetensors"):
        return _safetensors(name, content)
    file = io.BytesIO(content)
    return torchscript_tensors_of(file, name) if is_torchscript(file) else tensors_of(file, name)


def _safetensors(name: str, content: bytes) -> dict[str, Tensor]:
    try:
        import safetensors
        from safetensors.torch import load
    except ImportError as error:
        from DeepRegLib.models.bundle import NO_SAFETENSORS

        raise ModelError(*NO_SAFETENSORS) from error
    try:
        return load(content)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{name} of the bundle is damaged: {in_one_line(str(error), 200)}.", WANTED) from error


def _segments(metadata: Mapping[str, Any]) -> tuple[Segment, ...]:
    """Return what the metadata call the channels of the prediction; empty where they say nothing."""
    found: Any = metadata
    for key in ("network_data_format", "outputs", "pred", "channel_def"):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    names = found if isinstance(found, dict) else {}
    called = {int(key): in_one_line(str(name), 200) for key, name in names.items() if CHANNEL.fullmatch(key)}
    return tuple(Segment(label, called[label], colour_of(label)) for label in sorted(called))
