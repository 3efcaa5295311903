"""In what precision and memory layout a network is asked, by what its device can do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

# From this CUDA capability on (Volta) there are tensor cores, which take float16 and want channels last. Before it
# float16 is computed no faster, on some cards 64 times slower, and is used nowhere.
TENSOR_CORES = (7, 0)

Precision = Callable[[], AbstractContextManager[object]]


def has_tensor_cores(device: torch.device) -> bool:
    """Tell whether a device is a CUDA card that computes float16 natively."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES


def suited(network: nn.Module, device: torch.device | str) -> nn.Module:
    """Move a network to a device, its convolutions' weights in the layout that this one is fastest with."""
    chosen = torch.device(device)
    moved = network.to(chosen)
    if has_tensor_cores(chosen):
        moved.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stub lacks it
    return moved


def laid_out(image: Tensor) -> Tensor:
    """Return images ``(B, C, D, H, W)`` in the layout of `suited`."""
    return image.contiguous(memory_format=torch.channels_last_3d) if has_tensor_cores(image.device) else image


def precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return in what a network is to be computed: the next one where the one before gives numbers that are not finite.

    Half precision on cards with tensor cores, float32 everywhere. On CPUs without native bfloat16 or float16 both are
    emulated, many times slower than float32.
    """
    if has_tensor_cores(device):
        return (lambda: torch.autocast("cuda", torch.float16), nullcontext)
    return (nullcontext,)
