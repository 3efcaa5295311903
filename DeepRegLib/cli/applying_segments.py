"""`deepreg apply` to a segmentation (.seg.nrrd): all layers, with names, colours and codes of their segments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from DeepRegLib.cli.session import Session, check_output_file, reading
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from DeepRegLib.image import Image
    from DeepRegLib.segments import Segment

SUFFIX = ".seg.nrrd"
MICROLITRES = 1000.0


def is_for_segments(data: Path, output: Path) -> bool:
    """Tell whether a segmentation is wanted of a segmentation."""
    return data.name.lower().endswith(SUFFIX) and output.name.lower().endswith(SUFFIX)


def apply_to_segments(
    screen: Session, transform: Path, data: Path, output: Path, reference: Path | None, *, smooth: bool
) -> None:
    """Bring every layer onto the fixed grid, and tell the volume of each segment before and after.

    Raises
    ------
    InputError
        If there is no fixed image, or a file cannot be read.
    """
    from DeepRegLib.cli.transform_files import read_between
    from DeepRegLib.image import read_image
    from DeepRegLib.labels import lost_labels_message
    from DeepRegLib.segmentation.seg_nrrd import read_layers, write_layers
    from DeepRegLib.transforms import apply_to_labels

    check_output_file(output, (SUFFIX,), transform, data, reference)
    if reference is None:
        raise InputError(f"{data} needs a grid to be brought onto.", "Give --reference with the fixed image.")
    with reading(screen):
        grid = read_image(reference).geometry
        layers, segments = read_layers(data)
        given = read_between(transform, (reference, grid), (data, layers[0].geometry))
    carried = [apply_to_labels(given, layer, grid, smooth=smooth) for layer in layers]
    named = [_all_named(layer, each) for layer, each in zip(layers, segments, strict=True)]
    write_layers(carried, named, output)
    screen.wrote(output)
    for layer, result in zip(layers, carried, strict=True):
        for warning in lost_labels_message(layer, result):
            screen.warn(warning)
    places = [(number, segment) for number, each in enumerate(named) for segment in each]
    rows = [_row(number, segment, layers[number], carried[number]) for number, segment in places]
    screen.emit({"output": output.name, "size": list(grid.size), "spacing": list(grid.spacing), "segments": rows})
    for row in rows:
        screen.say(f"{row['name']}: {row['volume_before_ml']:.3f} ml, now {row['volume_after_ml']:.3f} ml")
    screen.say(f"Written to {output}, {len(layers)} layers")


def _all_named(labels: Image, known: Sequence[Segment]) -> list[Segment]:
    """Return the segments of a layer, and one for each label that the file does not name."""
    import numpy as np

    from DeepRegLib.segments import unnamed

    named = {segment.label: segment for segment in known}
    for label in np.unique(labels.array).tolist():
        if label > 0:
            named.setdefault(int(label), unnamed(int(label)))
    return [named[label] for label in sorted(named)]


def _row(layer: int, segment: Segment, before: Image, after: Image) -> dict[str, Any]:
    return {
        "name": segment.name,
        "label": segment.label,
        "layer": layer,
        "volume_before_ml": _volume(before, segment.label),
        "volume_after_ml": _volume(after, segment.label),
    }


def _volume(labels: Image, label: int) -> float:
    import numpy as np

    return int(np.count_nonzero(labels.array == label)) * labels.geometry.voxel_volume / MICROLITRES
