"""Small synthetic grids, phantoms and transforms: the same anatomy in the world, whatever the grid.

Everything here is deterministic: the same arguments give the same numbers.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms import DisplacementField, LinearTransform

ORIENTATIONS = ("RAS", "LAS", "LPS", "oblique", "anisotropic")

# Where every synthetic grid and phantom is centred (LPS, mm); away from zero so that a lost origin shows.
CENTRE = np.array([12.0, -25.0, 40.0])


def rotation(vector: ArrayLike) -> NDArray[np.float64]:
    """Return the ``(3, 3)`` rotation about `vector` by its length in radians (Rodrigues)."""
    axis = np.asarray(vector, dtype=np.float64)
    angle = float(np.linalg.norm(axis))
    if angle == 0:
        return np.eye(3)
    x, y, z = axis / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def geometry_in(
    orientation: str = "LPS", size: tuple[int, int, int] = (24, 26, 22), spacing: float | tuple[float, ...] = 2.0
) -> Geometry:
    """Return a grid in one of `ORIENTATIONS`, centred on `CENTRE`.

    "anisotropic" keeps about the same field of view with voxels 0.7, 1 and 2 times as wide as `spacing`.
    """
    step = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,))
    count = np.array(size)
    if orientation == "anisotropic":
        factors = np.array([0.7, 1.0, 2.0])
        count, step = np.maximum(np.round(count / factors), 2).astype(int), step * factors
    axes = {"LPS": np.eye(3), "RAS": np.diag([-1.0, -1.0, 1.0]), "LAS": np.diag([1.0, -1.0, 1.0])}
    direction = axes.get(orientation, np.eye(3))
    if orientation == "oblique":
        direction = rotation([0.35, -0.25, 0.45]) @ np.diag([-1.0, 1.0, 1.0])
    if orientation not in ORIENTATIONS:
        raise ValueError(orientation)
    origin = CENTRE - direction @ (step * (count - 1) / 2)
    return Geometry(
        (int(count[0]), int(count[1]), int(count[2])),
        (float(step[0]), float(step[1]), float(step[2])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(float(d) for d in direction.ravel()),
    )


def blobs(geometry: Geometry, seed: int = 0, radius: float = 18.0) -> Image:
    """Return a brain-like phantom, 0 to about 1000, float32: an ellipsoid of `radius` mm with smooth texture in it."""
    return Image(blob_values(geometry.points(), seed, radius).astype(np.float32), geometry, f"phantom {seed}")


def blob_values(points: NDArray[np.float64], seed: int = 0, radius: float = 18.0) -> NDArray[np.float64]:
    """Return the phantom of `blobs` at points of shape ``(..., 3)``, LPS mm: exact at any place, without a grid."""
    rng = np.random.default_rng(seed)
    offset = (points - CENTRE) / radius
    shape = np.array([0.85, 1.0, 0.8])
    distance = np.linalg.norm(offset / shape, axis=-1)
    values = 500 / (1 + np.exp((distance - 1) * 14))
    for _ in range(24):
        place = rng.normal(scale=0.38, size=3) * shape
        width = rng.uniform(0.18, 0.4)
        height = rng.uniform(-260, 380)
        values += height * np.exp(-0.5 * np.sum((offset - place) ** 2, axis=-1) / width**2)
    return np.clip(values, 0, None)


def anatomy(geometry: Geometry, seed: int = 0) -> Image:
    """Return an ellipsoid of uneven tissue in air: like no turned copy of itself."""
    points = geometry.points() - geometry.centre
    radii = 0.38 * geometry.extent
    noise = sitk.GetImageFromArray(np.random.default_rng(seed).normal(size=geometry.shape))
    tissue = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, 2.0))
    inside = np.sum((points / radii) ** 2, axis=-1) < 1
    values = np.where(inside, 100 + 40 * tissue / tissue.std(), 0).clip(0)
    return Image(values.astype(np.float32), geometry, "anatomy")


def label_map(geometry: Geometry, seed: int = 0, labels: tuple[int, ...] = (2, 7, 250)) -> Image:
    """Return touching and nested label regions defined in the world, uint8, 0 outside."""
    rng = np.random.default_rng(seed)
    offset = geometry.points() - CENTRE
    result = np.zeros(geometry.shape, dtype=np.uint8)
    for label in labels:
        place, size = rng.normal(scale=5, size=3), rng.uniform(7, 12)
        result[np.linalg.norm(offset - place, axis=-1) < size] = label
    return Image(result, geometry, f"labels {seed}")


def random_linear(
    seed: int = 0, angle: float = 20.0, shift: float = 5.0, scale: float = 0.0, shear: float = 0.0
) -> LinearTransform:
    """Return a rotation by `angle` degrees about `CENTRE`, a shift in mm, and where asked scales and shears."""
    rng = np.random.default_rng(seed)
    axis, move = rng.normal(size=3), rng.normal(size=3)
    matrix = np.eye(4)
    stretch = np.diag(1 + scale * rng.uniform(-1, 1, size=3)) + shear * np.triu(rng.uniform(-1, 1, size=(3, 3)), 1)
    matrix[:3, :3] = rotation(np.deg2rad(angle) * axis / np.linalg.norm(axis)) @ stretch
    matrix[:3, 3] = CENTRE + shift * move / np.linalg.norm(move) - matrix[:3, :3] @ CENTRE
    return LinearTransform(matrix)


def smooth_field(geometry: Geometry, amplitude_mm: float = 3.0, seed: int = 0) -> DisplacementField:
    """Return a smooth field without folds and with zero displacement at the border, float64.

    The flow of a stationary velocity of `amplitude_mm` at its largest, so even a strong field has an inverse; the
    velocity is one of the world, so different grids of one field of view get nearly the same field.
    """
    rng = np.random.default_rng(seed)
    span = np.array(geometry.size) - 1
    points = geometry.points()
    index = geometry.to_index(points)
    window = np.prod(np.sin(np.pi * np.clip(index / np.maximum(span, 1), 0, 1)) ** 2, axis=-1)
    length = float(geometry.extent.mean())
    velocity = np.zeros((*geometry.shape, 3))
    for _ in range(5):
        wave = rng.normal(size=3)
        wave *= 2 * np.pi * rng.uniform(0.6, 1.3) / (length * np.linalg.norm(wave))
        phase = np.sin((points - CENTRE) @ wave + rng.uniform(0, 2 * np.pi))
        velocity += phase[..., None] * rng.normal(size=3)
    velocity *= window[..., None]
    velocity *= amplitude_mm / np.linalg.norm(velocity, axis=-1).max()
    steps = 6
    field = DisplacementField(velocity / 2**steps, geometry)
    for _ in range(steps):
        field = DisplacementField(field.apply_to_points(field.apply_to_points(points)) - points, geometry)
    return field


def trilinear(array: NDArray[np.generic], index: NDArray[np.float64], outside: float = 0.0) -> NDArray[np.float64]:
    """Look an array ``(k, j, i)`` up at indices (i, j, k) of shape ``(..., 3)``, voxel by voxel as a textbook has it.

    Past the outer voxel centres the edge value holds for half a voxel, and `outside` beyond.
    """
    size = np.array(array.shape[::-1])
    result = np.zeros(index.shape[:-1])
    held = np.clip(index, 0, size - 1)
    base = np.floor(held).astype(int)
    rest = held - base
    for corner in itertools.product((0, 1), repeat=3):
        at = np.minimum(base + corner, size - 1)
        weight = np.prod(np.where(np.array(corner) == 1, rest, 1 - rest), axis=-1)
        result += weight * array[at[..., 2], at[..., 1], at[..., 0]]
    inside = np.all((index >= -0.5) & (index < size - 0.5), axis=-1)
    return np.where(inside, result, outside)


def points_in(geometry: Geometry, count: int = 200, seed: int = 0, margin: float = 0.0) -> NDArray[np.float64]:
    """Return random points (LPS, mm) inside the voxel box, `margin` voxels away from its border, shape ``(n, 3)``."""
    rng = np.random.default_rng(seed)
    size = np.array(geometry.size)
    return geometry.to_world(rng.uniform(np.full(3, margin - 0.5), size - 0.5 - margin, size=(count, 3)))


def interior(shape: tuple[int, int, int], border: int = 2) -> tuple[slice, slice, slice]:
    """Return the slices of an array without its `border` outer voxels."""
    return tuple(slice(border, n - border) for n in shape)  # type: ignore[return-value]  # three slices


def write_dicom_series(
    folder: Path,
    image: Image,
    *,
    series: str = "1.2.826.0.1.3680043.2.1125.1",
    skip: tuple[int, ...] = (),
    tilt: float = 0.0,
    prefix: str = "slice",
) -> list[Path]:
    """Write an int16 image as one DICOM file a slice, leaving out the slices in `skip`; return the files written.

    `tilt` moves every slice by that many mm along the image's j axis against the one before, as a CT gantry does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes, spacing = image.geometry.axes, image.geometry.spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    for k, plane in enumerate(image.array.astype(np.int16)):
        if k in skip:
            continue
        picture = sitk.GetImageFromArray(plane[None])
        picture.SetSpacing(spacing)
        position = image.geometry.to_world([0, 0, k]) + axes[:, 1] * tilt * k
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.1.{k + 1}",
            "0008|0060": "CT",
            "0010|0020": "synthetic",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.9",
            "0020|000e": series,
            "0020|0011": "1",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{p:.6f}" for p in position),
            "0020|0037": "\\".join(f"{c:.8f}" for c in np.concatenate([axes[:, 0], axes[:, 1]])),
            "0018|0050": f"{spacing[2]:.6f}",
        }
        for tag, value in tags.items():
            picture.SetMetaData(tag, value)
        files.append(folder / f"{prefix}{k:03d}.dcm")
        writer.SetFileName(str(files[-1]))
        writer.Execute(picture)
    return files
