"""segment(): atlases registered one after another to one scan that is prepared once, and their labels fused."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import MemoryShortageError, RegistrationError
from DeepRegLib.evaluation import dice, mean_dice
from DeepRegLib.image import Image, as_image
from DeepRegLib.labels import label_map
from DeepRegLib.monitoring import Cancel, Poll, Progress, poll_of
from DeepRegLib.naming import base_name
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.request import Request
from DeepRegLib.result import CHECK, FAILED, OK, Verdict
from DeepRegLib.segmentation.atlas_folder import read_atlases
from DeepRegLib.segmentation.fusion import agreement, fuse, gathered
from DeepRegLib.segmentation.request import DEFAULT_FUSION, DEFAULT_RECIPE, Atlas, SegmentRequest
from DeepRegLib.segmentation.result import AtlasRow, Segmentation, SegmentRow
from DeepRegLib.segmentation.segments import Segment, merged, segments_for
from DeepRegLib.transforms import apply_to_labels

if TYPE_CHECKING:
    from DeepRegLib.result import Registration

MICROLITRES = 1000.0
LITTLE_AGREEMENT = 0.5
FEW_ATLASES = 3
FUSING_SHARE = 0.05  # of the progress
MOST_NAMED = 6


def segment(
    scan: Image | str | Path,
    atlases: Sequence[Atlas] | str | Path,
    recipe: str | Path | Recipe = DEFAULT_RECIPE,
    *,
    fusion: str = DEFAULT_FUSION,
    device: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Segmentation:
    """Segment a scan by atlases.

    Parameters
    ----------
    scan
        Volume of any pixel type and grid, or the path to read it from. It is not modified.
    atlases
        Scans with label maps, or a folder that holds a folder an atlas with ``image.*`` and ``labels.*``.
    recipe
        How each atlas is registered: name of a shipped recipe, path of a TOML file, or a `Recipe`.
    fusion
        ``"majority"``, ``"local"``, ``"joint"`` or ``"staple"``; see `SegmentRequest`.
    device, seed, progress, cancel
        As of `DeepRegLib.register`.

    Returns
    -------
    Segmentation
        Labels, agreement, verdict, what became of each atlas. An atlas whose registration failed is left out and named.

    Raises
    ------
    InputError
        If the scan, an atlas, the recipe, the fusion or the device cannot be used.
    RegistrationError
        If no atlas could be registered, or memory runs out.
    CancelledError
        If `cancel` returned true.
    """
    given = read_atlases(atlases) if isinstance(atlases, str | Path) else tuple(atlases)
    request = SegmentRequest(as_image(scan), given, load_recipe(recipe), fusion, device, seed)
    return segment_request(request, progress=progress, cancel=cancel)


def segment_request(
    request: SegmentRequest, *, progress: Progress | None = None, cancel: Cancel | None = None
) -> Segmentation:
    """Segment a scan as a request asks; the rest is as in `segment`."""
    begun = time.perf_counter()
    carried = _carried(request, progress, cancel)
    return fused_request(request, carried, time.perf_counter() - begun, progress=progress, cancel=cancel)


def fused_request(
    request: SegmentRequest,
    carried: Sequence[Carried],
    seconds: float,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Segmentation:
    """Make a segmentation of the atlases that were brought onto its scan.

    Parameters
    ----------
    request
        What is asked for.
    carried
        What became of each of its atlases, in their order.
    seconds
        That this took.
    progress, cancel
        As of `DeepRegLib.register`.

    Raises
    ------
    RegistrationError
        If no atlas could be registered.
    CancelledError
        If `cancel` returned true.
    """
    clock, poll = _Clock(), poll_of(cancel)
    clock.timings["atlases"] = seconds
    used = [each for each in carried if each.labels is not None]
    if not used:
        reasons = "; ".join(f"{each.row.name}: {_first(each.row.verdict)}" for each in carried[:MOST_NAMED])
        raise RegistrationError(
            f"None of the {len(carried)} atlases could be registered ({reasons}).",
            "Check that they show the same anatomy as the scan.",
        )
    _tell(progress, "fuse", 1 - FUSING_SHARE)
    with clock.step("fuse"):
        labels, agreeing = _fused(request, used, poll)
    known, warnings = merged([atlas.segments for atlas in request.atlases])
    there = {int(label) for atlas in request.atlases for label in np.unique(atlas.labels.array) if label > 0}
    segments = segments_for(there, known)
    poll()
    rows = _segment_rows(segments, labels, agreeing, [each.labels for each in used if each.labels is not None])
    atlas_rows = tuple(_with_dice(each, labels) for each in carried)
    warnings = (*warnings, *_left_out_told(atlas_rows), *_not_found_told(rows))
    _tell(progress, "fuse", 1.0)
    return Segmentation(
        scan=request.scan,
        labels=labels,
        agreement=agreeing,
        segments=segments,
        rows=rows,
        atlases=atlas_rows,
        verdict=verdict_on_segments(rows, atlas_rows),
        recipe=request.recipe,
        fusion=request.fusion,
        warnings=warnings,
        decisions=tuple(f"{each.row.name}: {sentence}" for each in carried for sentence in each.decisions),
        timings=clock.timings,
        provenance=_provenance(request, poll),
    )


def verdict_on_segments(rows: Sequence[SegmentRow], atlases: Sequence[AtlasRow]) -> Verdict:
    """Judge a segmentation: failed where no segment was found, to be checked where atlases or segments are in doubt."""
    if all(row.agreement is None for row in rows):
        return Verdict(FAILED, ("No segment of the atlases lies on the scan.",))
    used = [row for row in atlases if row.used]
    doubts = []
    left_out = [row.name for row in atlases if not row.used]
    if left_out:
        doubts.append(f"{len(left_out)} of {len(atlases)} atlases could not be registered: {listed(left_out)}.")
    if len(used) < FEW_ATLASES:
        doubts.append(f"Only {len(used)} atlas{'es' if len(used) > 1 else ''} took part, which cannot tell much.")
    unsure = [row.name for row in used if row.verdict.level == CHECK]
    if 2 * len(unsure) > len(used):
        doubts.append(f"The registrations of most atlases are in doubt: {listed(unsure)}.")
    lost = [row.name for row in rows if row.agreement is None]
    if lost:
        doubts.append(f"Not found on the scan: {listed(lost)}.")
    weak = [row.name for row in rows if row.agreement is not None and row.agreement < LITTLE_AGREEMENT]
    if weak:
        doubts.append(f"The atlases agree little about {listed(weak)}.")
    return Verdict(CHECK, tuple(doubts)) if doubts else Verdict(OK, ())


class _Clock:
    def __init__(self) -> None:
        self.timings: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - begun


@dataclass(frozen=True, eq=False)
class Carried:
    """One atlas brought onto the scan; without its volumes where it could not be registered.

    Parameters
    ----------
    row
        What is told of it.
    image, labels, seen
        Its scan and its label map on the grid of the scan, and where it was scanned.
    decisions
        Of its registration.
    """

    row: AtlasRow
    image: Image | None = None
    labels: Image | None = None
    seen: Image | None = None
    decisions: tuple[str, ...] = field(default=())


def _carried(request: SegmentRequest, progress: Progress | None, cancel: Cancel | None) -> list[Carried]:
    from DeepRegLib.pipeline import prepare_fixed  # torch, which the client of an engine has not

    first = pair_of(request, request.atlases[0])
    _tell(progress, "prepare", 0.0)
    fixed = prepare_fixed(first, cancel=cancel)
    count = len(request.atlases)
    carried = []
    for number, atlas in enumerate(request.atlases):
        part = _part(progress, number, count)
        carried.append(carry(pair_of(request, atlas), atlas, fixed, part, cancel))
    return carried


def pair_of(request: SegmentRequest, atlas: Atlas) -> Request:
    """Return the registration of one atlas."""
    return Request(request.scan, atlas.image, request.recipe, device=request.device, seed=request.seed)


def carry(pair: Request, atlas: Atlas, fixed: Any, progress: Progress | None, cancel: Cancel | None) -> Carried:
    """Register one atlas to the scan, which is prepared, and bring it onto its grid."""
    from DeepRegLib.pipeline import align

    begun = time.perf_counter()
    try:
        found = align(pair, fixed, progress=progress, cancel=cancel)
    except MemoryShortageError:
        raise
    except RegistrationError as error:
        failed = Verdict(FAILED, (str(error),))
        return Carried(AtlasRow(atlas.name, False, failed, None, time.perf_counter() - begun))
    used = found.verdict.level != FAILED
    row = AtlasRow(atlas.name, used, found.verdict, None, time.perf_counter() - begun)
    if not used:
        return Carried(row, decisions=found.decisions)
    return Carried(row, found.warped, _labels(found, atlas, cancel), found.field_of_view, found.decisions)


def _labels(found: Registration, atlas: Atlas, cancel: Cancel | None) -> Image:
    poll = poll_of(cancel)
    return apply_to_labels(found.transform, label_map(atlas.labels), found.fixed.geometry, poll=poll)


def _part(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Return what shows the progress of one atlas as that of all."""
    if progress is None:
        return None
    begun = time.perf_counter()

    def report(stage: str, fraction: float, similarity: float | None, seconds_left: float | None) -> None:
        del stage, seconds_left
        elapsed = time.perf_counter() - begun
        others = (elapsed / fraction) * (count - number - fraction) if fraction > FUSING_SHARE else None
        whole = (1 - FUSING_SHARE) * (number + fraction) / count
        progress(f"atlas {number + 1} of {count}", whole, similarity, others)

    return report


