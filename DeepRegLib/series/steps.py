"""The steps of a template as pieces of work on files, so that any process that sees the folder can do one.

What goes in and comes back is plain: paths, numbers, names. Sums of groups are added up, so that a mean of many is
made by a tree, and nobody holds more than the share of one group.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device
from DeepRegLib.files.arrays import store_arrays, stored_arrays
from DeepRegLib.geometry import geometry_from
from DeepRegLib.image import read_image, write_image
from DeepRegLib.labels import label_map
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.motion.fields import common_grid
from DeepRegLib.provenance import image_hash
from DeepRegLib.recipes import recipe_from_dict
from DeepRegLib.result import StartMeasures, Verdict
from DeepRegLib.series.building import finished_member, shape_of, sharpened
from DeepRegLib.series.fields import Sums, field_sums, mean_of, sums_of, without_mean
from DeepRegLib.series.measures import points_inside
from DeepRegLib.series.members import UNJUDGED, Reference, Running, prepared_reference, register_member
from DeepRegLib.series.passing import store_transform, stored_transform
from DeepRegLib.series.stores import FolderStore, Found
from DeepRegLib.series.voting import elected, votes_of
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    invert,
    parts_of,
)

Arguments = Mapping[str, Any]
Answer = dict[str, Any]


def look(given: Arguments) -> Answer:
    """Return the hash of a member's voxels and grid."""
    return {"sha256": image_hash(read_image(given["image"]))}


def register(given: Arguments) -> Answer:
    """Register a member to the present template; its transform is kept for the next steps, and for another run."""
    running = _running(given)
    starts = [stored_transform(given["start"])] if given["start"] else []
    known = UNJUDGED if given["known"] == "unjudged" else _found_of(given["known"])
    found = register_member(
        running,
        _reference(given["template"], os.stat(given["template"]).st_mtime_ns, _settings(given)),  # noqa: PTH116
        read_image(given["image"]),
        given["name"],
        starts,
        near=given["near"],
        known=known,
        progress=None,
    )
    transform = found.transform if found.registered else None
    if transform is not None:
        store_transform(transform, given["to"])
    return {
        "level": found.verdict.level,
        "reasons": list(found.verdict.reasons),
        "seconds": found.seconds,
        "start": None if found.start is None else asdict(found.start),
        "structure": found.structure,
        "path": given["to"] if found.registered else "",
        **({} if transform is None else _about(transform)),
    }


def add_fields(given: Arguments) -> Answer:
    """Write the weighted sum of some members' displacements, and of their squared lengths."""
    members = ((stored_transform(member["transform"]), member["weight"]) for member in given["members"])
    total, squares = field_sums(members, geometry_from(given["grid"]), never_cancel)
    store_arrays(given["to"], {"total": total, "squares": squares})
    return {}


def add_images(given: Arguments) -> Answer:
    """Write what some members add to the mean image."""
    members = ((read_image(m["image"]), stored_transform(m["transform"]), m["weight"]) for m in given["members"])
    sums = sums_of(members, geometry_from(given["grid"]), never_cancel)
    store_arrays(given["to"], {"total": sums.total, "squares": sums.squares, "weight": sums.weight})
    return {}


def add_labels(given: Arguments) -> Answer:
    """Write the votes of some members for each label at each voxel."""
    members = (
        (label_map(read_image(member["labels"])), stored_transform(member["transform"]), member["weight"])
        for member in given["members"]
    )
    votes = votes_of(members, geometry_from(given["grid"]), never_cancel)
    store_arrays(given["to"], {str(label): array for label, array in votes.items()})
    return {}


def add(given: Arguments) -> Answer:
    """Write the sum of what other steps have written."""
    sums = dict[str, NDArray[np.float64]]()
    for path in given["parts"]:
        for name, array in stored_arrays(path).items():
            sums[name] = sums[name] + array if name in sums else array
    store_arrays(given["to"], sums)
    return {}


