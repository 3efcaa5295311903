"""Label maps out of files of any kind: volumes, Slicer's segmentations, DICOM segmentations and structure sets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.dicom.structures import Structure, StructureSet
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.image import Image
    from DeepRegLib.segmentation.carrying import SegmentedScan
    from DeepRegLib.transforms import Transform

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelFiles:
    """What label files hold.

    Parameters
    ----------
    fixed, moving
        Label maps on the grids of the scans, or None.
    layers
        Further label maps of the moving scan, of structures that overlap those of the first.
    structures
        What moving labels are called, where the file tells.
    segmented
        What a .seg.nrrd holds of the moving scan; `carried_file` writes all of it carried over.
    """

    fixed: Image | None = None
    moving: Image | None = None
    layers: tuple[Image, ...] = ()
    structures: tuple[Structure, ...] = ()
    segmented: SegmentedScan | None = None


def read_label_pair(fixed: tuple[Path, Image, Path | None], moving: tuple[Path, Image, Path | None]) -> LabelFiles:
    """Read the labels of two scans; structures of DICOM files and segments of .seg.nrrd files are matched by names.

    Parameters
    ----------
    fixed, moving
        The scan's file, the scan, and the file of its labels or None.

    Raises
    ------
    InputError
        If a file cannot be read, does not belong to its scan, or there are fixed labels only.
    """
    from DeepRegLib.structures import label_images, numbered_like

    if fixed[2] is not None and moving[2] is None:
        raise InputError(f"{fixed[2]} was given without moving labels.", "Give --moving-labels too, or leave it out.")
    still, moved = _read(*fixed), _read(*moving)
    layers: tuple[Image, ...] = ()
    structures: tuple[Structure, ...] = ()
    segmented = moved.content if isinstance(moved, _Segments) else None
    still, moved = (each.structures if isinstance(each, _Segments) else each for each in (still, moved))
    if isinstance(moved, tuple):
        content, name = moved
        if isinstance(still, tuple):
            still = numbered_like(still[0], content), still[1]
        images = label_images(content, name)
        layers, structures, moved = images[1:], content.structures, images[0]
    if isinstance(still, tuple):
        images = label_images(*still)
        if len(images) > 1:
            logger.warning("Structures of %s overlap: those that do draw and measure nothing.", still[1])
        still = images[0]
    return LabelFiles(still, moved, layers, structures, segmented)


def carried_file(
    segmented: SegmentedScan | None, transform: Transform, fixed: Geometry, folder: Path
) -> dict[str, str]:
    """Write the moving segments as they come to lie on the fixed grid, and return the file's name by what it is."""
    from DeepRegLib.saving import OUTPUT_FILES
    from DeepRegLib.segmentation.carrying import carried_scan, write_segmented

    if segmented is None:
        return {}
    name = OUTPUT_FILES["warped_segmentation"]
    carried, _ = carried_scan(segmented, transform, fixed)
    write_segmented(carried, folder / name)
    return {"warped_segmentation": name}


@dataclass(frozen=True, eq=False)
class _Segments:
    """What a .seg.nrrd holds, and its segments on the grid of their scan, each with a number of its own."""

    content: SegmentedScan
    structures: tuple[StructureSet, str]


def _read(scan_file: Path, scan: Image, path: Path | None) -> Image | tuple[StructureSet, str] | _Segments | None:
    from DeepRegLib.dicom.series import series_of
    from DeepRegLib.dicom.structure_files import CONTOURS, SEGMENTS, kind_of, read_structures
    from DeepRegLib.image import read_image
    from DeepRegLib.labels import label_map
    from DeepRegLib.naming import shown
    from DeepRegLib.segmentation.carrying import read_segmented
    from DeepRegLib.segmentation.seg_nrrd import SUFFIX

    if path is None:
        return None
    if path.name.lower().endswith(SUFFIX):
        content = read_segmented(path)
        return _Segments(content, (_on_scan(content, scan, shown(path)), shown(path)))
    if kind_of(path) in (SEGMENTS, CONTOURS):
        return read_structures(path, scan.geometry, series_of(scan_file)), shown(path)
    return label_map(read_image(path))


def _on_scan(content: SegmentedScan, scan: Image, name: str) -> StructureSet:
    """Return segments on the grid of their scan, whatever box they were saved in; the first of a number keeps it."""
    import numpy as np

    from DeepRegLib.dicom.structures import LARGEST_LABEL, Layers, Structure, StructureSet
    from DeepRegLib.transforms import LinearTransform, apply_to_labels

    placed, structures = Layers(scan.geometry.shape), []
    taken = {segment.label for segment in content.segments[0]}
    free = iter(sorted(set(range(1, LARGEST_LABEL + 1)) - {s.label for each in content.segments for s in each}))
    for number, (layer, segments) in enumerate(zip(content.layers, content.segments, strict=True)):
        there = apply_to_labels(LinearTransform.identity(), layer, scan.geometry).array
        for segment in segments:
            label = segment.label if number == 0 or segment.label not in taken else next(free)
            taken.add(label)
            mask = np.asarray(there == segment.label)
            if mask.any():
                placed.add(mask, label)
            red, green, blue = (round(255 * part) for part in segment.colour)
            structures.append(Structure(label, segment.name, (red, green, blue)))
    if not placed.arrays:
        raise InputError(
            f"{name} has no segment with a voxel on {scan.name}.", "Give the segmentation that was made on this scan."
        )
    return StructureSet(tuple(placed.arrays), scan.geometry, tuple(structures))