def _tell(progress: Progress | None, stage: str, fraction: float) -> None:
    if progress is not None:
        progress(stage, fraction, None, None)


def _fused(request: SegmentRequest, used: Sequence[Carried], poll: Poll) -> tuple[Image, Image]:
    """Return label map and agreement on the scan's grid."""
    scan = request.scan
    images = [each.image for each in used if each.image is not None]
    labels = [each.labels for each in used if each.labels is not None]
    seen = [each.seen for each in used if each.seen is not None]
    found = np.zeros(scan.array.shape, dtype=np.int64)
    heard = np.any([each.array for each in seen], axis=0)
    agreeing = heard.astype(np.float32)  # outside of the box all say that nothing is there
    candidates = gathered(scan, images, labels, seen)
    if candidates is not None:
        fused = fuse(candidates, request.fusion, poll=poll)
        found[candidates.box] = fused
        agreeing[candidates.box] = agreement(candidates, fused)
    grid = scan.geometry
    return Image(with_small_numbers(found), grid, "segmentation"), Image(agreeing, grid, "agreement")


def with_small_numbers(labels: NDArray[np.int64]) -> NDArray[np.generic]:
    """Return a label map in the smallest type that holds its labels."""
    high = int(labels.max(initial=0))
    return labels.astype(np.uint8 if high < 256 else np.uint16 if high < 65536 else np.int32)


