"""One process or many that train together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from DeepRegLib.devices import choose_device

COUNT, RANK, LOCAL_RANK = "WORLD_SIZE", "RANK", "LOCAL_RANK"


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is, and where it computes."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def parallel(self, module: nn.Module) -> nn.Module:
        """Wrap a module so that its gradients are averaged over all processes."""
        if self.count == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, broadcast_buffers=False)

    def mean(self, values: Tensor) -> Tensor:
        """Average a tensor over all processes."""
        if self.count > 1:
            values = values.clone()
            distributed.all_reduce(values)
            values /= self.count
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all of them must ask."""
        return flag if self.count == 1 else bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            distributed.barrier()


def is_first_process() -> bool:
    """Whether this is the process that writes and speaks, of those that `torchrun` has started."""
    return _number(os.environ, RANK, 0) == 0


@contextmanager
def together(device: str | None) -> Iterator[Processes]:
    """Join the other processes, if `torchrun` has started some; leave them at the end.

    Parameters
    ----------
    device
        Name of the device; None for the fastest. With several processes, ``"cuda"`` (or None where there is one) gives
        each a GPU of its own.
    """
    count, rank = _number(os.environ, COUNT, 1), _number(os.environ, RANK, 0)
    chosen = choose_device(device)
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", _number(os.environ, LOCAL_RANK, 0))
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=count)
    try:
        yield Processes(rank, count, chosen)
    finally:
        distributed.destroy_process_group()


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    return int(environment.get(name, otherwise))
