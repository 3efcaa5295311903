"""A folder of atlases: each a folder of its own that holds a scan `image.*` and a label map `labels.*`."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.errors import InputError
from DeepRegLib.image import read_image
from DeepRegLib.naming import shown
from DeepRegLib.segmentation.request import Atlas
from DeepRegLib.segmentation.seg_nrrd import read_segmentation

IMAGE, LABELS = "image", "labels"
LAYOUT = f"Give a folder that holds a folder an atlas, each with a scan {IMAGE}.* and a label map {LABELS}.*."


def atlas_files(folder: str | Path) -> tuple[tuple[str, Path, Path], ...]:
    """Return name, scan and label map of each atlas in a folder, by name.

    Raises
    ------
    InputError
        If it is no folder, holds no atlas, or one of its folders lacks a scan or a label map, or has several.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"{shown(place)} is no folder.", LAYOUT)
    inside = sorted(each for each in place.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not inside:
        raise InputError(f"{shown(place)} holds no atlas.", LAYOUT)
    return tuple((shown(each.name), _only(each, IMAGE), _only(each, LABELS)) for each in inside)


def read_atlases(folder: str | Path) -> tuple[Atlas, ...]:
    """Read the atlases of a folder; a label map saved by Slicer (.seg.nrrd) brings names and colours.

    Raises
    ------
    InputError
        As of `atlas_files`, or if a file cannot be read, or a label map does not lie on the grid of its scan.
    """
    return tuple(read_atlas(*files) for files in atlas_files(folder))


def read_atlas(name: str, image: Path, labels: Path) -> Atlas:
    """Read one atlas from its two files; errors as of `read_atlases`."""
    label_map, segments = read_segmentation(labels)
    return Atlas(name, read_image(image), label_map, segments)


def _only(folder: Path, stem: str) -> Path:
    found = sorted(path for path in folder.iterdir() if path.name.partition(".")[0] == stem and path.is_file())
    # An .mhd file has its voxels beside it.
    found = [path for path in found if path.suffix.lower() != ".raw"]
    if len(found) != 1:
        count = "no file" if not found else f"{len(found)} files"
        raise InputError(f"The atlas {shown(folder.name)} has {count} {stem}.*.", LAYOUT)
    return found[0]
