"""Fusion of labels against plain loops, SimpleITK, and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.segmentation.fusion import FUSED_BY, Candidates, agreement, fuse, gathered
from DeepRegLib.segmentation.fusion import candidates as candidates_file
from DeepRegLib.segmentation.fusion.joint import RIDGE, fuse_jointly, joint_weights
from DeepRegLib.segmentation.fusion.windows import Windows, correlation, padded_slab

SHAPE = (12, 14, 13)
LABELS = np.array([0, 3, 9, 200], dtype=np.uint8)


def noise(seed: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def voters(count: int = 4, seed: int = 0) -> Candidates:
    """Random scans and labels, of which a quarter are wrong; each atlas has a corner it does not show."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.choice(LABELS, size=(1, *SHAPE)), count, axis=0)
    wrong = rng.random(labels.shape) < 0.25
    labels[wrong] = rng.choice(LABELS, size=int(wrong.sum()))
    seen = np.ones(labels.shape, dtype=np.bool_)
    for number in range(count):
        seen[number, :, :2, number] = False
    target = rng.normal(size=SHAPE).astype(np.float32)
    images = (target + rng.normal(scale=0.5, size=labels.shape)).astype(np.float32)
    return Candidates((slice(0, 12), slice(0, 14), slice(0, 13)), target, images, labels, seen)


def test_the_majority_is_that_of_counted_votes_and_a_tie_goes_to_the_first() -> None:
    given = voters()
    fused = fuse(given, "majority")
    for place in np.ndindex(SHAPE):
        heard = [int(labels[place]) for labels, seen in zip(given.labels, given.seen, strict=True) if seen[place]]
        most = max(heard.count(label) for label in heard)
        assert fused[place] == next(label for label in heard if heard.count(label) == most)
        assert agreement(given, fused)[place] == pytest.approx(most / len(heard))


def test_windows_correlate_as_numpy_says() -> None:
    first, second = noise(1), 5000 + 7 * noise(2)
    whole = slice(0, len(first))
    target, other = Windows(padded_slab(first, whole, 2), 2), Windows(padded_slab(second, whole, 3), 2)
    for shift in ((0, 0, 0), (1, -1, 0), (-1, 1, 1)):
        found = correlation(target, other, shift, 1)
        assert found.shape == SHAPE
        for place in ((4, 5, 6), (3, 9, 3)):
            here = tuple(slice(p - 2, p + 3) for p in place)
            there = tuple(slice(p + s - 2, p + s + 3) for p, s in zip(place, shift, strict=True))
            expected = np.corrcoef(first[here].ravel(), second[there].ravel())[0, 1]
            assert found[place] == pytest.approx(expected, abs=1e-9)


def test_a_flat_window_resembles_nothing() -> None:
    flat = np.ones(SHAPE)
    flat[0, 0, 0] = 2
    whole = slice(0, len(flat))
    alike = correlation(Windows(padded_slab(flat, whole, 2), 2), Windows(padded_slab(flat, whole, 2), 2), (0, 0, 0), 0)
    assert (alike[5:, 5:, 5:] == 0).all()


def test_joint_weights_are_those_of_the_closed_form_and_do_not_count_one_mistake_twice() -> None:
    rng = np.random.default_rng(4)
    differences = np.abs(rng.normal(size=(3, 3, 125)))
    differences[:, 2] = differences[:, 1]  # two atlases that err alike
    weights = joint_weights(differences, np.zeros((3, 3), dtype=np.bool_))
    for voxel in range(3):
        expected = np.array([[np.mean(a * b) ** 2 for a in differences[voxel]] for b in differences[voxel]])
        inverse = np.linalg.inv(expected + RIDGE * np.eye(3))
        np.testing.assert_allclose(weights[voxel], inverse.sum(axis=1) / inverse.sum(), rtol=1e-9)
        assert weights[voxel, 1] + weights[voxel, 2] < 1.5 * weights[voxel, 0]
    unseen = np.array([[True, False, False]])
    assert joint_weights(differences[:1], unseen)[0].tolist() == pytest.approx([0, 0.5, 0.5], abs=1e-6)


