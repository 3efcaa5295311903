"""Tensors from the files that `torch.save` writes, without unpickling them.

Such a file is a zip archive: the numbers of each tensor in an entry of its own, and a pickle that says how they belong
together. A pickle is a program, and a stranger's may do anything when it is run. Its instructions are read here like
other data, and only what a table of tensors is made of is understood (docs/decisions/no-pickle.md).
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from DeepRegLib.errors import ModelError
from DeepRegLib.guarding import guarded, in_one_line

TYPES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
}
TABLE, TENSOR, PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
PROGRAM = "data.pkl"
# Numbers do not get much smaller by packing; what does is made to fill the memory.
SURELY_FITS, LARGEST_RATIO = 16 << 20, 20
ADVICE = "Give a file of weights alone, saved by torch 1.6 or newer as torch.save(network.state_dict(), file)."


class _Named(NamedTuple):
    """Something of a Python module, as a pickle names it."""

    name: str


@dataclass(frozen=True, eq=False)
class _Mark:
    """Where on the stack a tuple or the items of a table begin."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a table of tensors by name.

    Parameters
    ----------
    path
        What ``torch.save(network.state_dict(), path)`` has written.

    Raises
    ------
    ModelError
        If there is no such file, or it holds anything else.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return tensors_of(file, path.name)
    except FileNotFoundError as error:
        raise ModelError(f"There is no file {path}.", "Check the path.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error


def tensors_of(file: BinaryIO, name: str) -> dict[str, Tensor]:
    """Read a table of tensors by name from the content of a file; `name` is what messages call it.

    Raises
    ------
    ModelError
        If it holds anything else.
    """
    with reading(name, "table of tensors", ADVICE), zipfile.ZipFile(file) as archive:
        table = TensorReader(archive).table()
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in table.items()):
        raise ModelError(f"{name} holds more than tensors by name.", ADVICE)
    return table


@contextmanager
def reading(name: str, what: str, advice: str) -> Iterator[None]:
    """Say in a sentence that a file is not what it should be, however that shows: its instructions may be any."""
    with guarded(Path(name), advice, ModelError):
        try:
            yield
        except (ValueError, TypeError, LookupError, RuntimeError, AttributeError, zipfile.BadZipFile) as error:
            raise ModelError(f"{name} holds no {what}: {in_one_line(str(error), 200)}.", advice) from error


class TensorReader:
    """Follows the instructions of one archive's pickle on a stack, as `pickletools` tells them."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        programs = [name for name in archive.namelist() if name.rpartition("/")[2] == PROGRAM]
        if len(programs) != 1:
            raise ValueError(f"{len(programs)} entries are called {PROGRAM}")
        self._folder = programs[0].removesuffix(PROGRAM)
        if self._folder + "byteorder" in archive.namelist() and self._entry("byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        self.stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def table(self) -> dict[Any, Any]:
        """Return the table that the pickle describes."""
        table = self.root()
        if not isinstance(table, dict):
            raise ValueError(f"it is a {type(table).__name__}")
        return table

    def root(self) -> Any:
        """Return what the pickle describes."""
        for instruction, argument, _ in pickletools.genops(self._entry(PROGRAM)):
            self.follow(instruction.name, argument)
        (root,) = self.stack
        return root

    def follow(self, instruction: str, argument: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        if instruction in PLAIN:
            stack.append(argument)
        elif instruction in CONSTANTS:
            stack.append(CONSTANTS[instruction]())
        elif instruction in ("BINPUT", "LONG_BINPUT"):
            self._memory[argument] = stack[-1]
        elif instruction in ("BINGET", "LONG_BINGET"):
            stack.append(self._memory[argument])
        elif instruction == "GLOBAL":
            stack.append(_Named(argument))
        elif instruction == "BINPERSID":
            stack.append(self._storage(*stack.pop()))
        elif instruction == "REDUCE":
            arguments, what = stack.pop(), stack.pop()
            stack.append(_made(what, arguments))
        elif instruction == "BUILD":  # a table's notes on the versions of its modules
            stack.pop()
        elif instruction not in ("PROTO", "STOP"):
            self._gather(instruction)

    def _gather(self, instruction: str) -> None:
        """Follow an instruction that makes one thing of several."""
        stack = self.stack
        if instruction in SHORT_TUPLES:
            stack.append(tuple(reversed([stack.pop() for _ in range(SHORT_TUPLES[instruction])])))
        elif instruction == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif instruction == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif instruction == "SETITEMS":
            items = self.since_mark()
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        else:
            raise ValueError(f"it has the instruction {instruction}")

    def since_mark(self) -> list[Any]:
        """Take what lies above the last mark off the stack."""
        items: list[Any] = []
        while not isinstance(top := self.stack.pop(), _Mark):
            items.append(top)
        return items[::-1]

    def _storage(self, kind: Any, numbers: Any, key: Any, _device: Any, count: Any) -> Tensor:
        """Return the numbers of a tensor, or of several, in one row."""
        if kind != "storage" or not isinstance(numbers, _Named) or numbers.name not in TYPES:
            raise ValueError(f"it has numbers of the type {getattr(numbers, 'name', numbers)}")
        kept = torch.frombuffer(bytearray(self._entry(f"data/{key}")), dtype=TYPES[numbers.name])
        if len(kept) != count:
            raise ValueError(f"{len(kept)} numbers are there of {count}")
        return kept

    def _entry(self, name: str) -> bytes:
        return unpacked(self._archive, self._folder + name)


def unpacked(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return an entry of an archive, unless it is many times as large as what it is unpacked from.

    Raises
    ------
    ValueError
        If it is.
    """
    entry = archive.getinfo(name)
    if entry.file_size > max(SURELY_FITS, LARGEST_RATIO * entry.compress_size):
        raise ValueError(f"the entry {name} grows from {entry.compress_size} to {entry.file_size} bytes")
    return archive.read(entry)


PLAIN = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1")
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "MARK": _Mark,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "NONE": lambda: None,
}


def _made(what: Any, arguments: Any) -> Any:
    """Return what a call in the pickle would have made."""
    name = what.name if isinstance(what, _Named) else what
    if name == TABLE and arguments == ():
        return {}
    if name == PARAMETER:
        return _checked(arguments[0])
    if name == TENSOR:
        storage, offset, shape, stride = arguments[:4]
        numbers = _checked(storage)
        if math.prod(shape) > max(numbers.numel(), SURELY_FITS):
            raise ValueError(f"a tensor of {math.prod(shape)} numbers is made of {numbers.numel()}")
        return numbers.as_strided(shape, stride, offset).clone()
    raise ValueError(f"it calls {name}")


def _checked(tensor: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"a {type(tensor).__name__} stands where numbers should be")
    return tensor
