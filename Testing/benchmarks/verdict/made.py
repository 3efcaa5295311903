"""Starting poses and pairs that are wrong in a known way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.landmark_alignment import Landmarks, rigid_from_landmarks
from Testing.benchmarks.verdict.scans import Pair, anatomy_points
from Testing.synthetic import rotation

RIGHT, NEAR, DIRECTION = "right", "started near", "wrong direction"
TURNED, SHIFTED, MIRRORED = "turned", "shifted by a vertebra", "wrong side (mirrored)"
ORDER, FRAME, GIVEN = "landmarks in the wrong order", "landmarks in another frame", "right landmarks"
MASK, CUBE = "too small a mask", "a part of the scan"
OTHER, NOISE = "other body part", "noise"
PERSON = "another person's scan"
LOCAL, FOLDING = "a local error", "a field that folds"
ANGLES = (10, 20, 30, 45, 60, 90, 120, 180)
VERTEBRA_MM, VERTEBRA_SHARE = 30.0, 0.5
NEAR_SHARE = 0.08
CUBE_MM = 64.0
MASK_SHARE = 0.02
FEWEST_LANDMARKS = 6


@dataclass(frozen=True, eq=False)
class Start:
    """A pose to start from, in what way it is wrong, and what is given with it."""

    kind: str
    pose: NDArray[np.float64]
    landmarks: Landmarks | None = None


def starts(pair: Pair, right: NDArray[np.float64], rng: np.random.Generator) -> Iterator[Start]:
    """Yield poses to start from, right and wrong, of a pair whose right pose is known."""
    points = anatomy_points(pair.fixed)
    centre = points.mean(0)
    radius = float(np.sqrt(((points - centre) ** 2).sum(1).mean()))
    yield Start(RIGHT, right)
    near = about(centre, _direction(rng) * NEAR_SHARE) @ shift(_direction(rng) * NEAR_SHARE * radius)
    yield Start(NEAR, right @ near)
    # The inverse of what was asked for, relative to a header that was moved: the same motion twice.
    motion = about(centre, _direction(rng) * np.radians(rng.uniform(30, 100)))
    yield Start(DIRECTION, right @ motion @ motion)
    for angle in rng.choice(ANGLES, 3, replace=False):
        yield Start(TURNED, right @ about(centre, _direction(rng) * np.radians(angle)))
    yield Start(TURNED, right @ about(centre, np.eye(3)[rng.integers(3)] * np.pi))
    longest = np.linalg.eigh(np.cov((points - centre).T))[1][:, -1]
    distance = min(VERTEBRA_MM, VERTEBRA_SHARE * radius) * rng.choice((-1, 1))
    yield Start(SHIFTED, right @ shift(longest * distance))
    if pair.landmarks is not None and len(pair.landmarks[0]) >= FEWEST_LANDMARKS:
        yield from landmark_starts(pair.landmarks, rng)


def landmark_starts(landmarks: Landmarks, rng: np.random.Generator) -> Iterator[Start]:
    """Yield what right, shuffled and RAS landmarks start from."""
    fixed, moving = landmarks
    shuffled = fixed, moving[rng.permutation(len(moving))]
    framed = fixed, moving * (-1, -1, 1)
    for kind, pairs in ((GIVEN, landmarks), (ORDER, shuffled), (FRAME, framed)):
        yield Start(kind, rigid_from_landmarks(*pairs), pairs)


def mirrored(pair: Pair) -> Pair:
    """Return a pair whose moving scan shows the other side: its voxels are turned round along the world's x."""
    axis = 2 - int(np.abs(pair.moving.geometry.index_to_world[0, :3]).argmax())
    return replace(pair, moving=pair.moving.with_array(np.flip(pair.moving.array, axis).copy()))


def with_cube(pair: Pair, rng: np.random.Generator) -> Pair | None:
    """Return the fixed scan with a cube cut out of it as the moving one; None where the scan is not larger."""
    geometry = pair.fixed.geometry
    count = round(CUBE_MM / geometry.spacing[0])
    if min(geometry.size) < 1.3 * count:
        return None
    middle = np.asarray(geometry.to_index(anatomy_points(pair.fixed).mean(0)))
    first = np.rint(middle - count / 2 + rng.uniform(-0.1, 0.1, 3) * count).astype(int)
    first = np.clip(first, 0, np.array(geometry.size) - count)
    i, j, k = first
    x, y, z = geometry.to_world(first)
    grid = Geometry((count,) * 3, geometry.spacing, (float(x), float(y), float(z)), geometry.direction)
    cut = pair.fixed.array[k : k + count, j : j + count, i : i + count].copy()
    return replace(pair, moving=Image(cut, grid, "cube"), landmarks=None)


def small_mask(image: Image, rng: np.random.Generator) -> Image:
    """Return a ball at the border of the anatomy that holds about 2 % of it."""
    points = anatomy_points(image)
    radius = float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean())) * (2 * MASK_SHARE) ** (1 / 3)
    centre = points[np.linalg.norm(points - points.mean(0), axis=1).argsort()[-len(points) // 5 :]]
    distance = np.linalg.norm(image.geometry.points() - centre[rng.integers(len(centre))], axis=-1)
    return image.with_array(distance < max(radius, 2 * image.geometry.spacing[0]))


def about(centre: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation about a point by a vector's length in radians, a world matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(vector)
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre
    return matrix


def shift(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a shift as world matrix."""
    matrix = np.eye(4)
    matrix[:3, 3] = vector
    return matrix


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))
