"""A series registered: motion found and smooth, the mean without bias, what fails named, what is there kept."""

from __future__ import annotations

import functools
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import CancelledError, InputError, RegistrationError
from DeepRegLib.evaluation import digital_folds
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample, write_image
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.series.frames import Frame, Frames, read_frames
from DeepRegLib.series.looking import look_at
from DeepRegLib.series.products import labels_on_frame, motion_maps, stabilised_frame, trajectories
from DeepRegLib.series.registering import register_series
from DeepRegLib.series.result import SeriesRegistration
from DeepRegLib.series.stores import FolderStore, MemoryStore
from Testing.series.breathing import (
    GRID,
    amounts,
    breath,
    frame,
    inner_points,
    quick_recipe,
    rigid_recipe,
    true_position,
)
from Testing.synthetic import blob_values

COUNT = 5


@functools.cache
def breathing() -> SeriesRegistration:
    return register_series(list(breath(COUNT)), quick_recipe(), reference=0, device="cpu")


def test_points_are_followed_through_the_breath() -> None:
    series, points = breathing(), inner_points()
    truth = np.stack([true_position(points, amount) for amount in amounts(COUNT)])
    still = np.linalg.norm(truth - points, axis=-1).mean()
    found = np.linalg.norm(trajectories(series, points) - truth, axis=-1).mean()
    assert found < 0.7 * still
    back = trajectories(series, trajectories(series, points)[2], placed_on=2)[0]
    assert np.linalg.norm(back - points, axis=-1).mean() < 0.1


def test_the_reference_stays_and_nothing_folds() -> None:
    series = breathing()
    np.testing.assert_array_equal(series.transforms[0].apply_to_points(inner_points()), inner_points())
    assert [digital_folds(each, GRID) for each in series.transforms] == [0] * COUNT
    assert [digital_folds(each, GRID) for each in series.inverses] == [row.inverse_folds for row in series.rows]
    assert max(row.inverse_error for row in series.rows) < 0.1
    # The inverse that is delivered is judged, not the rough one of each registration.
    assert not [reason for row in series.rows for reason in row.verdict.reasons if "inverse" in reason]
    assert series.roughness_after <= series.roughness_before
    assert series.cyclic


def test_the_stabilised_frames_resemble_the_reference_and_keep_their_type() -> None:
    series = breathing()
    assert all(row.ncc_after > row.ncc_before for row in series.rows if row.index and row.ncc_before < 0.99)
    assert stabilised_frame(series, 2).array.dtype == series.frames[2].read().array.dtype


def test_labels_of_one_frame_land_on_another() -> None:
    series = breathing()
    ball = (np.linalg.norm(GRID.points() - GRID.centre, axis=-1) < 8).reshape(GRID.shape)
    there = labels_on_frame(series, Image(ball.astype(np.uint8), GRID, "ball"), 2)
    middle = GRID.to_world(np.argwhere(there.array)[:, ::-1]).mean(axis=0)
    wanted = true_position(GRID.centre[None], float(amounts(COUNT)[2]))[0]
    assert np.linalg.norm(middle - wanted) < 0.75 * np.linalg.norm(GRID.centre - wanted)
    again = labels_on_frame(series, there, 0, drawn_on=2)
    shared = np.logical_and(again.array, ball).sum()
    assert 2 * shared / (again.array.sum() + ball.sum()) > 0.9


def test_the_maps_show_motion_where_it_is() -> None:
    maps = motion_maps(breathing())
    assert maps.motion.array.max() > 1.0
    assert maps.volume_change.array.min() >= 0


def test_the_mean_favours_no_frame() -> None:
    series = register_series(
        [breath(COUNT)[0], breath(COUNT)[2]], quick_recipe(), reference="mean", device="cpu", smoothing=0
    )
    points = inner_points()
    common = trajectories(series, points).mean(axis=0) - points
    assert np.linalg.norm(common, axis=-1).mean() < 0.05
    assert series.reference_index is None


def test_a_constant_frame_gets_its_neighbours_displacement_and_is_named() -> None:
    frames = list(breath(COUNT)[:4])
    frames[2] = frames[2].with_array(np.zeros_like(frames[2].array))
    series = register_series(frames, quick_recipe(), reference=0, cyclic=False, device="cpu")
    row = series.rows[2]
    assert row.bridged
    assert row.verdict.level == "failed"
    assert "breath 2" in series.warnings[0]
    z = (trajectories(series, inner_points()) - inner_points())[:, :, 2].mean(axis=1)
    assert z[2] == pytest.approx((z[1] + z[3]) / 2, abs=0.5)


def test_a_series_of_which_nothing_can_be_registered_is_an_error() -> None:
    empty = breath(COUNT)[1].with_array(np.zeros(GRID.shape, np.float32))
    with pytest.raises(RegistrationError, match="None of the 2 frames"):
        register_series([breath(COUNT)[0], empty, empty], quick_recipe(), reference=0, device="cpu")


def test_contrast_that_changes_does_not_mislead() -> None:
    frames = [frame(0.0), frame(4.0, gain=2.5), frame(4.0, gain=0.4)]
    series = register_series(frames, quick_recipe(), reference=0, cyclic=False, device="cpu", smoothing=0)
    found = trajectories(series, inner_points())[1:]
    truth = true_position(inner_points(), 4.0)
    still = np.linalg.norm(inner_points() - truth, axis=-1).mean()
    assert np.linalg.norm(found - truth, axis=-1).mean() < 0.7 * still


