"""A user's own scans and label maps, brought onto the training grid once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, resample
from DeepRegLib.preprocessing import finite, foreground_mask
from DeepRegLib.preprocessing.network_input import on_grid
from DeepRegLib.training.synthesis import Scene

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan, its label map, or both, on one grid.

    Parameters
    ----------
    image
        Shape ``(D, H, W)``, float16 in [0, 1], or None.
    labels
        Shape ``(D, H, W)``, int16, numbers of `Collection.values`, or None.
    known
        Shape ``(D, H, W)``, bool: inside the scan.
    """

    image: Tensor | None
    labels: Tensor | None
    known: Tensor


@dataclass(frozen=True, eq=False)
class Collection:
    """The volumes of a folder.

    Parameters
    ----------
    volumes
        All with an image or none, and all with labels or none.
    values
        The label that each number of the label maps stands for, the background (0) first.
    margin
        Voxels of anatomy that a scene has around its images.
    """

    volumes: tuple[Volume, ...]
    values: tuple[int, ...]
    margin: int

    def scene(
        self, numbers: Sequence[int], size: tuple[int, int, int], device: torch.device, *, with_image: bool
    ) -> Scene:
        """Put the middle of some volumes together as one batch.

        Parameters
        ----------
        numbers
            Of the volumes.
        size
            Voxels of the images along i, j, k.
        device
            Where the scene goes.
        with_image
            Whether it has the images themselves; otherwise they are rendered from the labels.
        """
        chosen = [self.volumes[number] for number in numbers]
        excess = [whole - n for whole, n in zip(chosen[0].known.shape, reversed(size), strict=True)]
        cuts = [(room // 2 - self.margin, n + 2 * self.margin) for room, n in zip(excess, reversed(size), strict=True)]
        middle = tuple(slice(first, first + count) for first, count in cuts)
        labels = [volume.labels[middle] for volume in chosen if volume.labels is not None]
        images = [volume.image[middle] for volume in chosen if volume.image is not None and with_image]
        return Scene(
            torch.stack(labels).to(device) if labels else None,
            torch.stack(images)[:, None].to(device).float() if images else None,
            torch.stack([volume.known[middle] for volume in chosen])[:, None].to(device).float(),
            self.margin,
            len(self.values),
        )


def read_collection(folder: str | Path, size: tuple[int, int, int], spacing: float, margin: int) -> Collection:
    """Read ``images/NAME.nii.gz`` and ``labels/NAME.nii.gz`` of a folder.

    Each volume lies on a grid along the world's axes, centred on its anatomy. It takes 5 bytes a voxel of memory.

    Parameters
    ----------
    folder
        Has ``images``, ``labels`` or both, with files of the same names.
    size
        Voxels of the training grid along i, j, k.
    spacing
        Width of a voxel in mm.
    margin
        Voxels that the volumes reach past that grid on every side.

    Raises
    ------
    InputError
        If there are no volumes, an image has no label map where others have, or a file cannot be used.
    """
    files = paired_files(Path(folder))
    whole = tuple(n + 2 * margin for n in size)
    read = [_read(image, labels, whole, spacing) for image, labels in files]
    values = sorted({0}.union(*(np.unique(maps).tolist() for _, maps, _ in read if maps is not None)))
    volumes = tuple(
        Volume(
            None if image is None else torch.from_numpy(image.astype(np.float16)),
            None if maps is None else torch.from_numpy(np.searchsorted(values, maps).astype(np.int16)),
            torch.from_numpy(known),
        )
        for image, maps, known in read
    )
    return Collection(volumes, tuple(int(value) for value in values), margin)


def labels_on_grid(labels: Image, geometry: Geometry) -> NDArray[np.int64]:
    """Return a label map on a grid, by the nearest voxel."""
    if labels.array.dtype.kind == "f" and not np.array_equal(labels.array, np.rint(labels.array)):
        raise InputError(f"{labels.name} has voxels that are not whole numbers.", "Give a label map.")
    return resample(labels, geometry, interpolation="nearest").array.astype(np.int64)


def centre_of(mask: Image) -> NDArray[np.float64]:
    """Return the centre of mass of a mask in LPS mm; the centre of its grid if it is empty."""
    places = np.argwhere(mask.array)
    if len(places) == 0:
        return mask.geometry.centre
    return mask.geometry.to_world(places.mean(0)[::-1])


def grid_about(centre: NDArray[np.float64], size: tuple[int, ...], spacing: float) -> Geometry:
    """Return a grid along the world's axes (LPS) about a point."""
    x, y, z = (float(c - spacing * (n - 1) / 2) for c, n in zip(centre, size, strict=True))
    return Geometry((size[0], size[1], size[2]), (spacing, spacing, spacing), (x, y, z))


def _read(
    image: Path | None, labels: Path | None, size: tuple[int, ...], spacing: float
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None, NDArray[np.bool_]]:
    scan = None if image is None else read_image(image)
    maps = None if labels is None else read_image(labels)
    if scan is not None:
        grid = grid_about(centre_of(foreground_mask(finite(scan)[0])), size, spacing)
        intensities, known = on_grid(scan, grid)
        return intensities, None if maps is None else labels_on_grid(maps, grid), known
    if maps is None:
        raise ValueError("neither an image nor labels")
    grid = grid_about(centre_of(maps.with_array(maps.array != 0)), size, spacing)
    known = resample(_filled(maps, 1), grid, interpolation="nearest").array.astype(np.bool_)
    return None, labels_on_grid(maps, grid), known


def _filled(image: Image, value: int) -> Image:
    return image.with_array(np.full(image.array.shape, value, dtype=np.uint8))


def paired_files(folder: Path) -> list[tuple[Path | None, Path | None]]:
    """Return the image and the label map of each scan of a folder, in the order of their names.

    Parameters
    ----------
    folder
        Has ``images``, ``labels`` or both, with files of the same names; or, with neither, images.

    Raises
    ------
    InputError
        If there are no volumes, or an image has no label map where others have.
    """
    images, labels = (volume_files(folder / part) for part in ("images", "labels"))
    if not images and not labels:
        images = volume_files(folder)
    names = sorted(images or labels)
    if not names:
        raise InputError(f"{folder} has no volumes in images/ or labels/.", "Put files such as images/1.nii.gz there.")
    if images and labels and images.keys() != labels.keys():
        lonely = sorted(images.keys() ^ labels.keys())
        raise InputError(
            f"{folder} has only an image or only labels of {', '.join(lonely[:3])}.",
            "Give each image a label map of the same name, or none of them.",
        )
    return [(images.get(name), labels.get(name)) for name in names]


def volume_files(folder: Path) -> dict[str, Path]:
    """Return the volumes of a folder by their names without endings; an empty table if it is not there."""
    if not folder.is_dir():
        return {}
    return {
        path.name[: -len(suffix)]: path
        for path in sorted(folder.iterdir())
        for suffix in SUFFIXES
        if path.name.lower().endswith(suffix) and not (suffix == ".nii" and path.name.lower().endswith(".nii.gz"))
    }
