"""Where models are found: those that come with the library, those in the user's folder, and any folder by its path."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.errors import ModelError
from DeepRegLib.files import output_error
from DeepRegLib.guarding import in_one_line, is_there
from DeepRegLib.models.bundle import WEIGHTS, Build, ModelBundle, check_bundle, copy_bundle, load_bundle, one_line
from DeepRegLib.models.manifest import MANIFEST, Manifest, check_library, read_manifest

VARIABLE = "DEEPREG_MODELS"
# Inside the package, so that pip and Slicer's installer bring what is in it.
SHIPPED_FOLDER = Path(__file__).parent / "shipped"
SHIPPED, USER, ELSEWHERE = "shipped", "user", "elsewhere"
BAD_FOLDER = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
BYTES_PER_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class KnownModel:
    """A model that can be named.

    Parameters
    ----------
    name
        Of its folder, which is that of the model.
    folder
        The bundle.
    place
        ``"shipped"``, ``"user"``, or ``"elsewhere"`` for a folder that was given.
    manifest
        What it says of itself; None if that cannot be read.
    problem
        Why it cannot be used, as one sentence; "" if nothing speaks against it. The weights are not looked into.
    """

    name: str
    folder: Path
    place: str
    manifest: Manifest | None
    problem: str = ""

    @property
    def megabytes(self) -> float:
        """How much its files take on the disk, in MB of a million bytes; those that are missing count nothing."""
        size = 0
        for name in (MANIFEST, WEIGHTS):
            with contextlib.suppress(OSError):
                size += (self.folder / name).stat().st_size
        return size / BYTES_PER_MEGABYTE


def user_folder() -> Path:
    """Return the folder of the user's own models; it need not exist.

    The environment variable `DEEPREG_MODELS` names another than that of the platform.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "DeepReg" / "models"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "DeepReg" / "models"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "deepreg" / "models"


def known_models() -> list[KnownModel]:
    """Return the models that come with the library, then the user's own, each sorted by name."""
    shipped = [_known(folder, SHIPPED, frozenset()) for folder in _folders(SHIPPED_FOLDER)]
    taken = frozenset(model.name for model in shipped)
    return shipped + [_known(folder, USER, taken) for folder in _folders(user_folder())]


def find_model(source: str | Path) -> Path:
    """Return the folder of a model by name, or the folder itself.

    Raises
    ------
    ModelError
        If there is neither, or the model of that name cannot be used.
    """
    models = known_models()
    for model in models:
        if model.name == str(source):
            if model.problem:
                raise ModelError(f"The model {model.name} cannot be used. {model.problem}")
            return model.folder
    path = Path(source)
    there = is_there(path)
    if there and path.name == MANIFEST and path.is_file():
        return path.parent
    if there and str(source) and path.is_dir():
        return path
    names = [model.name for model in models if not model.problem]
    choices = f"one of {', '.join(names)}, or the folder" if names else "the folder"
    raise ModelError(
        f"There is no model named {in_one_line(str(source))!r}, nor such a folder.",
        f"Give {choices} of a model bundle.",
    )


def usable_bundle(source: str | Path, task: str) -> ModelBundle:
    """Return a model by name or folder, checked, for a task.

    Raises
    ------
    ModelError
        If there is none, it is damaged, or it is for another task.
    """
    bundle = load_bundle(find_model(source))
    if bundle.manifest.task != task:
        raise ModelError(
            f"The model {bundle.manifest.name} is for the task {bundle.manifest.task}, not for {task}.",
            "Choose another; deepreg models list shows them.",
        )
    check_bundle(bundle)
    return bundle


def look_up(source: str | Path) -> KnownModel:
    """Return what is known of a model by name or folder; that there is none, or not a usable one, is its `problem`."""
    for model in known_models():
        if model.name == str(source):
            return model
    try:
        folder = find_model(source)
        manifest = read_manifest(folder)
        check_library(manifest)
    except ModelError as error:
        return KnownModel(str(source), Path(source), ELSEWHERE, None, str(error))
    return KnownModel(manifest.name, folder, ELSEWHERE, manifest)


def add_model(folder: str | Path, *, build: Build | None = None, network: bool = True) -> KnownModel:
    """Copy a bundle into the user's folder, after checking all that can be checked.

    Parameters
    ----------
    folder
        A bundle.
    build
        As in `DeepRegLib.models.check_bundle`.
    network
        Also make sure that the network can be built and that its tensors fit, which imports torch. Without it, as
        where no torch may be imported, a run that names the model does so before it computes.

    Raises
    ------
    ModelError
        If it is no bundle, is damaged or does not fit this library, or there is a model of that name.
    OutputError
        If the user's folder cannot be written.
    """
    path = Path(folder)
    bundle = load_bundle(path.parent if path.name == MANIFEST else path)
    if network:
        check_bundle(bundle, build=build)
    name = bundle.manifest.name
    for model in known_models():
        if model.name == name:
            hint = (
                "Rename the new one." if model.place == SHIPPED else f"Remove it first: deepreg models remove {name}."
            )
            raise ModelError(f"There is a {model.place} model named {name} already.", hint)
    return _known(copy_bundle(bundle, user_folder() / name).folder, USER, frozenset())


def remove_model(name: str) -> Path:
    """Remove a model from the user's folder, and from there only.

    Returns
    -------
    Path
        Where it was.

    Raises
    ------
    ModelError
        If there is no such model, or it is shipped with the library.
    OutputError
        If the folder cannot be changed.
    """
    models = [model for model in known_models() if model.name == name]
    own = [model.folder for model in models if model.place == USER]
    if own:
        _remove(own[0])
        return own[0]
    if models:
        raise ModelError(f"The model {name} is part of DeepReg and is not removed.", "Choose one of your own.")
    raise ModelError(f"There is no model named {name!r} in {user_folder()}.", "See deepreg models list.")


def _folders(place: Path) -> list[Path]:
    """Return the folders of a place that are meant as bundles; those being written or removed begin with a dot."""
    try:
        return sorted(path for path in place.iterdir() if not path.name.startswith((".", "_")) and path.is_dir())
    except OSError:  # not there, or not ours to read
        return []


def _known(folder: Path, place: str, taken: frozenset[str]) -> KnownModel:
    name = folder.name
    try:
        manifest = read_manifest(folder)
        return KnownModel(name, folder, place, manifest, _problem(name, folder, manifest, taken))
    except ModelError as error:
        return KnownModel(name, folder, place, None, str(error))
    except BAD_FOLDER as error:  # one among them must not take the others along
        problem = f"It cannot be read ({type(error).__name__}: {one_line(error)})."
        return KnownModel(name, folder, place, None, problem)


def _problem(name: str, folder: Path, manifest: Manifest, taken: frozenset[str]) -> str:
    if name in taken:
        return "A model that comes with DeepReg has the same name and is used instead."
    if name != manifest.name:
        return f"Its folder is named {name}, the model in it {manifest.name}: rename the folder."
    if not (folder / WEIGHTS).is_file():
        return f"There is no {WEIGHTS} in {folder}."
    try:
        check_library(manifest)
    except ModelError as error:
        return str(error)
    return ""


def _remove(folder: Path) -> None:
    """Take the folder's name away first: an interrupted removal leaves no half of a model."""
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        leaving = folder.rename(folder.with_name(f".{folder.name}.removed-{uuid.uuid4().hex[:8]}"))
    except OSError as error:
        raise output_error(folder, error) from error
    shutil.rmtree(leaving, ignore_errors=True)
