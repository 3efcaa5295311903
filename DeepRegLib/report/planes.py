"""The slices that the report shows: axial, coronal and sagittal, in anatomical orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample_sitk, to_sitk
from DeepRegLib.image.resampling import interpolation_type, rounded
from DeepRegLib.preprocessing import CT_WINDOWS, is_ct
from DeepRegLib.result import Registration
from DeepRegLib.transforms import background_value

PIXELS = 300  # along the longest edge of what is shown
MARGIN = 0.05
LUNG, LUNG_SHARE = (-920, -500), 0.2  # HU; share of the foreground above which a scan is one of the chest

# Name; world axes (LPS) of columns and rows; letters at the left, right, top and bottom. Radiological: the patient's
# right is on the reader's left.
VIEWS = (
    ("Axial", (1, 0, 0), (0, 1, 0), "RLAP"),
    ("Coronal", (1, 0, 0), (0, 0, -1), "RLSI"),
    ("Sagittal", (0, 1, 0), (0, 0, -1), "APSI"),
)

Slice = NDArray[np.float32]
Window = tuple[float, float]  # values shown black and white


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice of everything that is shown, in anatomical orientation with square pixels.

    Parameters
    ----------
    name
        Axial, coronal or sagittal.
    geometry
        A grid of one layer: its i axis runs to the reader's right, its j axis down.
    letters
        Patient directions at the left, right, top and bottom edge.
    fixed, before, after
        The fixed image, and the moving one before and after registration, windowed to [0, 1], shape ``(j, i)``.
    foreground
        Fixed foreground (bool).
    scanned_before, scanned_after
        Where the moving image was scanned (bool).
    labels
        Warped labels, or None.
    uncertainty, explanation
        Of the model in mm, or None.
    """

    name: str
    geometry: Geometry
    letters: str
    fixed: Slice
    before: Slice
    after: Slice
    foreground: NDArray[np.bool_]
    scanned_before: NDArray[np.bool_]
    scanned_after: NDArray[np.bool_]
    labels: NDArray[np.generic] | None
    uncertainty: Slice | None
    explanation: Slice | None


class Source:
    """An image that slices are cut from; it is handed to ITK once for all of them."""

    def __init__(self, image: Image, interpolation: str = "linear", background: float = 0.0) -> None:
        self._dtype, self._background = image.array.dtype, background
        linear = interpolation == "linear"
        self._interpolator = sitk.sitkLinear if linear else sitk.sitkNearestNeighbor
        picture = to_sitk(image)
        whole_numbers = linear and self._dtype.kind != "f"
        self._picture = sitk.Cast(picture, interpolation_type(self._dtype)) if whole_numbers else picture

    def on(self, geometry: Geometry) -> NDArray[Any]:
        """Return a slice ``(j, i)`` as `DeepRegLib.image.resample` does."""
        sampled = resample_sitk(self._picture, geometry, None, self._interpolator, self._background)
        return rounded(sitk.GetArrayFromImage(sampled), self._dtype)[0]


@dataclass(frozen=True, eq=False)
class Sources:
    """Every image of a registration that slices are cut from."""

    fixed: Source
    moving: Source
    warped: Source
    foreground: Source
    scanned: Source
    labels: Source | None
    uncertainty: Source | None
    explanation: Source | None


def planes_of(registration: Registration) -> tuple[Plane, ...]:
    """Sample the axial, coronal and sagittal slice through the centre of the fixed foreground."""
    centre, low, high = _region(registration.fixed_foreground)
    windows, sources, moving = _windows(registration), _sources(registration), registration.moving.geometry
    return tuple(
        _plane(sources, moving, _view_geometry(columns, rows, centre, low, high), name, letters, windows)
        for name, columns, rows, letters in VIEWS
    )


def planes_of_labels(scan: Image, labels: Image) -> tuple[Plane, ...]:
    """Sample the axial, coronal and sagittal slice of a scan through the centre of its label map, on the same grid."""
    everything = np.ones(scan.array.shape, dtype=np.bool_)
    centre, _, _ = _region(labels.with_array(labels.array != 0))
    _, low, high = _region(scan.with_array(everything))
    window = _ct_window(scan, everything) if is_ct(scan) else _percentile_window(scan, everything)
    shaded, drawn = _shaded(scan), Source(labels, "nearest")
    planes = []
    for name, columns, rows, letters in VIEWS:
        geometry = _view_geometry(columns, rows, centre, low, high)
        picture, inside = _windowed(shaded.on(geometry), window), _within(scan.geometry, geometry)
        planes.append(
            Plane(
                *(name, geometry, letters, picture, picture, picture, inside, inside, inside),
                labels=drawn.on(geometry),
                uncertainty=None,
                explanation=None,
            )
        )
    return tuple(planes)


