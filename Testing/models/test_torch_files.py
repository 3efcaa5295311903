"""Tensors that torch saved are read as they are; a pickle that does anything else is refused, and never run."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from DeepRegLib.errors import ModelError
from DeepRegLib.models.torch_files import read_tensors
from DeepRegLib.models.torchscript_files import torchscript_tensors_of


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def rewritten(path: Path, name: str, content: bytes | None) -> Path:
    """Replace an entry of an archive, or leave it out."""
    other = path.with_name("other.pth")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for entry in old.namelist():
            if entry.rpartition("/")[2] != name:
                new.writestr(entry, old.read(entry))
            elif content is not None:
                new.writestr(entry, content)
    return other


def test_a_network_s_weights_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3), nn.Linear(4, 1).half(), nn.Linear(2, 2).double())
    path = saved(tmp_path / "weights.pth", network.state_dict())
    expected = torch.load(path, weights_only=True)
    found = read_tensors(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_shared_numbers_other_orders_of_them_and_parameters_are_understood(tmp_path: Path) -> None:
    row = torch.arange(24.0)
    table = {
        "part": row[3:9].reshape(2, 3),
        "turned": row.reshape(4, 6).T,
        "same": row,
        "alone": torch.tensor(2.0),
        "learned": nn.Parameter(torch.ones(2), requires_grad=False),
    }
    found = read_tensors(saved(tmp_path / "weights.pth", table))
    assert list(found) == list(table)
    for name, tensor in table.items():
        assert torch.equal(found[name], tensor)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_the_file_is_run(tmp_path: Path) -> None:
    trap = tmp_path / "run"
    path = saved(tmp_path / "weights.pth", {"a": torch.ones(1), "b": Harmful(trap)})
    with pytest.raises(ModelError, match="holds no table of tensors: it"):
        read_tensors(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Harmful(trap)))  # our own, to see that the trap works
    assert trap.exists()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.ones(2), "it is a Tensor"),
        ({"epoch": 3, "weights": torch.ones(2)}, "more than tensors by name"),
        ({"state": OrderedDict(a=torch.ones(2))}, "more than tensors by name"),
        ({1: torch.ones(2)}, "more than tensors by name"),
        ({"flags": torch.ones(2, dtype=torch.bool)}, "numbers of the type torch BoolStorage"),
        (nn.Linear(1, 1), "it "),
    ],
)
def test_a_file_of_something_else_is_refused(value: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        read_tensors(saved(tmp_path / "weights.pth", value))
    assert "state_dict" in caught.value.hint or "more than" in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("0", b"\0" * 4, "1 numbers are there of 2"),
        ("0", None, "There is no item named"),
        ("data.pkl", None, "0 entries are called data.pkl"),
        ("data.pkl", b"garbage", "holds no table of tensors"),
        ("data.pkl", b"\x80\x02.", "holds no table of tensors"),
        ("data.pkl", b"\x80\x02N.", "it is a NoneType"),
        ("byteorder", b"big", "big-endian"),
    ],
)
def test_a_damaged_file_is_refused(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    whole = saved(tmp_path / "weights.pth", {"a": torch.ones(2)})
    with pytest.raises(ModelError, match=told):
        read_tensors(rewritten(whole, name, content))


def test_no_file_and_no_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no file .*nowhere\.pth"):
        read_tensors(tmp_path / "nowhere.pth")
    path = tmp_path / "old.pth"
    torch.save({"a": torch.ones(1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="not a zip file") as caught:
        read_tensors(path)
    assert "torch 1.6 or newer" in caught.value.hint


def test_a_tensor_that_reaches_past_its_numbers_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", {"a": torch.ones(2)})
    with zipfile.ZipFile(path) as archive:
        (name,) = [entry for entry in archive.namelist() if entry.endswith("data.pkl")]
        program = archive.read(name)
    # The shape of the tensor, (2,), is the last small number before the stride, (1,).
    assert program.count(b"K\x02\x85") == 1
    with pytest.raises(ModelError, match="out of bounds"):
        read_tensors(rewritten(path, "data.pkl", program.replace(b"K\x02\x85", b"K\x7f\x85")))


def test_a_small_file_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", {"a": torch.ones(4)})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, bytes(64 << 20) if entry.endswith("data/0") else old.read(entry))
    with pytest.raises(ModelError, match="grows from"):
        read_tensors(tmp_path / "bomb.pth")
    with pytest.raises(ModelError, match="is made of 1"):
        read_tensors(saved(tmp_path / "wide.pth", {"a": torch.ones(1).expand(1 << 15, 1 << 15)}))


def test_a_part_that_stands_in_many_places_is_not_followed_for_ever(tmp_path: Path) -> None:
    table: dict[str, Any] = {}
    for _ in range(60):
        table = {"one": table, "other": table}
    with zipfile.ZipFile(tmp_path / "m.ts", "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(table, 2))
    with (tmp_path / "m.ts").open("rb") as file, pytest.raises(ModelError, match="too many parts"):
        torchscript_tensors_of(file, "m.ts")
