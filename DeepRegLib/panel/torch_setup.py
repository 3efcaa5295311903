"""PyTorch and safetensors in Slicer's own Python: are they there, how do they come there. Nothing here imports them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from DeepRegLib.errors import DeepRegError

# Replacing one of these has left other people's Slicer unable to start.
PROTECTED = ("numpy", "scipy", "SimpleITK", "vtk", "requests", "pydicom")


class SetupError(DeepRegError):
    """PyTorch cannot be installed."""


def torch_version() -> str:
    """Return the version of PyTorch in Slicer's Python; empty where it is missing or only half there."""
    return _version("torch")


def safetensors_version() -> str:
    """Return the version of what reads the weights of models, as `torch_version` does."""
    return _version("safetensors")


def install_torch() -> None:
    """Install PyTorch through the PyTorch extension, which asks first and finds the build for this computer.

    Then safetensors, a small wheel without dependencies, where it is missing.

    Raises
    ------
    SetupError
        If that extension is not installed, or something fails.
    """
    if importlib.util.find_spec("PyTorchUtils") is None:
        raise SetupError(
            _("The PyTorch extension is not installed in Slicer."),
            _("Install it with the Extensions Manager, restart Slicer, and press this button again."),
        )
    import PyTorchUtils  # type: ignore[import-not-found]  # comes with that extension

    try:
        module = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True)
    except Exception as error:
        raise SetupError(
            _("PyTorch could not be installed: {reason}").format(reason=_last_line(error)),
            _("See Slicer's Python console for the rest, or choose another Python."),
        ) from error
    if module is None:
        raise SetupError(_("PyTorch was not installed."), _("Press the button again to install it."))
    if safetensors_version():
        return
    try:
        slicer.util.pip_install(["--no-deps", "--only-binary", ":all:", "safetensors"])
    except Exception as error:
        raise SetupError(
            _("safetensors could not be installed: {reason}").format(reason=_last_line(error)),
            _("See Slicer's Python console for the rest, or choose another Python."),
        ) from error


def install_torch_offline(folder: str) -> None:
    """Install both from a folder of wheels, without a network and without touching Slicer's own packages.

    Raises
    ------
    SetupError
        If there is no wheel of one of them in the folder, or pip fails.
    """
    for pattern, name in (("torch-*.whl", "PyTorch"), ("safetensors-*.whl", "safetensors")):
        if not any(Path(folder).glob(pattern)):
            raise SetupError(
                _("There is no wheel of {name} in {folder}.").format(
                    name=name, folder=folder or _("(no folder chosen)")
                ),
                _(
                    "On a computer with a network, run `pip download torch safetensors` for this system and copy the "
                    "files here."
                ),
            )
    with tempfile.TemporaryDirectory() as scratch:
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text("\n".join(_protected_versions()), encoding="utf-8")
        try:
            slicer.util.pip_install(
                [
                    "--no-index",
                    "--find-links",
                    folder,
                    "--constraint",
                    str(constraints),
                    "--only-binary",
                    ":all:",
                    "safetensors",
                    "torch",
                ]
            )
        except Exception as error:
            raise SetupError(
                _("PyTorch could not be installed from {folder}: {reason}").format(
                    folder=folder, reason=_last_line(error)
                ),
                _("The wheels must fit this system and Slicer's Python; see the Python console."),
            ) from error


def _version(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a folder without a package is what a broken installation leaves
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _protected_versions() -> list[str]:
    installed = {package.name.lower(): package.version for package in importlib.metadata.distributions()}
    return [f"{name}=={installed[name.lower()]}" for name in PROTECTED if name.lower() in installed]


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
