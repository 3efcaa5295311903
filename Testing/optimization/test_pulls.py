"""Pulls: their forces are gradients, they move what the images cannot tell, and they fold nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from DeepRegLib.devices import available_devices
from DeepRegLib.optimization.deformable import DeformableFit, Level, register_deformable
from DeepRegLib.optimization.field_grid import RATIO, field_grid
from DeepRegLib.optimization.pulls import (
    FORCE_A_VOXEL,
    LABEL_BLUR,
    LANDMARK_REACH,
    LabelPull,
    LandmarkPull,
    Pull,
    Structure,
)
from DeepRegLib.optimization.regularity import corner_determinants, repair_folds
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.recipes import Deformable
from DeepRegLib.transforms.sampling import compose_fields, identity_grid
from Testing.optimization.phantoms import RADIUS, cube, depth, image_of, phantom, with_foreground_weight
from Testing.synthetic import trilinear

CPU = torch.device("cpu")
SHAPE = (9, 10, 8)
GRID = cube(36)
NODES = field_grid(GRID)
MIDDLE = (np.array(NODES.size) - 1) / 2


def random_field(shape: tuple[int, int, int], length: float, seed: int = 0) -> Tensor:
    """Return a smooth field of about `length` nodes."""
    noise = smooth(torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed)), 5.0)
    return noise * (length / noise.std())


def landmark_pull(places: list[list[float]], targets: list[list[float]], weight: float = 1.0) -> LandmarkPull:
    return LandmarkPull(np.array(places), np.array(targets), SHAPE, weight=weight, device=CPU)


def test_the_force_at_a_landmark_is_the_gradient_of_the_value_there():
    field = random_field(SHAPE, 1.0)
    pull = landmark_pull([[3.0, 4.0, 5.0]], [[4.5, 2.0, 5.2]])
    shift = torch.zeros(3, requires_grad=True)
    value, _ = pull.value_and_force((field + shift[:, None, None, None]).requires_grad_())
    # Moving all nodes by one moves the landmark by one node, which is `RATIO` voxels.
    value.backward()
    _, force = pull.value_and_force(field)
    torch.testing.assert_close(force[:, 5, 4, 3], shift.grad * FORCE_A_VOXEL / RATIO)


def test_landmarks_add_up_as_gaussians_about_their_places():
    rng = np.random.default_rng(0)
    places = rng.uniform(0.5, 6.5, (5, 3))
    targets = places + rng.normal(size=(5, 3))
    field = random_field(SHAPE, 1.0)
    value, force = landmark_pull(places.tolist(), targets.tolist(), 0.5).value_and_force(field)
    off = targets - places - np.stack([trilinear(part.numpy(), places) for part in field], axis=-1)
    assert float(value) == pytest.approx(-0.5 * (RATIO * np.linalg.norm(off, axis=1) ** 2 * RATIO).mean(), rel=1e-5)
    nodes = identity_grid(SHAPE, CPU).double().numpy()
    expected = np.zeros((3, *SHAPE))
    for place, missing in zip(places, off, strict=True):
        bump = np.exp(-0.5 * np.sum((nodes - place) ** 2, axis=-1) / LANDMARK_REACH**2)
        expected += 0.5 * FORCE_A_VOXEL * RATIO * bump * missing[:, None, None, None]
    np.testing.assert_allclose(force.numpy(), expected, atol=1e-4)


def test_a_landmark_outside_of_the_grid_pulls_at_its_border():
    _, force = landmark_pull([[-4.0, 5.0, 4.0]], [[-2.0, 5.0, 4.0]]).value_and_force(torch.zeros(3, *SHAPE))
    strength = force.square().sum(0)
    assert np.unravel_index(int(strength.argmax()), SHAPE) == (4, 5, 0)
    torch.testing.assert_close(force[:, 4, 5, 0], torch.tensor([2.0 * RATIO * FORCE_A_VOXEL, 0, 0]))


def test_a_pull_that_is_followed_rests():
    place, target = [[3.0, 4.0, 5.0]], [[4.0, 3.5, 5.0]]
    field = torch.tensor([1.0, -0.5, 0.0])[:, None, None, None].expand(3, *SHAPE).contiguous()
    value, force = landmark_pull(place, target).value_and_force(field)
    assert float(value) == 0
    assert float(force.abs().max()) < 1e-6


def blob(shape: tuple[int, int, int], centre: tuple[float, float, float], sigma: float) -> Tensor:
    offset = identity_grid(shape, CPU) - torch.tensor(centre)
    return torch.exp(-0.5 * offset.square().sum(-1) / sigma**2)


def test_the_force_of_labels_is_the_gradient_with_respect_to_a_composed_update():
    shape = (30, 32, 28)
    fixed, moving = blob(shape, (13.0, 15.0, 14.0), 4.5), blob(shape, (14.4, 16.1, 13.3), 4.7)
    field = random_field(shape, 0.5) + 0.25
    seen = torch.ones(shape)
    pull = LabelPull([Structure((0, 0, 0), fixed, moving)], seen, seen)
    _, force = pull.value_and_force(field)
    update = torch.zeros(3, *shape, requires_grad=True)
    warped = warp(smooth(moving, LABEL_BLUR), compose_fields(field, update, identity_grid(shape, CPU)))
    (-0.5 * (smooth(fixed, LABEL_BLUR) - warped).square().sum()).backward()
    exact, found = update.grad.flatten(), force.flatten()
    factor = float((exact * found).sum() / exact.square().sum())
    # Only the derivative of the interpolation differs: autograd's jumps at each node, differences run across two.
    assert float((found - factor * exact).norm() / found.norm()) < 0.08
    assert factor > 0


def warp(volume: Tensor, field: Tensor) -> Tensor:
    shape = volume.shape
    index = identity_grid((shape[0], shape[1], shape[2]), CPU) + field.permute(1, 2, 3, 0)
    scaled = index * torch.tensor([2 / (n - 1) for n in reversed(shape)]) - 1
    return functional.grid_sample(volume[None, None], scaled[None], padding_mode="zeros", align_corners=True)[0, 0]


def test_a_border_one_voxel_off_is_pulled_as_hard_as_a_landmark():
    shape = (12, 12, 16)
    nodes = identity_grid(shape, CPU)[..., 0]
    # Half spaces that reach a quarter of a node further: the share of each node's volume that they take.
    half, further = (((edge + 0.5 - nodes).clamp(0, 1)) for edge in (7.0, 7.25))
    seen = torch.ones(shape)
    _, force = LabelPull([Structure((0, 0, 0), half, further)], seen, seen).value_and_force(torch.zeros(3, *shape))
    expected = FORCE_A_VOXEL * RATIO * 0.25
    assert float(force[0, 6, 6].max()) == pytest.approx(expected, rel=0.15)
    assert float(force[1:, 5:7, 5:7].abs().max()) < 1e-5


def test_what_was_not_scanned_says_nothing():
    shape = (12, 12, 12)
    fixed, moving = blob(shape, (4.0, 6.0, 6.0), 2.0), blob(shape, (6.0, 6.0, 6.0), 2.0)
    seen, half = torch.ones(shape), torch.ones(shape)
    half[..., 6:] = 0
    structure = Structure((0, 0, 0), fixed, moving)
    field = torch.zeros(3, *shape)
    for pair in ((half, seen), (seen, half)):
        _, force = LabelPull([structure], *pair).value_and_force(field)
        assert float(force[..., 6:].abs().max()) == 0
        assert float(force[..., :6].abs().max()) > 0


def test_a_part_of_the_grid_gives_the_force_of_the_whole():
    shape = (16, 18, 20)
    whole = tuple(blob(shape, centre, 1.2).floor_divide(0.1) for centre in ((9.0, 8.0, 7.0), (10.0, 8.5, 7.0)))
    k, j, i = slice(0, 14), slice(1, 17), slice(2, 18)
    seen, field = torch.ones(shape), random_field(shape, 0.4)
    results = [
        LabelPull([Structure(corner, *maps)], seen, seen).value_and_force(field)
        for corner, maps in (((0, 0, 0), whole), ((0, 1, 2), [m[k, j, i] for m in whole]))
    ]
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in available_devices() if name != "cpu"] or ["none"])
def test_other_devices_give_nearly_the_same(name):
    if name == "none":
        pytest.skip("there is only the CPU here")
    field = random_field(SHAPE, 0.5)
    maps, seen = (blob(SHAPE, (4.0, 4.5, 4.0), 1.5), blob(SHAPE, (4.6, 4.0, 4.0), 1.5)), torch.ones(SHAPE)

    def forces(device: torch.device) -> list[Tensor]:
        landmarks = LandmarkPull(np.full((2, 3), 3.3), np.full((2, 3), 4.0), SHAPE, device=device)
        structure = Structure((0, 0, 0), *(m.to(device) for m in maps))
        labels = LabelPull([structure], seen.to(device), seen.to(device))
        return [pull.value_and_force(field.to(device))[1] for pull in (landmarks, labels)]

    for here, there in zip(forces(CPU), forces(torch.device(name)), strict=True):
        assert there.device.type == torch.device(name).type
        torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=1e-3)


def blank_inside() -> WorkingImage:
    """Return the phantom with a ball in its middle in which nothing is to be seen."""
    image = phantom(GRID)
    values = np.where(depth(GRID.points()) < 0.55, 0.5, image.intensity.double().numpy())
    return image_of(values, GRID)


def pulled(image: WorkingImage, *pulls: Pull, iterations: int = 60) -> DeformableFit:
    # Of a level on which all windows count: of every second, equal images drift by .13 of a node where they are blank.
    recipe = Deformable(similarity="lncc", radius=2, shrink=(2,), iterations=(iterations,), smooth_field=0.45)
    level = Level(with_foreground_weight(image), image, pulls)
    return register_deformable([level], recipe, on_step=lambda level, iteration, value: None)


def displaced(fit: DeformableFit, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where places go, as indices of the field's grid."""
    return places + np.stack([trilinear(part.double().numpy(), places) for part in fit.field], axis=-1)