def _segment_rows(
    segments: Sequence[Segment], labels: Image, agreeing: Image, carried: Sequence[Image]
) -> tuple[SegmentRow, ...]:
    ml = labels.geometry.voxel_volume / MICROLITRES
    counts = sums_by_label(labels.array)
    shares = sums_by_label(labels.array, agreeing.array)
    each = [sums_by_label(image.array) for image in carried]
    rows = []
    for segment in segments:
        number, label = counts.get(segment.label, 0.0), segment.label
        sizes = [found[label] for found in each if label in found]
        mean = math.fsum(sizes) / len(sizes) if sizes else 0.0
        agreed = shares[label] / number if number else None
        rows.append(SegmentRow(label, segment.name, number * ml, mean * ml, agreed))
    return tuple(rows)


def sums_by_label(labels: NDArray[np.generic], weights: NDArray[np.generic] | None = None) -> dict[int, float]:
    """Return the voxels of each label, or the sum of what is given in them."""
    known, index = np.unique(labels, return_inverse=True)
    sums = np.bincount(index.ravel(), None if weights is None else weights.ravel(), minlength=len(known))
    return {int(label): float(total) for label, total in zip(known, sums, strict=True)}


def _with_dice(carried: Carried, fused: Image) -> AtlasRow:
    row = carried.row
    if carried.labels is None:
        return row
    overlap = mean_dice(dice(fused, carried.labels))
    return AtlasRow(row.name, row.used, row.verdict, None if math.isnan(overlap) else overlap, row.seconds)


def _left_out_told(rows: Sequence[AtlasRow]) -> tuple[str, ...]:
    return tuple(
        f"The atlas {row.name} was left out, because it could not be registered: {_first(row.verdict)}"
        for row in rows
        if not row.used
    )


def _not_found_told(rows: Sequence[SegmentRow]) -> tuple[str, ...]:
    lost = [row.name for row in rows if row.agreement is None]
    return (f"The result has no voxel of {listed(lost)}.",) if lost else ()


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list as words, and how many more there are."""
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _first(verdict: Verdict) -> str:
    return verdict.reasons[0] if verdict.reasons else "its registration failed."


def _provenance(request: SegmentRequest, poll: Poll) -> dict[str, Any]:
    from DeepRegLib.devices import choose_device
    from DeepRegLib.provenance import image_hash
    from DeepRegLib.versions import versions

    return {
        "versions": versions(),
        "device": str(choose_device(request.device)),
        "seed": request.seed,
        "scan_sha256": image_hash(request.scan, poll=poll),
        "atlases": [
            {
                "name": base_name(atlas.name),
                "image_sha256": image_hash(atlas.image, poll=poll),
                "labels_sha256": image_hash(atlas.labels, poll=poll),
            }
            for atlas in request.atlases
        ],
    }