def test_the_search_finds_the_patch_beside() -> None:
    """Three atlases lie a voxel off and bring their labels along; the fourth lies right and is outvoted without it."""
    target = noise(8)
    truth = (noise(9) > 0).astype(np.uint8)
    images = [np.roll(target, shift, (0, 1, 2)) for shift in ((1, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0))]
    labels = [np.roll(truth, shift, (0, 1, 2)) for shift in ((1, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0))]
    box = (slice(0, 12), slice(0, 14), slice(0, 13))
    stacked = np.stack(images).astype(np.float32), np.stack(labels), np.ones((4, *SHAPE), np.bool_)
    given = Candidates(box, target.astype(np.float32), *stacked)
    inner = (slice(3, -3),) * 3
    assert np.mean(fuse_jointly(given, never_cancel)[inner] == truth[inner]) > 0.99
    assert np.mean(fuse(given, "majority")[inner] == truth[inner]) < 0.8


def test_the_atlas_that_resembles_the_scan_outweighs_two_that_do_not() -> None:
    target = noise(3)
    images = np.stack([noise(5), target + 0.1 * noise(6), noise(7)]).astype(np.float32)
    labels = np.stack([np.full(SHAPE, label, np.uint8) for label in (1, 2, 1)])
    box = (slice(0, 12), slice(0, 14), slice(0, 13))
    given = Candidates(box, target.astype(np.float32), images, labels, np.ones(labels.shape, np.bool_))
    assert np.mean(fuse(given, "local") == 2) > 0.99
    assert np.mean(fuse(given, "joint") == 2) > 0.95
    assert (fuse(given, "majority") == 1).all()


def test_staple_is_that_of_simpleitk() -> None:
    given = voters()
    given = Candidates(given.box, given.target, given.images, given.labels, np.ones_like(given.seen))
    staple = sitk.MultiLabelSTAPLEImageFilter()
    staple.SetLabelForUndecidedPixels(4)
    staple.SetMaximumNumberOfIterations(50)
    numbered = [sitk.GetImageFromArray(np.searchsorted(LABELS, each).astype(np.uint8)) for each in given.labels]
    found = sitk.GetArrayFromImage(staple.Execute(numbered))
    decided = found != 4
    expected = LABELS[np.where(decided, found, 0)]
    assert decided.mean() > 0.9
    fused = fuse(given, "staple")
    assert np.mean(fused[decided] == expected[decided]) > 0.99
    np.testing.assert_array_equal(fused[~decided], fuse(given, "majority")[~decided])


@pytest.mark.parametrize("fusion", sorted(FUSED_BY))
def test_an_atlas_has_no_say_where_it_was_not_scanned(fusion: str) -> None:
    given = voters(3)
    labels = given.labels.copy()
    labels[0], labels[1:] = 3, 9
    seen = np.ones_like(given.seen)
    seen[1:, :6] = False
    fused = fuse(Candidates(given.box, given.target, given.images, labels, seen), fusion)
    assert (fused[:6] == 3).all()


@pytest.mark.parametrize("fusion", ["majority", "local", "joint"])
def test_slabs_change_nothing(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = voters()
    whole = fuse(given, fusion)
    monkeypatch.setattr(candidates_file, "SLAB_VOXELS", 3 * 14 * 13)
    assert len(given.slabs()) == 4
    np.testing.assert_array_equal(fuse(given, fusion), whole)


def test_candidates_are_cut_to_the_box_of_all_segments_and_none_is_no_box() -> None:
    grid = Geometry((30, 30, 30))
    scan, seen = Image(np.zeros((30, 30, 30)), grid), Image(np.ones((30, 30, 30), np.bool_), grid)
    labels = np.zeros((2, 30, 30, 30), np.uint8)
    assert gathered(scan, [scan] * 2, [Image(each, grid) for each in labels], [seen] * 2) is None
    labels[0, 10, 10, 10], labels[1, 12, 25, 10] = 1, 2
    found = gathered(scan, [scan] * 2, [Image(each, grid) for each in labels], [seen] * 2)
    assert found is not None
    assert found.box == (slice(4, 19), slice(4, 32), slice(4, 17))
    assert found.labels.shape == (2, 15, 26, 13)
