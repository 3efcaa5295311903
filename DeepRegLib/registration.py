"""A registration as its users hold it: the data of `result`, with what they do to it as methods."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib import result
from DeepRegLib.image import Image


class Registration(result.Registration):
    """The result of one run; its fields are those of `DeepRegLib.result.Registration`."""

    def with_labels(self, moving_labels: Image, fixed_labels: Image | None = None) -> Registration:
        """Return this result with the moving labels on the fixed grid, and Dice if there are fixed labels.

        Raises
        ------
        InputError
            If a label map lies on another grid than its image, or a voxel is not a whole number.
        """
        from DeepRegLib.propagation import with_labels

        return with_labels(self, moving_labels, fixed_labels)

    def save(self, directory: str | Path, *, overwrite: bool = False) -> Path:
        """Write transforms, images, ``result.json`` and ``report.html`` into a folder; see `DeepRegLib.saving.save`.

        Raises
        ------
        InputError
            If the folder is a file, or holds an earlier result and `overwrite` is false.
        OutputError
            If it cannot be written or the disk is full.
        """
        from DeepRegLib.saving import save

        return save(self, directory, overwrite=overwrite)

    def _repr_html_(self) -> str:
        """Show slices, verdict and measures in a notebook."""
        from DeepRegLib.report.notebook import notebook_html

        return notebook_html(self)
