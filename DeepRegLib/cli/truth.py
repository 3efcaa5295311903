"""A transform file beside that of the truth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any


def measure_truth(
    transform: Path, truth: Path, reference: Path, mask: Path | None, error_map_file: Path | None
) -> dict[str, Any]:
    """Return the numbers of a comparison, and write the map if a file is named.

    Raises
    ------
    InputError
        If a file cannot be read, or the mask lies on another grid or is empty.
    OutputError
        If the map cannot be written.
    """
    from DeepRegLib.cli.transform_files import read_between
    from DeepRegLib.evaluation.truth import error_map
    from DeepRegLib.image import read_image, write_image
    from DeepRegLib.masks import check_mask_grid
    from DeepRegLib.preprocessing import foreground_mask

    fixed = read_image(reference)
    where = foreground_mask(fixed) if mask is None else read_image(mask)
    check_mask_grid(where, fixed)
    chains = [read_between(path, (reference, fixed.geometry), (None, None)) for path in (transform, truth)]
    picture, numbers = error_map(chains[0], chains[1], where)
    if error_map_file is not None:
        write_image(picture, error_map_file)
    return asdict(numbers)
