"""How often the pose is found: any rotation, far shifts, a part of the field of view cut off."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import DeepRegError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.preprocessing import foreground_mask, isotropic
from DeepRegLib.transforms import LinearTransform, apply_to_image
from Testing.benchmarks.cases import find_cases, preferred
from Testing.benchmarks.options import Options
from Testing.benchmarks.tables import Table, nothing
from Testing.synthetic import rotation

TITLE = "Poses found"
SCANS = ("head_t1_freesurfer_sub01_sub02", "abdomen_ct_totalseg_amos0336", "brain_t1_nirep_na02_na03")
SPACING = 2.0
LARGEST_SHIFT = 150.0
LARGEST_CUT = 0.3
NEAR_MM = 5.0
SHARE_TO_FIND = 48 / 50
POINTS = 2000


def measure(options: Options) -> Table:
    """Register copies of three scans, each moved at random, and count those that end near the truth."""
    cases = preferred(find_cases(options.data, options.only), SCANS)
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    scans = [fine_enough(case.images()[0], case.name) for case in cases]
    places = [foreground_points(scan) for scan in scans]
    rows = []
    for number in range(options.count):
        which = number % len(scans)
        rows.append({"pose": number, "scan": scans[which].name} | try_pose(scans[which], places[which], number))
        print(f"  pose {number}: {rows[-1]['error mm']:.2f} mm, {rows[-1]['seconds']:.1f} s", flush=True)
    found = sum(row["error mm"] < NEAR_MM for row in rows)
    errors, seconds = (np.array([row[key] for row in rows]) for key in ("error mm", "seconds"))
    summary = [
        f"{found}/{len(rows)} poses within {NEAR_MM:g} mm, median error {np.median(errors):.2f} mm, "
        f"{np.median(seconds):.1f} s a run."
    ]
    columns = ("pose", "scan", "angle", "shift mm", "cut", "error mm", "seconds", "verdict")
    return Table(TITLE, columns, rows, summary, found >= SHARE_TO_FIND * len(rows))


def fine_enough(image: Image, name: str) -> Image:
    """Return a scan of 2 mm voxels, or its own where they are larger, in its own whole numbers."""
    coarse = isotropic(image, max(SPACING, min(image.geometry.spacing)))
    values = np.rint(coarse.array) if image.array.dtype.kind in "iu" else coarse.array
    return Image(values.astype(image.array.dtype), coarse.geometry, name)


def foreground_points(scan: Image) -> NDArray[np.float64]:
    """Return points of the anatomy, ``(n, 3)``, LPS mm."""
    inside = np.argwhere(foreground_mask(scan).array)[:, ::-1]
    return scan.geometry.to_world(inside[:: max(1, len(inside) // POINTS)])


def try_pose(scan: Image, points: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Move a scan at random, register it back and return how far its points end from where they belong."""
    rng = np.random.default_rng(seed)
    truth, angle, shift = random_pose(rng, points.mean(0))
    cut = float(rng.uniform(0, LARGEST_CUT))
    moved = apply_to_image(truth.inverse(), scan, moved_grid(scan.geometry, truth, cut, rng))
    row: dict[str, Any] = {"angle": angle, "shift mm": shift, "cut": cut, "error mm": np.inf, "verdict": "error"}
    start = time.perf_counter()
    try:
        result = register(scan, Image(moved.array, moved.geometry, "moved"), recipe="rigid")
        distance = result.transform.apply_to_points(points) - truth.apply_to_points(points)
        row |= {"error mm": float(np.linalg.norm(distance, axis=1).mean()), "verdict": result.verdict.level}
    except DeepRegError as error:
        row["verdict"] = error.message
    return row | {"seconds": time.perf_counter() - start}


def random_pose(rng: np.random.Generator, centre: NDArray[np.float64]) -> tuple[LinearTransform, float, float]:
    """Return a rotation drawn evenly from all, about `centre`, with a shift; its angle in degrees and shift in mm."""
    x, y, z, w = (q := rng.normal(size=4)) / np.linalg.norm(q)
    angle = 2 * float(np.arccos(np.clip(abs(w), 0, 1)))
    axis = np.array([x, y, z]) * np.sign(w) / max(np.linalg.norm([x, y, z]), 1e-12)
    direction = rng.normal(size=3)
    shift = float(rng.uniform(0, LARGEST_SHIFT))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(angle * axis)
    matrix[:3, 3] = centre + shift * direction / np.linalg.norm(direction) - matrix[:3, :3] @ centre
    return LinearTransform(matrix), float(np.degrees(angle)), shift


def moved_grid(geometry: Geometry, truth: LinearTransform, cut: float, rng: np.random.Generator) -> Geometry:
    """Return a cube about the moved scan's middle that lacks a share `cut` of its slices at one of its six faces."""
    step = geometry.spacing[0]
    size = np.full(3, int(np.ceil(geometry.extent.max() / step)))
    origin = truth.apply_to_points(geometry.centre) - step * (size - 1) / 2
    axis, at_start = int(rng.integers(3)), bool(rng.integers(2))
    lost = round(cut * size[axis])
    origin[axis] += step * lost * at_start
    size[axis] -= lost
    x, y, z = origin
    return Geometry((int(size[0]), int(size[1]), int(size[2])), (step,) * 3, (float(x), float(y), float(z)))