def test_a_rigid_series_gives_six_curves() -> None:
    shift = np.array([1.2, -0.8, 0.5])
    moved = Image(blob_values(GRID.points() - shift).reshape(GRID.shape).astype(np.float32), GRID, "moved")
    series = register_series([frame(0.0), moved], rigid_recipe(), reference=0, device="cpu")
    assert series.motion is not None
    np.testing.assert_allclose(series.motion.translations[1], shift, atol=0.1)
    np.testing.assert_allclose(series.motion.rotations[1], 0, atol=0.8)
    assert series.smoothing == 0


@pytest.mark.parametrize(
    ("reference", "smoothing", "recipe", "said"),
    [
        (9, None, quick_recipe(), "There is no frame 9"),
        ("best", None, quick_recipe(), "no reference 'best'"),
        (0, -1.0, quick_recipe(), "smoothing over time is -1"),
        (0, 1.0, rigid_recipe(), "is linear"),
    ],
)
def test_what_cannot_be_is_refused(reference, smoothing, recipe, said: str) -> None:
    with pytest.raises(InputError, match=said):
        register_series(list(breath(COUNT)), recipe, reference=reference, smoothing=smoothing, device="cpu")


class _Counting(MemoryStore):
    """A store that cancels after some frames."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[str] = []

    def save(self, name, key, found):
        self.saved.append(name)
        return super().save(name, key, found)


def test_a_cancelled_run_keeps_its_frames_and_a_second_one_goes_on_from_them() -> None:
    store = _Counting()
    frames = list(breath(COUNT)[:3])
    with pytest.raises(CancelledError):
        register_series(
            frames, quick_recipe(), reference=0, device="cpu", store=store, cancel=lambda: len(store.saved) >= 1
        )
    assert store.saved == ["frame_0001"]
    resumed = register_series(frames, quick_recipe(), reference=0, device="cpu", store=store)
    assert store.saved == ["frame_0001", "frame_0002"]
    assert len(resumed.rows) == 3


def test_a_run_cancelled_half_way_goes_on_from_its_folder(tmp_path: Path) -> None:
    store, frames = FolderStore(tmp_path), list(breath(COUNT)[:4])
    first, second = (tmp_path / f"frame_000{n}" / "found.json" for n in (1, 2))
    with pytest.raises(CancelledError):
        register_series(
            frames, rigid_recipe(), reference=0, cyclic=False, device="cpu", store=store, cancel=second.is_file
        )
    kept = [path.stat().st_mtime_ns for path in (first, second)]
    assert not (tmp_path / "frame_0003").exists()
    series = register_series(frames, rigid_recipe(), reference=0, cyclic=False, device="cpu", store=store)
    assert [path.stat().st_mtime_ns for path in (first, second)] == kept
    whole = register_series(frames, rigid_recipe(), reference=0, cyclic=False, device="cpu")
    points = inner_points()
    np.testing.assert_allclose(trajectories(series, points), trajectories(whole, points), atol=1e-3)


def test_what_was_found_with_another_recipe_or_damaged_is_found_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    frames = list(breath(COUNT)[:2])
    register_series(frames, rigid_recipe(), reference=0, device="cpu", store=store)
    kept = (tmp_path / "frame_0001" / "found.json").read_text(encoding="utf-8")
    other = replace(rigid_recipe(), linear=replace(rigid_recipe().linear, iterations=5))
    register_series(frames, other, reference=0, device="cpu", store=store)
    assert (tmp_path / "frame_0001" / "found.json").read_text(encoding="utf-8") != kept
    (tmp_path / "frame_0001" / "found.h5").write_bytes(b"damaged")
    series = register_series(frames, other, reference=0, device="cpu", store=store)
    assert series.rows[1].verdict.level in ("ok", "check", "failed")
    assert np.isfinite(trajectories(series, inner_points())).all()


def test_frames_on_grids_of_their_own_are_followed() -> None:
    other = GRID.resized(np.array([3.0, 2.4, 2.0]))
    frames = [breath(COUNT)[0], resample(breath(COUNT)[2], other)]
    series = register_series(frames, quick_recipe(), reference=0, smoothing=0, device="cpu")
    points, amount = inner_points(), float(amounts(COUNT)[2])
    truth = true_position(points, amount)
    found = np.linalg.norm(trajectories(series, points)[1] - truth, axis=-1).mean()
    assert found < 0.7 * np.linalg.norm(points - truth, axis=-1).mean()
    assert stabilised_frame(series, 1).geometry.is_close(GRID)


def test_a_frame_that_is_damaged_or_gone_is_named_before_any_is_registered(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.nii.gz" for n in range(3)]
    for path, image in zip(paths, breath(COUNT), strict=False):
        write_image(image, path)
    frames, store = read_frames(paths), _Counting()
    paths[2].write_bytes(paths[2].read_bytes()[:400])
    with pytest.raises(InputError, match=r"2\.nii\.gz"):
        register_series(frames, quick_recipe(), reference=0, device="cpu", store=store)
    paths[2].unlink()
    with pytest.raises(InputError, match=r"2\.nii\.gz does not exist"):
        register_series(frames, quick_recipe(), reference=0, device="cpu", store=store)
    assert store.saved == []


def test_of_five_hundred_frames_few_are_in_memory_at_a_time() -> None:
    grid, held, most = Geometry((8, 8, 8)), weakref.WeakSet[Image](), []

    def read(number: int) -> Image:
        image = Image(np.random.default_rng(number).normal(size=grid.shape).astype(np.float32), grid, "frame")
        held.add(image)
        most.append(len(held))
        return image

    frames = Frames(tuple(Frame(f"frame {n}", float(n), functools.partial(read, n)) for n in range(500)))
    assert look_at(frames, never_cancel).pictures.shape[0] == 500
    assert max(most) <= 3
