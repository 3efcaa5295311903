"""Devices by name, and running out of memory in words."""

from __future__ import annotations

import pytest
import torch

from DeepRegLib.devices import available_devices, choose_device, free_memory, memory_errors_explained
from DeepRegLib.errors import InputError, MemoryShortageError


def test_the_cpu_is_always_there_and_comes_last():
    assert available_devices()[-1] == "cpu"
    assert choose_device("cpu") == torch.device("cpu")


def test_none_and_auto_take_the_fastest():
    fastest = torch.device(available_devices()[0])
    assert choose_device(None) == choose_device("auto") == fastest


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "cpu:7", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(InputError, match="no device") as caught:
        choose_device(name)
    assert "cpu" in caught.value.hint


def test_several_devices_are_listed_fastest_first(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert choose_device(None) == torch.device("cuda:0")
    assert choose_device("cuda").type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("Failed to allocate memory for image."),
    ],
)
def test_running_out_of_memory_is_explained(error):
    with (
        pytest.raises(MemoryShortageError, match="Out of memory on cpu") as caught,
        memory_errors_explained(torch.device("cpu")),
    ):
        raise error
    assert "fast" in caught.value.hint
    assert caught.value.__cause__ is error


def test_on_a_graphics_card_the_cpu_is_offered():
    with pytest.raises(MemoryShortageError) as caught, memory_errors_explained(torch.device("cuda:0")):
        raise MemoryError
    assert "--device cpu" in caught.value.hint
    assert caught.value.device == "cuda:0"


def test_the_free_memory_of_every_device_is_told_or_unknown():
    for name in available_devices():
        memory = free_memory(name)
        assert memory is None or memory > 1e6


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="shape"), memory_errors_explained(torch.device("cpu")):
        raise RuntimeError("shape mismatch")
