"""A simulated GPU: tensors that compute on the CPU but count as lying on ``cuda:0``.

Torch's own fake tensors compute nothing, so a whole registration, which decides by values, cannot run on them. Here
each tensor made on the card, or computed from one, is marked. What CUDA refuses is refused: operands on two devices,
NumPy of a tensor on the card. What makes the host wait for the card is counted, with the line that asked for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

LIBRARY = str(Path(__file__).parents[1] / "DeepRegLib")
CARD = torch.device("cuda:0")
MARK = "_lies_on_the_card"
CAPABILITY = (9, 0)

T = torch.Tensor
# The host waits for the value, or for how many there are.
FETCHING = {
    T.item, T.tolist, T.__float__, T.__int__, T.__bool__, T.__index__, T.nonzero, torch.nonzero, torch.is_nonzero,
    T.unique, torch.unique, T.masked_select, torch.masked_select, T.equal, torch.equal, torch.allclose, T.allclose,
    torch.bincount, T.bincount, torch.argwhere, T.argwhere,
}  # fmt: skip
TO_NUMPY = {T.numpy, T.__array__, T.data_ptr}
MOVES = {T.to, T.cpu, T.cuda}
FROM_ELSEWHERE = {T.copy_, torch.manual_seed}
# A gradient, and a copy of a tensor, which is made with others in a dictionary.
LIE_WHERE_IT_LIES = {T.grad.__get__, T.__deepcopy__}
DEVICE = T.device.__get__
AUTOCAST, COPIED = torch.autocast, torch.nn.Parameter.__deepcopy__
IS_CUDA = T.is_cuda.__get__
IS_CPU = T.is_cpu.__get__
SET_DATA = T.data.__set__
NO_OPERANDS = {
    T.__setstate__,
    T.__repr__,
    T.__format__,
    T.__hash__,
    torch.is_tensor,
    torch._has_compatible_shallow_copy_type,
    T.is_complex,
    T.is_floating_point,
}


# What adds in no fixed order on CUDA, by PyTorch's page on `torch.use_deterministic_algorithms`; of what a registration
# could use: it takes no derivative by autograd, so the kernels of derivatives do not count.
UNREPEATABLE = {
    *("index_add", "index_add_", "index_put", "index_put_", "put", "put_", "scatter_add", "scatter_add_"),
    *("scatter_reduce", "scatter_reduce_", "index_reduce", "index_reduce_", "bincount", "histc", "kthvalue"),
    *("cumsum", "cumsum_", "resize_", "backward"),
}


class TwoDevicesError(RuntimeError):
    """Operands lie on the card and on the CPU, or a tensor on the card was to become an array."""


class SimulatedCard(TorchFunctionMode):
    """Within it ``device="cuda"`` is the simulated card.

    `waits` counts by file and line what made the host wait; `copies` what was sent to the card; `called` what was
    computed there, by function.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.called: Counter[str] = Counter()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what a function does, as if the marked tensors lay on a card."""
        named = dict(kwargs or {})
        if function == SET_DATA:
            function(*args, **named)
            return _marked(args[0]) if on_card(args[1]) else None
        if function in (DEVICE, IS_CUDA, IS_CPU):
            return self._where(function, args[0])
        if function in LIE_WHERE_IT_LIES:
            found = function(*args, **named)
            return _mark(found) if found is not None and on_card(args[0]) else found
        if function in MOVES:
            return self._moved(function, args, named)
        wanted = named.get("device")
        made_there = wanted is not None and torch.device(wanted).type == CARD.type
        if made_there:
            named["device"] = "cpu"
            self.copies[_line()] += function in (torch.tensor, torch.as_tensor, T.new_tensor)
        drawn_by = named.get("generator")
        if isinstance(drawn_by, GeneratorOnAnyDevice) and (drawn_by.wanted == CARD.type) != made_there:
            raise TwoDevicesError(f"{_line()}: random numbers of another device's generator.")
        tensors = [leaf for leaf in tree_leaves((args, named)) if isinstance(leaf, torch.Tensor)]
        there = [tensor for tensor in tensors if on_card(tensor)]
        if there:
            self.called[getattr(function, "__name__", "")] += 1
            self._check(function, args, tensors)
        elif wanted is None or not made_there:
            return function(*args, **named)
        result = function(*args, **named)
        if there and wanted is not None and torch.device(wanted).type == "cpu":
            return result
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                _mark(leaf)
        return result

    def _check(self, function: Callable[..., Any], args: tuple[Any, ...], tensors: Iterable[torch.Tensor]) -> None:
        if function in TO_NUMPY:
            raise TwoDevicesError(f"{_line()}: a tensor on the card is no array.")
        if function in FETCHING or _by_mask(function, args) or (function is torch.where and len(args) == 1):
            self.waits[_line()] += 1
        if function is T.copy_:
            self.copies[_line()] += not all(map(on_card, tensors))
            return
        # A number in a tensor may lie anywhere, as on real cards.
        apart = [tensor for tensor in tensors if not on_card(tensor) and tensor.dim() > 0]
        if apart and function not in NO_OPERANDS:
            name = getattr(function, "__name__", str(function))
            raise TwoDevicesError(f"{_line()}: {name} of tensors on the card and on the CPU.")

    def _where(self, function: Callable[..., Any], tensor: torch.Tensor) -> Any:
        if not on_card(tensor):
            return function(tensor)
        return {DEVICE: CARD, IS_CUDA: True, IS_CPU: False}[function]

    def _moved(self, function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
        tensor, *others = args
        target = {T.cpu: torch.device("cpu"), T.cuda: CARD}.get(function)
        kept = []
        for other in others:
            if isinstance(other, torch.Tensor):
                target = CARD if on_card(other) else torch.device("cpu")
                kept.append(other.dtype)
            elif isinstance(other, str | torch.device):
                target = torch.device(other)
            elif isinstance(other, torch.dtype):
                kept.append(other)
        if named.get("device") is not None:
            target = torch.device(named["device"])
        named.pop("device", None)
        was_there = on_card(tensor)
        becomes = was_there if target is None else target.type == CARD.type
        made = T.to(tensor, *kept, **named) if kept or named else tensor
        if was_there == becomes:
            return _mark(made) if becomes else made
        (self.copies if becomes else self.waits)[_line()] += 1
        made = made.clone() if made is tensor else made
        return _mark(made) if becomes else made


def on_card(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor lies on the simulated card."""
    return getattr(tensor, MARK, False)


