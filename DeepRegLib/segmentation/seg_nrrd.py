"""Slicer's segmentation files (.seg.nrrd): label maps, one a layer, with the names and colours of their segments.

Fractional segments are read as label maps too: where they hold half of a voxel at least. `fractional` has them whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.guarding import guarded
from DeepRegLib.image import Image, from_raster, grid_of, read_raster, to_sitk, write_with_itk
from DeepRegLib.labels import label_map
from DeepRegLib.naming import shown
from DeepRegLib.segmentation.fractional import fractions_of, is_fractional
from DeepRegLib.segmentation.seg_nrrd_header import keys_of, layered_segments, write_stack
from DeepRegLib.segmentation.segments import Segment

SUFFIX = ".seg.nrrd"
MOST_SEGMENTS = 65535


def write_segmentation(labels: Image, segments: Sequence[Segment], path: str | Path) -> None:
    """Write a label map with the names, colours and terminology of its segments, whole or not at all.

    Parameters
    ----------
    labels
        Label map of whole numbers from 0 to 65535.
    segments
        What its labels are.
    path
        Ends in ``.seg.nrrd``.

    Raises
    ------
    InputError
        If the file name has another ending, or a label does not fit.
    OutputError
        If the file cannot be written.
    """
    target = _target(path)
    picture = to_sitk(labels.with_array(labels.array.astype(np.uint8 if _largest_label(labels) < 256 else np.uint16)))
    for key, value in keys_of(labels.geometry, [segments]).items():
        picture.SetMetaData(key, value)
    write_atomically(target, lambda temporary: write_with_itk(temporary, SUFFIX, partial(_write, picture)))


def write_layers(layers: Sequence[Image], segments: Sequence[Sequence[Segment]], path: str | Path) -> None:
    """Write overlapping segments: label maps of one grid, and what the labels of each are.

    Parameters
    ----------
    layers
        At least one label map of whole numbers from 0 to 65535, all on one grid.
    segments
        What the labels of each are.
    path
        Ends in ``.seg.nrrd``.

    Raises
    ------
    InputError
        If the file name has another ending, the grids differ, or a label does not fit.
    OutputError
        If the file cannot be written.
    """
    if len(layers) == 1:
        write_segmentation(layers[0], segments[0], path)
        return
    target, grid = _target(path), layers[0].geometry
    if not all(layer.geometry.is_close(grid) for layer in layers):
        raise InputError(f"The layers of {layers[0].name} lie on different grids.", "Bring them onto one grid.")
    dtype = np.dtype(np.uint8 if max(map(_largest_label, layers)) < 256 else np.uint16)
    voxels = np.stack([layer.array.astype(dtype) for layer in layers], axis=-1)
    write_stack(target, grid, voxels, keys_of(grid, segments))


def read_layers(path: str | Path) -> tuple[tuple[Image, ...], tuple[tuple[Segment, ...], ...]]:
    """Read a ``.seg.nrrd`` of any number of layers, or any label map.

    Returns
    -------
    tuple
        The label maps, all on one grid, and of each the segments that the file names, labels ascending.

    Raises
    ------
    InputError
        If it cannot be read, a voxel is not a whole number, or a segment lies in a layer that is not there.
    """
    source = Path(path)
    with guarded(source):
        raster, name = read_raster(source), shown(source)
        if is_fractional(raster.marks):
            fractions = fractions_of(raster, name)
            return fractions.label_maps, tuple((segment,) for segment in fractions.segments)
        if not (raster.channels > 1 and source.name.lower().endswith(SUFFIX)):
            return (label_map(from_raster(raster, name)),), layered_segments(raster.marks, 1)
        grid = grid_of(raster, name)
        layers = [np.ascontiguousarray(raster.array[..., n]) for n in range(raster.channels)]
        segments = layered_segments(raster.marks, raster.channels)
        return tuple(label_map(Image(layer, grid, name)) for layer in layers), segments


def read_segmentation(path: str | Path) -> tuple[Image, tuple[Segment, ...]]:
    """Read a label map from any file that `read_image` takes, and what a ``.seg.nrrd`` says of its segments.

    Returns
    -------
    tuple
        The label map, and the segments that the file names, labels ascending; none for a plain label map.

    Raises
    ------
    InputError
        If it cannot be read, has several layers, or a voxel is not a whole number.
    """
    source = Path(path)
    with guarded(source):
        raster = read_raster(source)
        if is_fractional(raster.marks):
            fractions = fractions_of(raster, shown(source))
            return fractions.merged, fractions.segments
        labels = label_map(from_raster(raster, shown(source)))
        return labels, layered_segments(raster.marks, 1)[0]


def _target(path: str | Path) -> Path:
    target = Path(path)
    if not target.name.lower().endswith(SUFFIX):
        raise InputError(f"{shown(target.name)} is no name for a segmentation.", f"End it in {SUFFIX}.")
    return target


def _largest_label(labels: Image) -> int:
    low, high = int(labels.array.min(initial=0)), int(labels.array.max(initial=0))
    if low < 0 or high > MOST_SEGMENTS:
        raise InputError(f"{labels.name} has labels from {low} to {high}.", f"Number them from 0 to {MOST_SEGMENTS}.")
    return high


def _write(picture: sitk.Image, name: str) -> None:
    sitk.WriteImage(picture, name, useCompression=True)
