"""A model that exists, trained on with scans of one's own and nothing else: no labels, no true field."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import box_around, read_image
from DeepRegLib.models import ModelBundle, usable_bundle
from DeepRegLib.models.bundle import build_network
from DeepRegLib.models.inference import network_grid
from DeepRegLib.networks import ARCHITECTURES
from DeepRegLib.orientation import in_standard_order
from DeepRegLib.preprocessing import finite, foreground_mask
from DeepRegLib.training.appearance import Appearance
from DeepRegLib.training.config import (
    Bundle,
    Images,
    Network,
    Optimisation,
    Record,
    Sources,
    TrainingConfig,
    Validation,
)
from DeepRegLib.training.losses import Losses
from DeepRegLib.training.volumes import paired_files

SUFFIX = "-adapted"
LONGEST_NAME = 64
# Scans whose field is compared by how well they match alone: little at a time, or the model forgets what it knew.
LOSSES = Losses(labels=0.0, endpoint=0.0, smoothness=0.5, lncc=1.0)
OPTIMISATION = Optimisation(iterations=300, rate=1e-4, warmup=20, average=0.98)
# As they are: noise and other contrasts would only hide what there is to match.
APPEARANCE = Appearance(
    **dict.fromkeys(
        ("remap", "noise", "ghost", "spike", "artefacts", "crop", "cropped", "thick", "blur", "bias", "gamma"), 0.0
    )
)


def adaptation(model: str | Path, folder: str | Path) -> TrainingConfig:
    """Return the configuration that adapts a model to the scans of a folder without labels.

    It registers each to another of them, as they lie when their anatomy is centred, and learns from how well they match
    (LNCC) and how smooth the field is: test-time adaptation (Balakrishnan et al. 2019, VoxelMorph). The scans should be
    of one modality.

    Parameters
    ----------
    model
        Name of a model for registration, or folder of its bundle.
    folder
        Has ``NAME.nii.gz``, or ``images/NAME.nii.gz``.

    Raises
    ------
    InputError
        If there are fewer than two scans, one cannot be read, or the network is one that is not trained here.
    ModelError
        If the model cannot be used.
    """
    bundle = usable_bundle(model, "registration")
    manifest = bundle.manifest
    if manifest.architecture not in ARCHITECTURES:
        raise InputError(
            f"The model {manifest.name} is a {manifest.architecture}, which is not trained here.",
            f"Use a model of {', '.join(ARCHITECTURES)}.",
        )
    scans = [image for image, _ in paired_files(Path(folder)) if image is not None]
    if len(scans) < 2:
        raise InputError(
            f"{folder} has {len(scans)} scans.", "Put two or more there: they are registered to each other."
        )
    return TrainingConfig(
        name=manifest.name[: LONGEST_NAME - len(SUFFIX)] + SUFFIX,
        purpose=f"{manifest.name}, adapted to {len(scans)} scans without labels.",
        network=Network(manifest.architecture, dict(manifest.arguments), str(bundle.folder.absolute())),
        images=_images(bundle, scans),
        sources=Sources(shapes=0.0, pairs=1.0, folder=str(Path(folder).absolute())),
        appearance=APPEARANCE,
        losses=LOSSES,
        optimisation=OPTIMISATION,
        validation=Validation(every=OPTIMISATION.iterations, pairs=0),
        record=Record(log_every=20, checkpoint_every=50),
        bundle=Bundle(
            version=manifest.version,
            trained_on=f"{manifest.trained_on} Then adapted to {len(scans)} scans without labels.",
            licence=manifest.licence,
            intended_use=manifest.intended_use,
            limits=manifest.limits,
            any_scale=manifest.input.across > 0,
        ),
    )


def _images(bundle: ModelBundle, scans: list[Path]) -> Images:
    """Return a grid with voxels as wide as the model would see these scans, and room for the largest of them."""
    manifest = bundle.manifest
    multiple = getattr(build_network(manifest.architecture, manifest.arguments), "multiple", 1)
    boxes = [_foreground_box(scan) for scan in scans]
    spacing = max(network_grid(box, manifest.input, multiple).spacing[0] for box in boxes)
    voxels = np.max([box.extent for box in boxes], axis=0) / spacing
    i, j, k = (int(multiple * -(-n // multiple)) for n in np.maximum(voxels, 16))
    return Images(size=manifest.input.size or (i, j, k), spacing=spacing, margin=0)


def _foreground_box(scan: Path) -> Geometry:
    image = finite(in_standard_order(read_image(scan)))[0]
    return box_around(foreground_mask(image))
