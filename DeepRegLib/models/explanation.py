"""Which part of two images a registration network's answer came from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from DeepRegLib.models.inference import answer_of, network_image
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import field_grid

# Voxels of the network's grid: the gradient at one voxel alone is noise.
WINDOW = 5


def influence(network: nn.Module, pair: Level, *, poll: Poll = never_cancel) -> Tensor:
    """Return how much more than the average each place of the images moves the field.

    How long the field's displacements would be on average if a voxel were hidden (0, as where nothing is known), to
    first order: gradient times input (Shrikumar et al., "Not just a black box", 2016), of both images, without its
    sign, averaged over windows.

    Parameters
    ----------
    network
        As in `DeepRegLib.models.inference.predict`.
    pair
        Both images on the network's grid.
    poll
        Called at each layer; may raise to stop.

    Returns
    -------
    Tensor
        ``(D, H, W)``, float32, on the network's grid: 1 on average where something is known of the fixed image. All 0
        where nothing moves the field.
    """
    fixed, moving = hiding_effects(network, pair, poll=poll)
    magnitude = fixed.abs() + moving.abs()
    smooth = avg_pool3d(magnitude[None, None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[0, 0]
    known = pair.fixed.weight > 0
    mean = smooth[known].mean() if known.any() else smooth.mean()
    return smooth / mean if mean > 0 else torch.zeros_like(smooth)


def hiding_effects(network: nn.Module, pair: Level, *, poll: Poll = never_cancel) -> tuple[Tensor, Tensor]:
    """Return by how many mm the mean displacement would change without each voxel, to first order.

    Returns
    -------
    tuple of Tensor
        Of the fixed and of the moving image, ``(D, H, W)``, float32.
    """
    fixed, moving = (network_image(image).detach().requires_grad_() for image in (pair.fixed, pair.moving))
    with torch.enable_grad():
        field = answer_of(network, fixed, moving, poll)
        if not field.requires_grad:  # the network looks at neither
            return torch.zeros_like(fixed[0, 0]), torch.zeros_like(moving[0, 0])
        # The root has no gradient at 0, where a network that says nothing is.
        lengths = (field.square().sum(0) + torch.finfo(torch.float32).tiny).sqrt()
        mean = lengths.mean() * field_grid(pair.fixed.geometry).spacing[0]
        gradients = torch.autograd.grad(mean, (fixed, moving), materialize_grads=True)
    of_fixed, of_moving = (-(g * image)[0, 0].detach() for g, image in zip(gradients, (fixed, moving), strict=True))
    return of_fixed, of_moving
