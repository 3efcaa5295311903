"""Weights that others have published, made into bundles."""

from __future__ import annotations

import re
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

UNIGRADICON, MULTIGRADICON = "unigradicon", "multigradicon"
LAPIRN = "lapirn"
# What its authors' program calls the parts of each of its networks, the finest first, and what ours calls them.
LAPIRN_LEVELS = {"levels.0.": "", "levels.1.": "model_lvl2.", "levels.2.": "model_lvl2.model_lvl1."}
LAPIRN_PARTS = (
    (r"encode\.", "input_encoder_lvl1."),
    (r"down\.", "down_conv."),
    (r"blocks\.(\d+)\.first", lambda found: f"resblock_group_lvl1.{2 * int(found[1])}.conv1"),
    (r"blocks\.(\d+)\.second", lambda found: f"resblock_group_lvl1.{2 * int(found[1])}.conv2"),
    (r"predict\.", "output_lvl1."),
)
# Voxels of 1 mm along i, j, k, which point upwards, backwards and to the left: measured, as the authors do not say it.
# Five other ways up gave .005 to .014 Dice less on one pair of brains; on another, three of them gave as much.
LAPIRN_SIZE, LAPIRN_ORIENTATION = (144, 192, 160), "SPL"
# The scan is brought to as many voxels as the network takes, however small it is.
FINEST_MM = 0.5


def add_unigradicon(weights: str | Path, *, multimodal: bool = False) -> KnownModel:
    """Make a bundle of uniGradICON's weights, which its own package reads, and add it to the user's models.

    Parameters
    ----------
    weights
        The file that its authors publish, ``Step_2_final.trch``. Nothing is downloaded, here or by the package.
    multimodal
        They are those of multiGradICON (Demir et al. 2024), the same network trained on pairs of unlike contrast; the
        file has the same name, and the weights do not tell.

    Raises
    ------
    ModelError
        If the package is not installed, the file is missing or holds something else, or there is a model of that name.
    OutputError
        If the user's folder cannot be written.
    """
    from DeepRegLib.networks.unigradicon import SIZE

    tensors = _tensors(Path(weights))
    within = "in two modalities or one" if multimodal else "within one modality"
    source = "Demir et al. 2024, arXiv:2408.00221" if multimodal else "Tian et al., MICCAI 2024"
    manifest = Manifest(
        name=MULTIGRADICON if multimodal else UNIGRADICON,
        version=_version(),
        task="registration",
        architecture=UNIGRADICON,
        arguments={"size": list(SIZE)},
        input=ModelInput(FINEST_MM, SIZE),
        trained_on=f"Public CT and MR of lungs, knees, brains and abdomens; see {source}.",
        licence="Apache-2.0",
        intended_use=f"A first field between two scans of one person or two, {within}.",
        limits="Needs the package unigradicon. DeepReg has not measured it. It sees the scan with cubic voxels and a "
        "margin, where its authors stretch the scan to fill the cube.",
    )
    return added(manifest, tensors)


def add_lapirn(weights: str | Path, *, velocity: bool = False) -> KnownModel:
    """Make a bundle of weights of LapIRN and add it to the user's models.

    Parameters
    ----------
    weights
        A file that its authors publish, ``LapIRN_disp_fea7.pth`` or ``LapIRN_diff_fea7.pth``. It is read without being
        unpickled, and nothing is downloaded.
    velocity
        The network gives a velocity, as that of ``LapIRN_diff_fea7.pth`` does; the weights do not tell.

    Raises
    ------
    ModelError
        If the file is missing or holds something else, or there is a model of that name.
    OutputError
        If the user's folder cannot be written.
    """
    from DeepRegLib.models.torch_files import read_tensors

    tensors = _named_as_ours(read_tensors(weights), Path(weights).name)
    channels = len(tensors["levels.0.down.weight"])
    manifest = Manifest(
        name=f"{LAPIRN}-velocity" if velocity else LAPIRN,
        version="MICCAI 2020",
        task="registration",
        architecture=LAPIRN,
        arguments={"channels": channels, "integrate": velocity},
        input=ModelInput(1.0, LAPIRN_SIZE, orientation=LAPIRN_ORIENTATION),
        trained_on="T1-weighted MR of the brains of the OASIS study, without skull; see Mok and Chung, MICCAI 2020.",
        licence="MIT",
        intended_use="A first field between two T1-weighted MR scans of brains without skull.",
        limits="Brains alone, skull removed, at their true size in mm.",
    )
    return added(manifest, tensors)


def added(manifest: Manifest, tensors: dict[str, Tensor]) -> KnownModel:
    """Save a bundle among the user's models; raises what `add_model` does."""
    with tempfile.TemporaryDirectory() as folder:
        return add_model(save_bundle(Path(folder) / manifest.name, manifest, tensors).folder)


def _named_as_ours(tensors: dict[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Return the weights of LapIRN by our names of them."""
    from DeepRegLib.networks.lapirn import LapIRN

    named = {}
    for ours in LapIRN(1).state_dict():
        level = ours[: len("levels.0.")]
        part = ours.removeprefix(level)
        for pattern, replacement in LAPIRN_PARTS:
            part = re.sub(f"^{pattern}", replacement, part)
        named[ours] = tensors.get(LAPIRN_LEVELS[level] + part)
    found = {ours: tensor for ours, tensor in named.items() if tensor is not None}
    if len(found) < len(named) or len(found) < len(tensors):
        raise ModelError(
            f"{origin} does not hold the weights of LapIRN: {len(found)} of {len(named)} are there, and "
            f"{len(tensors) - len(found)} others.",
            "Give LapIRN_disp_fea7.pth or LapIRN_diff_fea7.pth as its authors publish them.",
        )
    return found


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