def _mark(tensor: torch.Tensor) -> torch.Tensor:
    setattr(tensor, MARK, True)
    return tensor


def _marked(tensor: torch.Tensor) -> None:
    _mark(tensor)


def _by_mask(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Tell whether voxels are picked by a mask, so that only the card knows how many there are."""
    if function is not T.__getitem__ and function is not T.__setitem__:
        return False
    masks = [each for each in tree_leaves(args[1]) if isinstance(each, torch.Tensor) and each.dtype == torch.bool]
    # To write one number through a mask needs no count.
    return bool(masks) and not (function is T.__setitem__ and not _several(args[2]))


def _several(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _line() -> str:
    """Return where in the library torch was called."""
    frame = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(LIBRARY):
        frame = frame.f_back  # type: ignore[assignment]  # None at the outermost
    return "tests" if frame is None else f"{frame.f_code.co_filename[len(LIBRARY) + 1 :]}:{frame.f_lineno}"


class GeneratorOnAnyDevice(torch.Generator):
    """Random numbers of the CPU that say they are drawn where they are wanted."""

    def __new__(cls, device: torch.device | str = "cpu") -> GeneratorOnAnyDevice:
        """Draw on the CPU."""
        made = super().__new__(cls, "cpu")
        made.wanted = torch.device(device).type
        return made


def _parameter_copied(
    self: torch.nn.Parameter, memo: dict[int, Any], copied: Any = torch.nn.Parameter.__deepcopy__
) -> Any:
    made = copied(self, memo)
    return _mark(made) if on_card(self) else made


def _half_precision(
    _kind: str, dtype: torch.dtype | None = None, enabled: bool = True, own: Any = torch.autocast
) -> Any:
    """Compute in half precision on the CPU what the card would compute so."""
    return own("cpu", dtype, enabled)


@contextmanager
def simulated_card() -> Iterator[SimulatedCard]:
    """Let a machine have one card, ``cuda:0``, which is simulated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("DeepRegLib.devices.available_devices", lambda: ["cuda:0", "cpu"])
        patch.setattr(torch.cuda, "get_device_name", lambda _device=None: "simulated card")
        patch.setattr(torch.cuda, "get_device_capability", lambda _device=None: CAPABILITY)
        patch.setattr(torch.cuda, "mem_get_info", lambda _device=None: (8 << 30, 8 << 30))
        patch.setattr(torch, "Generator", GeneratorOnAnyDevice)
        patch.setattr(torch, "autocast", _half_precision)
        patch.setattr(torch.nn.Parameter, "__deepcopy__", _parameter_copied)
        patch.setattr(torch.random, "fork_rng", lambda _devices, fork=torch.random.fork_rng: fork([]))
        # A build for cards would have cuDNN rearrange the weights of a recurrent layer, which lie on none.
        with torch.backends.cudnn.flags(enabled=False), SimulatedCard() as card:
            yield card