def _sources(registration: Registration) -> Sources:
    labels, uncertainty, explanation = registration.warped_labels, registration.uncertainty, registration.explanation
    return Sources(
        fixed=_shaded(registration.fixed),
        moving=_shaded(registration.moving),
        warped=_shaded(registration.warped),
        foreground=Source(registration.fixed_foreground, "nearest"),
        scanned=Source(registration.field_of_view, "nearest"),
        labels=None if labels is None else Source(labels, "nearest"),
        uncertainty=None if uncertainty is None else Source(uncertainty),
        explanation=None if explanation is None else Source(explanation),
    )


def _shaded(image: Image) -> Source:
    return Source(image, background=background_value(image))


def _region(foreground: Image) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centre of mass and bounding box of the foreground in the world (LPS, mm)."""
    inside = foreground.array.astype(np.bool_)
    if not inside.any():
        inside = np.ones_like(inside)
    profiles = [inside.sum(axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]
    centre = [float(np.average(np.arange(p.size), weights=p)) for p in profiles]
    where = [np.flatnonzero(p) for p in profiles]
    ends = [(w[0] - 0.5, w[-1] + 0.5) for w in where]
    corners = foreground.geometry.to_world([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])
    margin = MARGIN * (corners.max(0) - corners.min(0)).max()
    grid = foreground.geometry.corners()
    low = np.maximum(corners.min(0) - margin, grid.min(0))
    high = np.minimum(corners.max(0) + margin, grid.max(0))
    return foreground.geometry.to_world(centre), low, high


def _view_geometry(
    columns: tuple[int, int, int],
    rows: tuple[int, int, int],
    centre: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> Geometry:
    axes = np.stack([columns, rows, np.cross(columns, rows)], axis=1).astype(np.float64)
    spacing = float((high - low).max()) / PIXELS
    extent = np.abs(axes.T @ (high - low))
    size = np.maximum(np.rint(extent[:2] / spacing), 1).astype(int)
    middle = np.where(axes[:, 2] != 0, centre, (low + high) / 2)
    origin = middle - axes[:, :2] @ (spacing * (size - 1) / 2)
    return Geometry(
        (int(size[0]), int(size[1]), 1),
        (spacing, spacing, spacing),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(float(a) for a in axes.ravel()),
    )


def _plane(
    sources: Sources, moving: Geometry, geometry: Geometry, name: str, letters: str, windows: tuple[Window, Window]
) -> Plane:
    labels, uncertainty, explanation = sources.labels, sources.uncertainty, sources.explanation
    return Plane(
        name=name,
        geometry=geometry,
        letters=letters,
        fixed=_windowed(sources.fixed.on(geometry), windows[0]),
        before=_windowed(sources.moving.on(geometry), windows[1]),
        after=_windowed(sources.warped.on(geometry), windows[1]),
        foreground=sources.foreground.on(geometry),
        scanned_before=_within(moving, geometry),
        scanned_after=sources.scanned.on(geometry),
        labels=None if labels is None else labels.on(geometry),
        uncertainty=None if uncertainty is None else uncertainty.on(geometry),
        explanation=None if explanation is None else explanation.on(geometry),
    )


def _within(grid: Geometry, plane: Geometry) -> NDArray[np.bool_]:
    """Return which pixels of a plane lie in the voxels of a grid."""
    index = grid.to_index(plane.points()[0])
    return np.asarray(((index >= -0.5) & (index < np.array(grid.size) - 0.5)).all(axis=-1))


def _windows(registration: Registration) -> tuple[Window, Window]:
    """Values shown black and white in the fixed and in the moving image."""
    fixed, warped = registration.fixed, registration.warped
    inside = registration.fixed_foreground.array.astype(np.bool_)
    scanned = inside & registration.field_of_view.array.astype(np.bool_)
    # Both by the tissue both show, or a skull-stripped brain would come out brighter than the same brain in its head.
    shared = scanned & (warped.array.astype(np.float64) > background_value(registration.moving))
    return (
        _ct_window(fixed, inside) if is_ct(fixed) else _percentile_window(fixed, shared),
        _ct_window(warped, scanned) if is_ct(registration.moving) else _percentile_window(warped, shared),
    )


def _ct_window(image: Image, inside: NDArray[np.bool_]) -> tuple[float, float]:
    values = image.array[inside].astype(np.float32)
    share = float(np.mean((values > LUNG[0]) & (values < LUNG[1]))) if values.size else 0.0
    return CT_WINDOWS["lung" if share > LUNG_SHARE else "soft-tissue"]


def _percentile_window(image: Image, inside: NDArray[np.bool_]) -> tuple[float, float]:
    step = tuple(slice(None, None, 2 if n > 32 else 1) for n in inside.shape)
    sample = image.array[step]
    for values in (sample[inside[step]], sample.ravel()):
        usable = values[np.isfinite(values)].astype(np.float64)
        if usable.size:
            low, high = (float(v) for v in np.percentile(usable, (0.5, 99)))
            if high > low:
                return low, high
    return 0.0, 1.0


def _windowed(values: NDArray[np.generic], window: Window) -> Slice:
    low, high = window
    scaled = np.clip((np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low), 0, 1)
    return scaled.astype(np.float32)
