"""The section of a configuration that says how the translation into another modality is learned."""

from __future__ import annotations

from dataclasses import dataclass

from DeepRegLib.tables import require


@dataclass(frozen=True)
class Translating:
    """How a network learns to show a scan of ``images`` as one of ``targets``.

    Parameters
    ----------
    paired
        Whether ``images/NAME`` and ``targets/NAME`` are one person's scans, registered. Otherwise nobody need be in
        both folders, and only `patches`, `identity` and `adversarial` can teach.
    absolute
        Weight of the mean absolute difference from the target; for pairs.
    tolerance
        By how many voxels a target may be off: of each place the smallest difference among targets shifted by so much
        along an axis counts.
    contrast
        Weight of 1 - LNCC with the target, which says that edges are where they should be, whatever their height; for
        pairs.
    patches
        Weight of the contrast of patches (Park et al. 2020): the features of a place must tell it apart from others of
        the same scan after the translation; for scans that are no pairs.
    identity
        Weight of the mean absolute difference of a translated target from itself: what is in that modality already
        stays; for scans that are no pairs.
    adversarial
        Weight of what a second network holds against the translation, which is shown targets beside it.
    mirror
        Mirror half of the patches along each axis.
    """

    paired: bool = True
    absolute: float = 1.0
    tolerance: int = 1
    contrast: float = 0.2
    patches: float = 1.0
    identity: float = 1.0
    adversarial: float = 0.02
    mirror: bool = True

    def __post_init__(self) -> None:
        for name in ("absolute", "contrast", "patches", "identity", "adversarial"):
            require(getattr(self, name) >= 0, f"translate.{name}", getattr(self, name), "0 or more")
        require(0 <= self.tolerance <= 3, "translate.tolerance", self.tolerance, "0 to 3 voxels")
        if self.paired:
            require(
                self.absolute + self.contrast > 0, "translate.absolute", self.absolute, "a weight to it or contrast"
            )
        else:
            require(self.patches > 0, "translate.patches", self.patches, "above 0 for scans that are no pairs")
            require(self.adversarial > 0, "translate.adversarial", self.adversarial, "above 0 for the same reason")
