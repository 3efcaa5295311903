"""Pairs of images made on the device, with labels and the true field between them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from DeepRegLib.networks.fields import half_shape, positions, to_full, to_half
from DeepRegLib.training.appearance import Appearance, acquire, apply_curves, random_curves, random_looks, render
from DeepRegLib.training.deformation import Deformation, random_field
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.separable import smooth_noise
from DeepRegLib.training.shapes import BACKGROUND, Shapes, random_labels
from DeepRegLib.transforms.sampling import sample

# Distances of the control points of a texture in voxels.
TEXTURE = (2.0, 8.0)


@dataclass(frozen=True)
class Synthesis:
    """Everything about pairs that is drawn at random: shapes, deformation and appearance."""

    shapes: Shapes
    deformation: Deformation
    appearance: Appearance


@dataclass(frozen=True, eq=False)
class Pairs:
    """A batch of pairs.

    Parameters
    ----------
    fixed, moving
        Shape ``(B, 1, D, H, W)``, float32 in [0, 1], 0 where unknown.
    fixed_known, moving_known
        Shape ``(B, 1, d, h, w)`` on the field's grid: 1 inside the field of view, 0 outside.
    field
        The true field, shape ``(B, 3, d, h, w)`` in voxels of its grid, or None.
    fixed_labels, moving_labels
        Shape ``(B, D, H, W)``, whole numbers below `labels`, or None.
    labels
        Number of labels, the background (0) among them.
    """

    fixed: Tensor
    moving: Tensor
    fixed_known: Tensor
    moving_known: Tensor
    field: Tensor | None = None
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None
    labels: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """Anatomy on a grid that reaches past that of the images by a margin on every side.

    Parameters
    ----------
    labels
        Shape ``(B, D + 2 m, H + 2 m, W + 2 m)``, whole numbers, or None.
    image
        Shape ``(B, 1, ...)``, about 0 to 1, or None: then images are rendered from the labels.
    known
        Shape ``(B, 1, ...)``: 1 where the anatomy is known.
    margin
        m, in voxels.
    count
        Number of labels.
    """

    labels: Tensor | None
    image: Tensor | None
    known: Tensor
    margin: int
    count: int


def random_scene(random: Randomness, shape: tuple[int, int, int], margin: int, shapes: Shapes) -> Scene:
    """Draw anatomy of random shapes for images of a shape ``(D, H, W)``."""
    d, h, w = (n + 2 * margin for n in shape)
    labels = random_labels(random, (d, h, w), shapes)
    return Scene(labels, None, torch.ones_like(labels[:, None], dtype=torch.float32), margin, shapes.labels)


def deformed_pairs(random: Randomness, scene: Scene, synthesis: Synthesis) -> Pairs:
    """Make pairs of a scene and the scene deformed by a known field.

    The moving image shows the scene as it is; the fixed image shows at p what the scene has at p + u(p), taken from the
    labels (or voxels) themselves, so the field and the images agree exactly.
    """
    fixed, field, places = deformed_scene(random, scene, synthesis.deformation)
    moving = _inner(scene)
    if scene.image is None:
        images = _rendered(random, fixed, moving, places, synthesis.appearance)
    else:
        images = _with_random_curves(random, fixed, moving, synthesis.appearance)
    return _seen(random, (fixed, moving), images, synthesis.appearance, field)


def deformed_scene(random: Randomness, scene: Scene, deformation: Deformation) -> tuple[Scene, Tensor, Tensor]:
    """Return a scene deformed by a random field, without its margin.

    Returns
    -------
    scene
        Deformed.
    field
        Shape ``(B, 3, d, h, w)`` in voxels of its grid.
    places
        Where each voxel has come from, in voxels of the scene without its margin, shape ``(B, D, H, W, 3)``.
    """
    d, h, w = (n - 2 * scene.margin for n in scene.known.shape[2:])
    field = random_field(random, half_shape((d, h, w)), deformation)
    places = positions(to_full(field, (d, h, w))) + scene.margin
    deformed = Scene(
        None if scene.labels is None else nearest(scene.labels, places, outside=BACKGROUND),
        None if scene.image is None else sample(scene.image, places, padding="zeros"),
        (sample(scene.known, places, padding="zeros") > 0.5).float(),
        0,
        scene.count,
    )
    return deformed, field, places - scene.margin


def real_pairs(random: Randomness, fixed: Scene, moving: Scene, appearance: Appearance) -> Pairs:
    """Make pairs of two scans, of two people or times: the field between them is not known."""
    both = _inner(fixed), _inner(moving)
    return _seen(random, both, _with_random_curves(random, *both, appearance), appearance, None)


def _rendered(
    random: Randomness, fixed: Scene, moving: Scene, places: Tensor, appearance: Appearance
) -> tuple[Tensor, Tensor]:
    """Return both images of label maps; `places` are those that the voxels of the fixed one have come from."""
    if fixed.labels is None or moving.labels is None:
        raise ValueError("a scene with neither labels nor an image")
    d, h, w = fixed.labels.shape[1:]
    looks = random_looks(random, fixed.count, appearance)
    own, other = smooth_noise(random, 2, (d, h, w), TEXTURE).split(1, 1)
    same = random.chance(appearance.same_texture, 1, 1, 1, 1)
    return (
        render(fixed.labels, torch.where(same, sample(other, places), own), looks[0]),
        render(moving.labels, other, looks[1]),
    )


def _with_random_curves(
    random: Randomness, fixed: Scene, moving: Scene, appearance: Appearance
) -> tuple[Tensor, Tensor]:
    if fixed.image is None or moving.image is None:
        raise ValueError("a scene without an image")
    curves = random_curves(random, appearance)
    return apply_curves(fixed.image, curves[0]), apply_curves(moving.image, curves[1])


def _seen(
    random: Randomness,
    scenes: tuple[Scene, Scene],
    images: tuple[Tensor, Tensor],
    appearance: Appearance,
    field: Tensor | None,
) -> Pairs:
    """Take a scan of each of two scenes without a margin."""
    (fixed, fixed_known), (moving, moving_known) = (
        acquire(random, image, scene.known, appearance) for image, scene in zip(images, scenes, strict=True)
    )
    return Pairs(
        fixed,
        moving,
        known_nodes(fixed_known),
        known_nodes(moving_known),
        field,
        scenes[0].labels,
        scenes[1].labels,
        scenes[0].count,
    )


def _inner(scene: Scene) -> Scene:
    """Cut the margin off."""
    labels = None if scene.labels is None else _cut(scene.labels, scene.margin)
    image = None if scene.image is None else _cut(scene.image, scene.margin)
    return Scene(labels, image, _cut(scene.known, scene.margin), 0, scene.count)


def _cut(volume: Tensor, margin: int) -> Tensor:
    for dim in (-3, -2, -1):
        volume = volume.narrow(dim, margin, volume.shape[dim] - 2 * margin)
    return volume


def nearest(labels: Tensor, index: Tensor, outside: int) -> Tensor:
    """Take the label of the nearest voxel.

    Parameters
    ----------
    labels
        Shape ``(B, D, H, W)``.
    index
        Continuous indices (i, j, k), shape ``(B, d, h, w, 3)``.
    outside
        The label beyond the outer voxels' borders.

    Returns
    -------
    Tensor
        Shape ``(B, d, h, w)``.
    """
    size = torch.tensor(labels.shape[:0:-1], device=labels.device)
    voxel = index.round().long()
    inside = ((voxel >= 0) & (voxel < size)).all(-1)
    i, j, k = torch.minimum(voxel.clamp(min=0), size - 1).unbind(-1)
    flat = (k * size[1] + j) * size[0] + i
    taken = labels.flatten(1).gather(1, flat.flatten(1)).view_as(flat)
    return taken.masked_fill(~inside, outside)


def known_nodes(known: Tensor) -> Tensor:
    """Return 1 at the nodes of the field's grid most of whose voxels ``(B, 1, D, H, W)`` are known, else 0."""
    return (to_half(known) > 0.5).float()
