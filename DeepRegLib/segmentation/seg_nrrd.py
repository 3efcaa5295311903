"""Slicer's segmentation files (.seg.nrrd): label maps, one a layer, with the names and colours of their segments.

The keys are those of Slicer's ``vtkMRMLSegmentationStorageNode``.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.image import Image, from_raster, grid_of, read_raster, to_sitk, write_with_itk
from DeepRegLib.labels import label_map
from DeepRegLib.naming import shown
from DeepRegLib.segmentation.segments import LONGEST_NAME, Colour, Segment, colour_of

SUFFIX = ".seg.nrrd"
TERMINOLOGY = "TerminologyEntry:"
KEY = re.compile(r"Segment(\d+)_(\w+)")
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
    for key, value in _keys(labels.geometry, [segments]).items():
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
    dtype = np.dtype(np.uint8 if max(map(_largest_label, layers)) < 256 else "<u2")
    voxels = np.stack([layer.array.astype(dtype) for layer in layers], axis=-1)
    header = _header(grid, len(layers), dtype, _keys(grid, segments))

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            stream.write(header)
            with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0, filename="") as packed:
                packed.write(voxels.data)

    write_atomically(target, write)


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
        if not (raster.channels > 1 and source.name.lower().endswith(SUFFIX)):
            return (label_map(from_raster(raster, name)),), _layered_segments(raster.marks, 1)
        grid = grid_of(raster, name)
        layers = [np.ascontiguousarray(raster.array[..., n]) for n in range(raster.channels)]
        segments = _layered_segments(raster.marks, raster.channels)
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
        labels = label_map(from_raster(raster, shown(source)))
        return labels, _layered_segments(raster.marks, 1)[0]


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


def _header(grid: Geometry, layers: int, dtype: np.dtype[Any], keys: Mapping[str, str]) -> bytes:
    """Return the header of a file of several layers, as Slicer writes it: https://teem.sourceforge.net/nrrd."""
    sides = (grid.index_to_world[:3, :3].T).tolist()
    fields = {
        "type": "uint8" if dtype.itemsize == 1 else "uint16",
        "dimension": "4",
        "space": "left-posterior-superior",
        "sizes": " ".join(str(n) for n in (layers, *grid.size)),
        "space directions": " ".join(["none", *(_vector(side) for side in sides)]),
        "kinds": "list domain domain domain",
        "endian": "little",
        "encoding": "gzip",
        "space origin": _vector(list(grid.origin)),
    }
    lines = ["NRRD0004", *(f"{key}: {value}" for key, value in fields.items())]
    lines += [f"{key}:={value}" for key, value in keys.items()]
    return ("\n".join(lines) + "\n\n").encode()


def _vector(numbers: Sequence[float]) -> str:
    return "(" + ",".join(repr(float(number)) for number in numbers) + ")"


def _write(picture: sitk.Image, name: str) -> None:
    sitk.WriteImage(picture, name, useCompression=True)


def _keys(grid: Geometry, segments: Sequence[Sequence[Segment]]) -> dict[str, str]:
    extent = " ".join(f"0 {n - 1}" for n in grid.size)
    keys = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    listed = [(layer, segment) for layer, each in enumerate(segments) for segment in each]
    for number, (layer, segment) in enumerate(listed):
        start = f"Segment{number}_"
        keys |= {
            f"{start}ID": f"Segment_{segment.label}" + (f"_{layer}" if layer else ""),
            f"{start}Name": _line(segment.name),
            f"{start}NameAutoGenerated": "0",
            f"{start}Color": " ".join(f"{part:.6g}" for part in segment.colour),
            f"{start}ColorAutoGenerated": "0",
            f"{start}Extent": extent,
            f"{start}LabelValue": str(segment.label),
            f"{start}Layer": str(layer),
        }
        if segment.terminology:
            keys[f"{start}Tags"] = f"{TERMINOLOGY}{_line(segment.terminology)}|"
    return keys


def _line(text: str) -> str:
    """Return a text that cannot end its line of the header."""
    return "".join(" " if not character.isprintable() else character for character in text).strip()


def _layered_segments(marks: Mapping[str, str], layers: int) -> tuple[tuple[Segment, ...], ...]:
    found: dict[int, dict[str, str]] = {}
    for key, value in marks.items():
        match = KEY.fullmatch(key)
        if match is not None:
            found.setdefault(int(match[1]), {})[match[2]] = _text(value)
    segments: list[dict[int, Segment]] = [{} for _ in range(layers)]
    for values in found.values():
        label = values.get("LabelValue", "")
        if label.isdecimal() and int(label) > 0:
            segments[_layer(values, layers)][int(label)] = _segment(values, int(label))
    return tuple(tuple(each[label] for label in sorted(each)) for each in segments)


def _segment(values: Mapping[str, str], label: int) -> Segment:
    name = values.get("Name", "")[:LONGEST_NAME] or f"Label {label}"
    return Segment(label, name, _colour(values.get("Color", ""), label), _terminology(values))


def _layer(values: Mapping[str, str], layers: int) -> int:
    if layers == 1:
        return 0
    text = values.get("Layer", "0")
    if not (text.isdecimal() and int(text) < layers):
        raise InputError(
            f"The segment {values.get('Name', '')!r} lies in the layer {text!r}, of {layers}.", "Save the file again."
        )
    return int(text)


def _text(value: str) -> str:
    """Return a value of a header, which is read byte by byte, as the UTF-8 that Slicer writes."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")


def _colour(text: str, label: int) -> Colour:
    try:
        red, green, blue = (min(max(float(part), 0.0), 1.0) for part in text.split())
    except ValueError:
        return colour_of(label)
    return red, green, blue


def _terminology(values: Mapping[str, str]) -> str:
    tags = [tag for tag in values.get("Tags", "").split("|") if tag.startswith(TERMINOLOGY)]
    return tags[0].removeprefix(TERMINOLOGY) if tags else ""