def test_landmarks_move_what_the_images_cannot_tell_and_leave_the_rest():
    image = blank_inside()
    places = MIDDLE + np.array([[0, 0, 0], [1.5, 0, 0], [0, 1.5, 0], [0, -1.0, 1.0]])
    targets = places + np.array([1.6, 0.8, 0.0])
    assert np.abs(pulled(image).field.numpy()).max() < 0.1
    fit = pulled(image, LandmarkPull(places, targets, NODES.shape, device=CPU))
    assert np.linalg.norm(displaced(fit, places) - targets, axis=1).max() < 0.5 / RATIO
    field, _ = repair_folds(fit.field)
    assert float(corner_determinants(field).min()) > 0
    textured = (depth(NODES.points()) > 0.75) & (depth(NODES.points()) < 1)
    assert np.linalg.norm(fit.field.numpy(), axis=0)[textured].mean() < 0.25


def test_labels_move_what_the_images_cannot_tell():
    image = blank_inside()
    move = np.array([1.5, -0.8, 0.0])
    fixed, moving = (ball(MIDDLE + shift, 2.5) for shift in (0 * move, move))
    seen = torch.ones(NODES.shape)
    fit = pulled(image, LabelPull([Structure((0, 0, 0), fixed, moving)], seen, seen))

    def overlap(field: Tensor) -> float:
        warped = warp(moving, field)
        return float(2 * (warped * fixed).sum() / (warped.square().sum() + fixed.square().sum()))

    assert overlap(torch.zeros_like(fit.field)) < 0.75
    assert overlap(fit.field) > 0.92
    assert float(corner_determinants(repair_folds(fit.field)[0]).min()) > 0