def common(given: Arguments) -> Answer:
    """Write what undoes the mean displacement; return its mean length in mm."""
    field, grid = stored_arrays(given["sum"])["total"].astype(np.float32), geometry_from(given["grid"])
    device = str(choose_device(given["device"]))
    store_transform(invert(DisplacementField(field, grid), device=device), given["to"])
    return {"moved": float(np.linalg.norm(field, axis=-1).mean())}


def free(given: Arguments) -> Answer:
    """Write a member's transform freed of what all have in common."""
    grid = geometry_from(given["grid"])
    freed = without_mean(stored_transform(given["back"]), stored_transform(given["transform"]), grid, never_cancel)
    store_transform(freed, given["to"])
    return _about(freed)


def mean(given: Arguments) -> Answer:
    """Write the mean image and its deviation."""
    arrays, grid = stored_arrays(given["sum"]), geometry_from(given["grid"])
    made = mean_of(Sums(arrays["total"], arrays["squares"], arrays["weight"]), grid, "template")
    write_image(sharpened(made.image) if given["sharpen"] else made.image, given["to"])
    write_image(made.spread, given["spread"])
    return {}


def shape(given: Arguments) -> Answer:
    """Write how the members' shapes vary; return how far their mean lies from the template, mm."""
    arrays = stored_arrays(given["sum"])
    spread, bias = shape_of(arrays["total"], arrays["squares"], geometry_from(given["grid"]))
    write_image(spread, given["to"])
    return {"bias": bias}


def most_votes(given: Arguments) -> Answer:
    """Write the label with the most weight at each voxel; of equal ones the smaller."""
    votes = {int(label): array for label, array in stored_arrays(given["sum"]).items()}
    write_image(elected(votes, geometry_from(given["grid"])), given["to"])
    return {}


def finish(given: Arguments) -> Answer:
    """Write a member's final transforms; return what a `MemberRow` says of them."""
    running, transform = _running(given), stored_transform(given["transform"])
    anchor = _reference(given["template"], os.stat(given["template"]).st_mtime_ns, _settings(given))  # noqa: PTH116
    points = points_inside(anchor.foreground, running.seed)
    device = str(choose_device(running.device))
    member = read_image(given["image"]).geometry
    inverse, measured = finished_member(transform, anchor, member, running, device, points)
    running.store.finish(given["name"], transform, inverse)
    return dict(zip(("displacement", "folds", "inverse_folds", "inverse_error"), measured, strict=True))


STEPS: Mapping[str, Callable[[Arguments], Answer]] = {
    step.__name__: step
    for step in (
        *(look, register, add_fields, add_images, add_labels, add),
        *(common, free, mean, shape, most_votes, finish),
    )
}


def _running(given: Arguments) -> Running:
    return Running(
        recipe_from_dict(given["recipe"]),
        given["device"],
        given["seed"],
        FolderStore(Path(given["folder"]), Path(given["finals"])),
        None,
        None,
    )


def _settings(given: Arguments) -> str:
    return json.dumps({name: given[name] for name in ("recipe", "device", "seed", "folder", "finals")}, sort_keys=True)


@functools.lru_cache(maxsize=1)
def _reference(path: str, written: int, settings: str) -> Reference:
    """Prepare what all members of a pass are registered to, once in each process."""
    del written  # so that a new file of that name is read
    return prepared_reference(replace(read_image(path), name="template"), _running(json.loads(settings)))


def _found_of(table: Mapping[str, Any] | None) -> Found | None:
    if table is None:
        return None
    start = None if table["start"] is None else StartMeasures(**table["start"])
    return Found(None, Verdict(table["level"], tuple(table["reasons"])), table["seconds"], start, table["structure"])


def _about(transform: Transform) -> Answer:
    """Return of a transform what is small: the matrix of a linear one, else the grid of its first field."""
    if isinstance(transform, LinearTransform):
        return {"matrix": transform.matrix.tolist(), "grid": None}
    fields = [part for part in parts_of(transform)[:1] if isinstance(part, DisplacementField)]
    return {"matrix": None, "grid": asdict(common_grid(fields, fields[0].geometry)) if fields else None}
