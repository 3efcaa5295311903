"""The tensors of a TorchScript file by the names they have in its network, without running the program in it.

A TorchScript file brings its network as a program of its own language beside its weights. Who runs it runs what a
stranger wrote. Its table of objects is read here like other data: modules become tables, and of these the tensors are
kept. The network itself must be built by a class that is known (docs/decisions/monai-bundles.md).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from itertools import count
from typing import Any, BinaryIO

from torch import Tensor

from DeepRegLib.models.torch_files import TensorReader, reading

MODULE = "__torch__."
LISTS = "torch.jit._pickle build_"
DEEPEST, MOST_PARTS = 64, 100_000
ADVICE = "Give a file that torch.jit.save has written."


def is_torchscript(file: BinaryIO) -> bool:
    """Tell whether a file of torch brings a program."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any("/code/__torch__" in name for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError):
        return False


def torchscript_tensors_of(file: BinaryIO, name: str) -> dict[str, Tensor]:
    """Read the parameters and buffers of a TorchScript file, by name.

    Parameters
    ----------
    file
        Its content.
    name
        What messages call it.

    Raises
    ------
    ModelError
        If it holds something else.
    """
    found: dict[str, Tensor] = {}
    with reading(name, "network of TorchScript", ADVICE), zipfile.ZipFile(file) as archive:
        _gather(_ScriptReader(archive).root(), "", found, 0, count())
    return found


class _ScriptReader(TensorReader):
    """Understands objects and lists besides what a table of tensors is made of; an object is the table of its parts."""

    def follow(self, instruction: str, argument: Any) -> None:
        stack = self.stack
        if instruction == "BINFLOAT":
            stack.append(argument)
        elif instruction == "EMPTY_LIST":
            stack.append([])
        elif instruction == "APPENDS":
            items = self.since_mark()
            stack[-1].extend(items)
        elif instruction == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif instruction == "NEWOBJ":
            _, what = stack.pop(), stack.pop()
            if not what.name.startswith(MODULE):
                raise ValueError(f"it makes {what.name}")
            stack.append({})
        elif instruction == "BUILD":
            parts = stack.pop()
            if isinstance(parts, dict) and isinstance(stack[-1], dict):
                stack[-1].update(parts)
        elif instruction == "REDUCE" and getattr(stack[-2], "name", "").startswith(LISTS):
            arguments = stack.pop()
            stack.pop()
            stack.append(list(arguments[0]))
        else:
            super().follow(instruction, argument)


def _gather(part: Any, name: str, found: dict[str, Tensor], depth: int, steps: Iterator[int]) -> None:
    if next(steps) > MOST_PARTS:  # a part that stands in many places, and in it another one
        raise ValueError("it has too many parts")
    if depth > DEEPEST:
        raise ValueError("its modules lie too deep in each other")
    if isinstance(part, Tensor):
        found[name] = part
    elif isinstance(part, dict):
        for key, value in part.items():
            if isinstance(key, str):
                _gather(value, f"{name}.{key}" if name else key, found, depth + 1, steps)