def ball(centre: NDArray[np.float64], radius: float) -> Tensor:
    distance = np.linalg.norm(identity_grid(NODES.shape, CPU).double().numpy() - centre, axis=-1)
    return torch.from_numpy(np.clip(radius + 0.5 - distance, 0, 1)).float()


def test_a_level_goes_on_while_a_pull_still_gains():
    image = with_foreground_weight(phantom(GRID))
    far = MIDDLE[None] + np.array([[0, 7.0, 0]])
    pull = LandmarkPull(MIDDLE[None], far, NODES.shape, device=CPU)
    assert pulled(image).curves[0].size == 20
    assert pulled(image, pull).curves[0].size > 20


def test_landmarks_that_cross_each_other_are_not_met_and_fold_nothing():
    places = MIDDLE + np.array([[-1.5, 0, 0], [1.5, 0, 0]])
    fit = pulled(phantom(GRID), LandmarkPull(places, places[::-1].copy(), NODES.shape, device=CPU))
    field, _ = repair_folds(fit.field)
    assert float(corner_determinants(field).min()) > 0
    left = np.linalg.norm(displaced(replace(fit, field=field), places) - places[::-1], axis=1)
    assert left.min() > 1.0, "crossing them without a fold is impossible along the line between them"


def test_a_harder_pull_gets_closer_against_the_image():
    image = phantom(GRID)
    place = NODES.to_index(GRID.centre + np.array([RADIUS * 0.85, 0, 0]))[None]
    target = place + np.array([1.5, 0, 0])
    left = []
    for weight in (0.1, 1.0, 5.0):
        pull = LandmarkPull(place, target, NODES.shape, weight=weight, device=CPU)
        left.append(float(np.linalg.norm(displaced(pulled(image, pull), place) - target)))
    assert left[0] > left[1] > left[2]
    assert left[1] < 1.0 / RATIO
