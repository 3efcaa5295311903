"""The atlases of one scan registered elsewhere: a step an atlas, on files; its field stays where it was found."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DeepRegLib.files.arrays import store_arrays, stored_arrays
from DeepRegLib.image import Image, read_image
from DeepRegLib.recipes import recipe_from_dict, recipe_to_dict
from DeepRegLib.result import Verdict
from DeepRegLib.segmentation.atlas_folder import read_atlas
from DeepRegLib.segmentation.request import DEFAULT_FUSION, Atlas, SegmentRequest
from DeepRegLib.segmentation.result import AtlasRow
from DeepRegLib.segmentation.segmenting import Carried, carry, pair_of

if TYPE_CHECKING:
    from DeepRegLib.preparation import PreparedScan

VOLUMES = ("image", "labels", "seen")


def arguments_of(request: SegmentRequest, scan: Path, files: tuple[str, Path, Path], to: Path) -> dict[str, Any]:
    """Return what `carry_atlas` is given, as plain values.

    Parameters
    ----------
    request
        What is asked for.
    scan
        The file it was read from.
    files
        Name, scan and label map of an atlas.
    to
        File that the atlas on the scan's grid goes into.
    """
    name, image, labels = files
    return {
        "scan": str(scan.absolute()),
        "atlas": [name, str(image.absolute()), str(labels.absolute())],
        "recipe": recipe_to_dict(request.recipe),
        "device": request.device,
        "seed": request.seed,
        "to": str(to),
    }


def carry_atlas(given: Mapping[str, Any]) -> dict[str, Any]:
    """Register an atlas to a scan and write it on the scan's grid; return what is told of it."""
    name, image, labels = given["atlas"]
    atlas = read_atlas(name, Path(image), Path(labels))
    shared = json.dumps({key: given[key] for key in ("scan", "recipe", "device", "seed")}, sort_keys=True)
    request, fixed = _prepared(shared, Path(given["scan"]).stat().st_mtime_ns)
    found = carry(pair_of(request, atlas), atlas, fixed, None, None)
    volumes = {key: volume.array for key in VOLUMES if (volume := getattr(found, key)) is not None}
    if volumes:
        store_arrays(given["to"], volumes)
    row = found.row
    return {
        "used": row.used,
        "level": row.verdict.level,
        "reasons": list(row.verdict.reasons),
        "seconds": row.seconds,
        "decisions": list(found.decisions),
        "path": given["to"] if volumes else "",
    }


def carried_of(answer: Mapping[str, Any], atlas: Atlas, scan: Image) -> Carried:
    """Return an atlas on the scan's grid, of what `carry_atlas` has answered and written."""
    verdict = Verdict(answer["level"], tuple(answer["reasons"]))
    row = AtlasRow(atlas.name, answer["used"], verdict, None, answer["seconds"])
    arrays = stored_arrays(answer["path"]) if answer["path"] else {}
    image, labels, seen = (Image(arrays[key], scan.geometry, key) if key in arrays else None for key in VOLUMES)
    return Carried(row, image, labels, seen, tuple(answer["decisions"]))


@functools.lru_cache(maxsize=1)
def _prepared(shared: str, written: int) -> tuple[SegmentRequest, PreparedScan]:
    """Prepare the scan, once in each process."""
    from DeepRegLib.pipeline import prepare_fixed

    del written  # so that a new file of that name is read
    given = json.loads(shared)
    scan = read_image(given["scan"])
    nobody = Atlas("", scan, scan.with_array(scan.array != scan.array), ())
    request = SegmentRequest(
        scan, (nobody,), recipe_from_dict(given["recipe"]), DEFAULT_FUSION, given["device"], given["seed"]
    )
    return request, prepare_fixed(pair_of(request, nobody))
