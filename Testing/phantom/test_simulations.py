"""A CT as a cone-beam scanner shows it, and an MR as ultrasound does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.phantom.beams import RANGE, ultrasound_by_beams
from DeepRegLib.phantom.cone_beam import ConeBeam, cone_beam
from DeepRegLib.phantom.ultrasound import BRIGHTEST, Probe, ultrasound
from DeepRegLib.preparation import prepare_scan
from DeepRegLib.preprocessing import couch_in, scanned_cylinder
from DeepRegLib.recipes import Prepare

GRID = Geometry((48, 48, 20), (4.0, 4.0, 5.0))


def patient() -> Image:
    """Return a CT of an elliptic body with two lungs and a spine, in air."""
    x, y, _ = np.moveaxis(GRID.points() - GRID.centre, -1, 0)
    values = np.full(GRID.shape, -1000.0)
    values[(x / 85) ** 2 + (y / 65) ** 2 < 1] = 30
    values[((np.abs(x) - 35) / 22) ** 2 + (y / 35) ** 2 < 1] = -800
    values[x**2 + (y - 42) ** 2 < 100] = 700
    noise = np.random.default_rng(0).normal(0, 8, GRID.shape)
    return Image(np.rint(values + noise).astype(np.int16), GRID, "ct")


def test_only_a_cylinder_is_shown_and_it_is_found_again() -> None:
    shown = cone_beam(patient(), ConeBeam())
    cylinder = scanned_cylinder(shown)
    assert cylinder is not None
    x, y, _ = np.moveaxis(GRID.points() - GRID.centre, -1, 0)
    radius = np.hypot(x, y)
    assert not cylinder.array[radius > 0.75 * 96 + 4].any()
    assert not cylinder.array[[0, 1, -1]].any()
    inside = cylinder.array & (radius < 0.75 * 96 - 4)
    assert inside[10].sum() == (radius[10] < 0.75 * 96 - 4).sum()
    assert scanned_cylinder(patient()) is None


def test_numbers_are_no_hounsfield_units_any_more_and_the_middle_is_darker() -> None:
    quiet = ConeBeam(noise=0, shading=0, couch=False)
    shown = cone_beam(patient(), quiet).array[10]
    ct = patient().array[10]
    middle, rim = (24, 24), (24, 8)
    assert ct[middle] == pytest.approx(ct[rim], abs=40)
    assert shown[middle] < shown[rim] - 60
    couch = cone_beam(patient(), replace(quiet, couch=True)).array[10].astype(int) - shown
    assert (couch > 100).any()
    with pytest.raises(InputError, match="cannot be"):
        ConeBeam(scatter=1.5)


def test_what_lies_outside_of_the_cylinder_is_unknown_and_all_inside_counts() -> None:
    shown = cone_beam(patient(), ConeBeam())
    cylinder = scanned_cylinder(shown)
    assert cylinder is not None
    side = prepare_scan(shown, Prepare(cone_beam=True)).side
    np.testing.assert_array_equal(side.foreground.array, side.known.array)
    np.testing.assert_array_equal(side.known.array, cylinder.array)
    assert not side.is_ct
    assert prepare_scan(patient(), Prepare()).side.is_ct
    assert not prepare_scan(patient(), Prepare(cone_beam=True)).side.is_ct


def test_a_couch_goes_through_all_slices_and_arms_beside_the_body_do_not() -> None:
    values = patient().array.copy()
    values[2:12, 20:28, 1:4] = 30
    values[:, 43:45, 6:42] = -100
    found = couch_in(patient().with_array(values), patient().with_array(np.ones(GRID.shape, np.bool_))).array
    assert found[:, 43:45, 8:40].all()
    assert not found[:, 20:28].any()
    assert not found[patient().array > -500].any()


def test_ultrasound_shows_a_cone_with_speckle_and_bright_borders() -> None:
    scan = Image((patient().array + 1024).clip(0).astype(np.int16), GRID, "mr")
    scan = scan.with_array(np.where(scan.array > 900, scan.array, 0))
    x, y, z = GRID.centre.tolist()
    apex = (x, y + 90.0, z)
    probe = Probe(apex, (0.0, -1.0, 0.0), half_angle=30, depth=(20, 120), speckle=4.0)
    shown = ultrasound(scan, probe)
    assert shown.array.dtype == np.uint8
    inside = GRID.points()[shown.array > 0] - apex
    distance = np.linalg.norm(inside, axis=-1)
    assert distance.min() >= 20
    assert distance.max() <= 120
    assert (-inside[:, 1] / distance).min() >= np.cos(np.radians(30)) - 1e-9
    other = ultrasound(scan, replace(probe, seed=1))
    np.testing.assert_array_equal(other.array > 0, shown.array > 0)
    assert not np.array_equal(other.array, shown.array)
    np.testing.assert_array_equal(ultrasound(scan, probe).array, shown.array)
    with pytest.raises(InputError, match="cannot be"):
        replace(probe, depth=(50.0, 20.0))


def layers() -> Image:
    """Return tissue of three brightnesses, one behind the other along x."""
    grid = Geometry((60, 40, 40), (2.0, 2.0, 2.0))
    values = np.full(grid.shape, 0.3, dtype=np.float32)
    values[..., 30:] = 0.9
    values[..., 45:] = 0.55
    return Image(values, grid, "mr")


def test_by_beams_a_border_is_a_line_speckle_is_rayleigh_and_only_the_cone_is_seen() -> None:
    scan = layers()
    probe = Probe((-20.0, 39.0, 39.0), (1.0, 0.0, 0.0), half_angle=25.0, depth=(25.0, 130.0), speckle=2.0, seed=3)
    shown = ultrasound_by_beams(scan, probe)
    assert shown.array.dtype == np.uint8
    offset = scan.geometry.points() - np.array(probe.apex)
    angle = np.degrees(np.arccos(offset[..., 0] / np.linalg.norm(offset, axis=-1)))
    assert not shown.array[angle > 26].any()
    assert shown.array[(angle < 24) & (offset[..., 0] > 30) & (offset[..., 0] < 110)].all()
    middle = shown.array[15:25, 15:25].astype(float).mean(axis=(0, 1))
    assert 59 <= scan.geometry.to_world([int(middle[25:36].argmax()) + 25, 0, 0])[0] <= 62
    # The logarithm of a Rayleigh amplitude has a standard deviation of 5.57 dB, whatever the tissue.
    within = shown.array[15:25, 15:25, 12:26].astype(float) / BRIGHTEST * RANGE
    assert 3.5 < within.std() < 7.5


def test_by_beams_tissue_does_not_look_as_bright_as_in_the_scan() -> None:
    scan = layers()
    orders = set()
    for seed in range(6):
        probe = Probe((-20.0, 39.0, 39.0), (1.0, 0.0, 0.0), half_angle=25.0, depth=(25.0, 130.0), seed=seed)
        shown = ultrasound_by_beams(scan, replace(probe, attenuation=0.0)).array[15:25, 15:25].astype(float)
        orders.add(bool(shown[..., 15:26].mean() < shown[..., 34:42].mean()))
    assert orders == {True, False}
