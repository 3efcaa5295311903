"""What a segmentation by a trained network is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image


@dataclass(frozen=True, eq=False)
class ModelRequest:
    """A scan, and the model that segments it.

    Parameters
    ----------
    scan
        The scan to segment.
    model
        Name of a model or folder of its bundle, or folder or zip file of a MONAI bundle.
    mirror
        Also ask the network for the mirrored scan and take the mean: eight times as long, a little better, and wrong
        for a network that tells left from right. A MONAI bundle has its own way.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; None for the fastest.

    Raises
    ------
    InputError
        If no model is named.
    """

    scan: Image
    model: str
    mirror: bool = False
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise InputError("No model is named.", "Give the name or the folder of one; see deepreg models list.")
