"""A user's own scans for networks of one image: kept whole on cubic voxels, and patches of them."""

from __future__ import annotations

import random as host_random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, read_image
from DeepRegLib.preprocessing.network_input import on_grid, world_grid
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.synthesis import Scene
from DeepRegLib.training.volumes import Volume, labels_on_grid, paired_files

# Voxels of a label among which the middle of a patch is drawn, at most.
KEPT_PLACES = 20_000


@dataclass(frozen=True, eq=False)
class Scans:
    """Scans with their label maps, or one of both.

    Parameters
    ----------
    volumes
        Each of its own size, at least as large as a patch.
    values
        The label that each number of the label maps stands for, the background (0) first; only that without label maps.
    places
        Of each volume, some voxels ``(n, 3)`` (k, j, i) of each label but the background, by its number.
    """

    volumes: tuple[Volume, ...]
    values: tuple[int, ...]
    places: tuple[dict[int, Tensor], ...]

    def shares(self) -> Tensor:
        """Return the share of all voxels that each label has, shape ``(C,)``."""
        maps = [volume.labels for volume in self.volumes if volume.labels is not None]
        counts = torch.stack([torch.bincount(each.flatten().long(), minlength=len(self.values)) for each in maps])
        total = counts.sum(0).double()
        return (total / total.sum()).float()

    def patches(
        self, random: Randomness, shape: tuple[int, int, int], margin: int, foreground: float, *, with_image: bool
    ) -> Scene:
        """Cut a patch for each sample, with a margin around it; 0 and unknown beyond the scan.

        Parameters
        ----------
        random
            What to draw from.
        shape
            Shape ``(D, H, W)`` of the patches without their margins.
        margin
            Voxels on every side.
        foreground
            Share of the patches about a voxel of a label drawn evenly from those of the scan; others lie anywhere.
        with_image
            Whether the scene has the images themselves; otherwise they are rendered from the labels.
        """
        cut = [self._patch(host, shape, margin, foreground) for host in random.hosts]
        labels = [volume.labels for volume in cut if volume.labels is not None]
        images = [volume.image for volume in cut if volume.image is not None and with_image]
        return Scene(
            torch.stack(labels).to(random.device) if labels else None,
            torch.stack(images)[:, None].to(random.device).float() if images else None,
            torch.stack([volume.known for volume in cut])[:, None].to(random.device).float(),
            margin,
            len(self.values),
        )

    def _patch(self, host: host_random.Random, shape: tuple[int, int, int], margin: int, foreground: float) -> Volume:
        number = host.randrange(len(self.volumes))
        volume, places = self.volumes[number], self.places[number]
        room = [whole - n for whole, n in zip(volume.known.shape, shape, strict=True)]
        first = [host.randint(0, n) for n in room]
        if places and host.random() < foreground:
            among = places[host.choice(sorted(places))]
            middle = among[host.randrange(len(among))].tolist()
            first = [min(max(at - n // 2, 0), most) for at, n, most in zip(middle, shape, room, strict=True)]
        return Volume(
            None if volume.image is None else _cut(volume.image, first, shape, margin),
            None if volume.labels is None else _cut(volume.labels, first, shape, margin),
            _cut(volume.known, first, shape, margin),
        )


def read_scans(
    folder: str | Path, size: tuple[int, int, int], spacing: float, values: Sequence[int] | None = None
) -> Scans:
    """Read ``images/NAME.nii.gz`` and ``labels/NAME.nii.gz`` of a folder, each whole; 5 bytes a voxel of memory.

    Parameters
    ----------
    folder
        Has ``images``, ``labels`` or both, with files of the same names.
    size
        Voxels of a patch along i, j, k; smaller scans are padded to it.
    spacing
        Width of a voxel in mm.
    values
        The labels that may occur, the background (0) first; None for those that do.

    Raises
    ------
    InputError
        If there are none, a scan has no label map where others have, has another label, or a file cannot be used.
    """
    files = paired_files(Path(folder))
    read = [read_scan(image, labels, size, spacing) for image, labels in files]
    there = sorted({0}.union(*(np.unique(each.labels).tolist() for each in read if each.labels is not None)))
    known = there if values is None else sorted(values)
    if unnamed := sorted(set(there) - set(known)):
        raise InputError(
            f"The label maps of {folder} have the labels {', '.join(map(str, unnamed[:10]))}, which are not named.",
            "Name every label in the table segmentation.names, or take them out of the label maps.",
        )
    volumes = tuple(_numbered(volume, known) for volume in read)
    return Scans(volumes, tuple(int(value) for value in known), tuple(_places(volume) for volume in volumes))


def read_scan(image: Path | None, labels: Path | None, size: tuple[int, int, int], spacing: float) -> Volume:
    """Read one scan, its label map (as it is in the file, int64), or both, on a grid along the world's axes."""
    scan = None if image is None else read_image(image)
    maps = None if labels is None else read_image(labels)
    whole = scan or maps
    if whole is None:
        raise ValueError("neither an image nor labels")
    grid = world_grid(whole.geometry, spacing, size)
    intensities, known = on_grid(scan or _blank(whole), grid)
    return Volume(
        None if scan is None else torch.from_numpy(intensities.astype(np.float16)),
        None if maps is None else torch.from_numpy(labels_on_grid(maps, grid)),
        torch.from_numpy(known),
    )


def _blank(image: Image) -> Image:
    return image.with_array(np.zeros(image.array.shape, dtype=np.float32))


def _numbered(volume: Volume, values: list[int]) -> Volume:
    if volume.labels is None:
        return volume
    numbers = np.searchsorted(values, volume.labels.numpy()).astype(np.int16)
    return Volume(volume.image, torch.from_numpy(numbers), volume.known)


def _places(volume: Volume) -> dict[int, Tensor]:
    if volume.labels is None:
        return {}
    found = {}
    for number in range(1, int(volume.labels.max()) + 1):
        places = torch.nonzero(volume.labels == number)
        if len(places):
            found[number] = places[:: -(-len(places) // KEPT_PLACES)]
    return found


def _cut(volume: Tensor, first: list[int], shape: tuple[int, int, int], margin: int) -> Tensor:
    """Cut a box with a margin out of a volume; what lies beyond is 0."""
    box, pads = [], []
    for begin, n, whole in zip(first, shape, volume.shape, strict=True):
        low, high = begin - margin, begin + n + margin
        box.append(slice(max(low, 0), min(high, whole)))
        pads.append((max(-low, 0), max(high - whole, 0)))
    padding = [pad for pair in reversed(pads) for pad in pair]
    return functional.pad(volume[tuple(box)], padding)
