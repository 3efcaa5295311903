"""Weights that others have published, made into bundles."""

from __future__ import annotations

import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.errors import ModelError
from DeepRegLib.models.bundle import save_bundle
from DeepRegLib.models.manifest import Manifest, ModelInput
from DeepRegLib.models.registry import KnownModel, add_model

if TYPE_CHECKING:
    from torch import Tensor

UNIGRADICON = "unigradicon"
# The scan is brought to as many voxels as the network takes, however small it is.
FINEST_MM = 0.5


def add_unigradicon(weights: str | Path) -> KnownModel:
    """Make a bundle of uniGradICON's weights, which its own package reads, and add it to the user's models.

    Parameters
    ----------
    weights
        The file that its authors publish, ``Step_2_final.trch``. Nothing is downloaded, here or by the package.

    Raises
    ------
    ModelError
        If the package is not installed, the file is missing or holds something else, or there is a model of that name.
    OutputError
        If the user's folder cannot be written.
    """
    from DeepRegLib.networks.unigradicon import SIZE

    tensors = _tensors(Path(weights))
    manifest = Manifest(
        name=UNIGRADICON,
        version=_version(),
        task="registration",
        architecture=UNIGRADICON,
        arguments={"size": list(SIZE)},
        input=ModelInput(FINEST_MM, SIZE),
        trained_on="Public CT and MR of lungs, knees, brains and abdomens; see Tian et al., MICCAI 2024.",
        licence="Apache-2.0",
        intended_use="A first field between two scans of one person or two, within one modality.",
        limits="Needs the package unigradicon. DeepReg has not measured it. It sees the scan with cubic voxels and a "
        "margin, where its authors stretch the scan to fill the cube.",
    )
    with tempfile.TemporaryDirectory() as folder:
        return add_model(save_bundle(Path(folder) / UNIGRADICON, manifest, tensors).folder)


def _tensors(weights: Path) -> dict[str, Tensor]:
    from DeepRegLib.networks.unigradicon import unigradicon_package

    package = unigradicon_package()
    if not weights.is_file():  # the package would fetch them
        raise ModelError(
            f"There is no file {weights}.",
            "Give the weights that uniGradICON's authors publish with its releases, Step_2_final.trch.",
        )
    try:
        network = package.get_unigradicon(weights_location=str(weights))
    except Exception as error:
        # torch raises whatever its reader stumbles upon; the package has it read tensors only, and no pickled code.
        raise ModelError(f"{weights.name} does not hold the weights of uniGradICON: {error}") from error
    return {f"net.{name}": tensor for name, tensor in network.regis_net.state_dict().items()}


def _version() -> str:
    try:
        return version(UNIGRADICON)
    except PackageNotFoundError:
        return "unknown"
