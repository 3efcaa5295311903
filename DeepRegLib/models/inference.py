"""What a registration network says of two images, and how sure it is.

A network sees both images on one isotropic grid, the moving one aligned linearly, and gives a displacement on the grid
half as fine (`DeepRegLib.optimization.field_grid`). Averaging over what should not matter tells how far to trust it:
its answers to mirrored images and to other contrasts ought to be the same (test-time augmentation, Wang et al.,
"Aleatoric uncertainty estimation with test-time augmentation", Neurocomputing 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from DeepRegLib.errors import ModelError
from DeepRegLib.geometry import Geometry
from DeepRegLib.models.manifest import ModelInput
from DeepRegLib.models.orientation import turn_to
from DeepRegLib.models.precision import laid_out, precisions
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.networks.anatomix import Anatomix, describe
from DeepRegLib.optimization.cost_volume import made_consistent
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import RATIO, field_grid
from DeepRegLib.optimization.regularity import repair_folds
from DeepRegLib.optimization.working import WorkingImage, moved_by
from DeepRegLib.transforms.sampling import compose_fields, identity_grid

# Voxels of a network's grid at most: with 16 channels on it, a few GB.
LARGEST_GRID = 4_000_000
MARGIN_VOXELS = 2
LEAST_GROWTH = 1.002
# The same anatomy in other contrasts: darker, brighter, inverted.
INTENSITY_CURVES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda intensity: intensity**1.33,
    lambda intensity: intensity**0.75,
    lambda intensity: 1 - intensity,
)

Step = Callable[[float], None]


def network_grid(box: Geometry, wanted: ModelInput, multiple: int, largest: int = LARGEST_GRID) -> Geometry:
    """Return the isotropic grid about a box on which a network sees its images.

    Its voxels are as wide as the network wants them, or as many across as it wants but not finer than those of the box;
    or wider where the box would not fit into the size it wants, or into the number of voxels allowed.

    Parameters
    ----------
    box
        The grid to cover.
    wanted
        Spacing or voxels across, size and orientation the network was made for.
    multiple
        The size is a multiple of it and of 2 along each axis, unless the network wants another.
    largest
        Voxels at most, where the network takes any size.
    """
    unit = math.lcm(multiple, RATIO)
    step = wanted.spacing or max(float(box.extent.max()) / (wanted.across - 2 * MARGIN_VOXELS), min(box.spacing))
    while True:
        needed = np.ceil(box.extent / step - 1e-6).astype(int)
        if wanted.size is not None:
            given = turn_to(wanted.orientation, box).size_on_grid(wanted.size) if wanted.orientation else wanted.size
            size, excess = np.array(given), float((needed / given).max())
        else:
            size = unit * -(-(needed + 2 * MARGIN_VOXELS) // unit)
            excess = 0.0 if (size == unit).all() else (float(np.prod(size)) / largest) ** (1 / 3)
        if excess <= 1:
            return box.recentred(size, [step] * 3)
        step *= max(excess, LEAST_GROWTH)


@torch.no_grad()
def predict(
    network: nn.Module,
    pair: Level,
    *,
    start: Tensor | None = None,
    passes: int = 1,
    consistent: bool,
    on_step: Step,
    poll: Poll = never_cancel,
) -> Tensor:
    """Return the displacement a network predicts, without folds.

    Parameters
    ----------
    network
        ``forward(fixed, moving)`` takes images ``(1, 1, D, H, W)`` and gives ``(1, 3, d, h, w)``.
    pair
        Both images on the network's grid.
    start
        A displacement as it is returned; the network is asked what is missing from it.
    passes
        How often the network is asked, each time what is still missing.
    consistent
        Ask for both directions, and bring them nearer to being each other's inverse.
    on_step
        Called with the fraction done; may raise.
    poll
        Called at each layer; may raise to stop.

    Returns
    -------
    Tensor
        ``(3, d, h, w)``, float32, in voxels of the grid of the field.

    Raises
    ------
    ModelError
        If the network gives something of another shape, or numbers that are not finite.
    """
    fixed, field = network_image(pair.fixed), start
    nodes = identity_grid(field_grid(pair.fixed.geometry).shape, fixed.device)
    for number in range(passes):
        moving = network_image(pair.moving if field is None else moved_by(pair.moving, field))
        missing = answer_of(network, fixed, moving, poll)
        if consistent:
            on_step((number + 0.5) / passes)
            missing, _ = made_consistent(missing, answer_of(network, moving, fixed, poll), poll=poll)
        if field is not None:
            missing = compose_fields(field, missing, nodes)
        field, _ = repair_folds(missing, poll=poll)
        on_step((number + 1) / passes)
    if field is None:
        raise ValueError("a network that is not asked")
    return field


@torch.no_grad()
def described(network: Anatomix, image: WorkingImage, *, poll: Poll = never_cancel) -> WorkingImage:
    """Return an image with the features that a network gives its voxels.

    Parameters
    ----------
    network
        In evaluation mode, on the device of the image.
    image
        Of any size.
    poll
        Called at each layer; may raise to stop.
    """
    with _polled(network, poll):
        return replace(image, features=describe(network, network_image(image)[0])[0])


@torch.no_grad()
def uncertainty(network: nn.Module, pair: Level, *, on_step: Step, poll: Poll = never_cancel) -> Tensor:
    """Return how far a network's answers differ where they ought to be the same: their standard deviation.

    It is asked once for the images as they are, mirrored along each axis, brighter, darker and inverted.

    Parameters
    ----------
    network, pair, on_step, poll
        As in `predict`.

    Returns
    -------
    Tensor
        ``(d, h, w)``, float32, in mm on the grid of the field: the root of the variances summed over the axes.
    """
    total = 1 + 3 + len(INTENSITY_CURVES)
    grid = field_grid(pair.fixed.geometry)
    mean = torch.zeros(3, *grid.shape, device=pair.fixed.device)
    squares = torch.zeros_like(mean[0])
    for number, field in enumerate(_answers(network, pair, poll), start=1):
        # Welford's way: the variance without keeping the fields.
        before = field - mean
        mean += before / number
        squares += (before * (field - mean)).sum(0)
        on_step(number / total)
    return (squares / (total - 1)).sqrt() * grid.spacing[0]


def _answers(network: nn.Module, pair: Level, poll: Poll) -> Iterator[Tensor]:
    """Yield the fields for images that differ in nothing that should matter."""
    fixed, moving = network_image(pair.fixed), network_image(pair.moving)
    yield answer_of(network, fixed, moving, poll)
    for axis, dim in enumerate((-1, -2, -3)):
        mirrored = answer_of(network, fixed.flip(dim), moving.flip(dim), poll).flip(dim)
        mirrored[axis].neg_()
        yield mirrored
    for curve in INTENSITY_CURVES:
        yield answer_of(network, network_image(pair.fixed, curve), network_image(pair.moving, curve), poll)


def network_image(image: WorkingImage, curve: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Return ``(1, 1, D, H, W)``: about 0 to 1, and 0 where nothing is known."""
    intensity = image.intensity if curve is None else curve(image.intensity.clamp(0, 1))
    return (intensity * image.weight)[None, None]


def answer_of(network: nn.Module, fixed: Tensor, moving: Tensor, poll: Poll) -> Tensor:
    """Return one answer of a network, ``(3, d, h, w)``: in half precision where that suffices and is quicker."""
    for precision in precisions(fixed.device):
        with precision(), _polled(network, poll):
            answer = network(laid_out(fixed), laid_out(moving))
        expected = (1, 3, *(-(-n // RATIO) for n in fixed.shape[2:]))
        if tuple(answer.shape) != expected:
            raise ModelError(
                f"The network gave a field of the shape {tuple(answer.shape)} instead of {expected}.",
                "Use a model of the task registration that is made for this version of DeepReg.",
            )
        field: Tensor = answer[0].float().contiguous()
        if torch.isfinite(field).all():
            return field
    raise ModelError("The network gave numbers that are not finite.", "Register without this model.")


@contextmanager
def _polled(network: nn.Module, poll: Poll) -> Iterator[None]:
    """Poll before each layer of a network, whose answer as a whole may take many seconds."""

    def before(_module: nn.Module, _inputs: object) -> None:
        poll()

    hooks = [module.register_forward_pre_hook(before) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
