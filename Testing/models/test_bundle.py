"""Bundles on the disk: what is written is read back, and what is damaged or does not fit is refused in a sentence."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from DeepRegLib.errors import MemoryShortageError, ModelError, OutputError
from DeepRegLib.models import ModelBundle, ModelInput, check_bundle, load_bundle, load_network, save_bundle
from DeepRegLib.models.bundle import BUILT_ELSEWHERE
from DeepRegLib.networks import ARCHITECTURES, THIRD_PARTY, build_network
from Testing.models.tiny import MANIFEST, Shift, build, tiny_bundle

SHIFT = (1.5, -2.25, 0.1)


@pytest.fixture
def bundle(tmp_path: Path) -> ModelBundle:
    return tiny_bundle(tmp_path / "tiny", SHIFT)


def rewritten(bundle: ModelBundle, **tensors: Tensor | None) -> ModelBundle:
    """Change tensors of a bundle, None removes one, and its hash with them; return it as it is read anew."""
    state = load(bundle.weights.read_bytes()) | tensors
    return with_weights(bundle, save({name: tensor for name, tensor in state.items() if tensor is not None}))


def with_weights(bundle: ModelBundle, content: bytes) -> ModelBundle:
    bundle.weights.write_bytes(content)
    return with_values(bundle, weights_sha256=sha256(content).hexdigest())


def with_values(bundle: ModelBundle, **values: object) -> ModelBundle:
    with_changed(bundle, **values)
    return load_bundle(bundle.folder)


def with_changed(bundle: ModelBundle, **values: object) -> None:
    path = bundle.folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_a_saved_network_is_loaded_with_its_weights_in_float16_precision(bundle: ModelBundle) -> None:
    network = load_network(load_bundle(bundle.folder), "cpu", build=build)
    assert isinstance(network, Shift)
    assert torch.equal(network.shift, torch.tensor(SHIFT).half().float())
    assert network.shift.dtype == torch.float32
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    check_bundle(bundle, build=build)


def test_the_manifest_is_completed_and_the_weights_are_small(bundle: ModelBundle) -> None:
    stored = load(bundle.weights.read_bytes())
    assert {name: tensor.dtype for name, tensor in stored.items()} == {"shift": torch.float16, "calls": torch.int64}
    assert bundle.manifest.parameters == 3
    assert bundle.manifest.weights_sha256 == sha256(bundle.weights.read_bytes()).hexdigest()
    kept = replace(bundle.manifest, parameters=0, weights_sha256="")
    assert kept == MANIFEST


def test_the_same_network_gives_the_same_bytes(bundle: ModelBundle, tmp_path: Path) -> None:
    again = tiny_bundle(tmp_path / "again", SHIFT)
    for name in ("model.json", "weights.safetensors"):
        assert (again.folder / name).read_bytes() == (bundle.folder / name).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_others_may_read_the_weights_as_any_new_file(bundle: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    plain = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in bundle.folder.iterdir()} == {plain}


def test_tensors_that_share_memory_and_lie_crosswise_are_stored(tmp_path: Path) -> None:
    shared = torch.arange(12.0).reshape(4, 3).T[:, 1].half()
    network = save_bundle(tmp_path / "a", MANIFEST, {"shift": shared, "calls": torch.zeros(1).long()}, build=build)
    assert load(network.weights.read_bytes())["shift"].tolist() == [3, 4, 5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 7e4])
def test_weights_beyond_float16_are_not_saved(value: float, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="shift"):
        tiny_bundle(tmp_path / "a", (0, value, 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "state", [{}, {"shift": torch.zeros(3)}, {"shift": torch.zeros(2), "calls": torch.zeros(1, dtype=torch.int64)}]
)
def test_what_could_not_be_loaded_is_not_saved(state: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"shift|calls"):
        save_bundle(tmp_path / "a", MANIFEST, state, build=build)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("DeepRegLib.models.bundle.write_manifest", full)
    with pytest.raises(OutputError, match="is full"):
        tiny_bundle(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_never_written_over_something_else(bundle: ModelBundle, tmp_path: Path) -> None:
    before = bundle.weights.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        tiny_bundle(bundle.folder, (9, 9, 9))
    assert bundle.weights.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="exists already"):
        tiny_bundle(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    tiny_bundle(tmp_path / "empty")


def flipped_bit(bundle: ModelBundle) -> None:
    content = bytearray(bundle.weights.read_bytes())
    content[-1] ^= 1
    bundle.weights.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flipped_bit, "SHA-256 differs"),
        (lambda bundle: bundle.weights.write_bytes(b""), "SHA-256 differs"),
        (lambda bundle: bundle.weights.unlink(), r"has no weights\.safetensors"),
        (lambda bundle: with_changed(bundle, minimum_library="99.0"), r"needs DeepReg 99\.0"),
        (lambda bundle: with_changed(bundle, weights_sha256=""), "SHA-256 differs"),
    ],
)
def test_a_damaged_bundle_is_not_read(bundle: ModelBundle, damage: Callable[[ModelBundle], object], told: str) -> None:
    damage(bundle)
    with pytest.raises(ModelError, match=told) as caught:
        load_bundle(bundle.folder)
    assert "tiny" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda b: rewritten(b, shift=None), "lack shift"),
        (lambda b: rewritten(b, extra=torch.zeros(1), more=torch.zeros(1)), "hold extra, more, which shift has not"),
        (lambda b: rewritten(b, shift=torch.zeros(2)), r"have shift in the shape \(2,\), not \(3,\)"),
        (lambda b: rewritten(b, shift=torch.tensor([0.0, float("nan"), 0.0])), "NaN or infinite numbers in shift"),
        (lambda b: rewritten(b, shift=torch.tensor([0.0, 0.0, float("inf")]).half()), "NaN or infinite numbers"),
        (lambda b: rewritten(b, shift=torch.zeros(3, dtype=torch.int32)), r"have shift as torch\.int32"),
        (lambda b: rewritten(b, calls=torch.zeros(1)), r"have calls as torch\.float32"),
        (lambda b: with_weights(b, b"\x05\0\0\0\0\0\0\0hello"), "no file of weights"),
        (lambda b: with_weights(b, b""), "no file of weights"),
        (lambda b: with_weights(b, b.weights.read_bytes()[:-1]), "no file of weights"),
        (lambda b: with_values(b, architecture="transformer"), "cannot be built.*'transformer' is unknown"),
        (lambda b: with_values(b, arguments={"depth": 3}), "cannot be built.*depth"),
        (lambda b: with_values(b, arguments={"shift": ["a"]}), "cannot be built"),
        (lambda b: with_values(b, parameters=4), "has 3 parameters, not 4"),
        (
            lambda b: with_values(b, input={"spacing": 2, "size": [8, 8, 6], "intensity": "percentile"}),
            "multiples of 4",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_check_and_load(
    bundle: ModelBundle, change: Callable[[ModelBundle], ModelBundle], told: str
) -> None:
    changed = change(bundle)
    with pytest.raises(ModelError, match=told) as caught:
        check_bundle(changed, build=build)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=told):
        load_network(changed, "cpu", build=build)


def test_a_manifest_that_asks_for_more_than_its_weights_takes_no_memory_for_it(
    bundle: ModelBundle,
) -> None:
    """Some 4 TB of parameters: refused by their shapes, wherever the network is built."""
    greedy = with_values(bundle, architecture="remembered", arguments={"shape": [10_000, 10_000, 10_000]})
    with pytest.raises(ModelError, match=r"lack field|hold calls"):
        check_bundle(greedy, build=build)
    with pytest.raises(ModelError, match=r"lack field|hold calls"):
        load_network(greedy, "cpu", build=build)


@pytest.mark.parametrize("name", sorted({*ARCHITECTURES, *THIRD_PARTY} - {*BUILT_ELSEWHERE}))
def test_every_network_can_be_built_without_memory_and_without_drawing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(*_: object, **__: object) -> None:
        raise AssertionError("for this PyTorch imports its compiler on the meta device, two seconds of CPU time")

    monkeypatch.setattr(torch.Tensor, "normal_", drawn)
    with torch.device("meta"):
        network = build_network(name, {})
    assert all(tensor.device.type == "meta" for tensor in network.state_dict().values())


def test_weights_that_are_exchanged_after_they_were_hashed_are_not_loaded(bundle: ModelBundle) -> None:
    state = load(bundle.weights.read_bytes()) | {"shift": torch.ones(3)}
    bundle.weights.write_bytes(save(state))
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_network(bundle, "cpu", build=build)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment from shared object"),
        SafetensorError("Error while deserializing: Cannot allocate memory (os error 12)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 44 bytes"),
    ],
)
def test_too_little_memory_is_called_so(error: Exception, bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("safetensors.torch.load", fail)
    monkeypatch.setattr("safetensors.safe_open", fail)
    for use in (load_network, check_bundle):
        with pytest.raises(MemoryShortageError, match="memory does not suffice"):
            use(bundle, *(["cpu"] if use is load_network else []), build=build)


def test_a_size_that_suits_the_network_is_taken(tmp_path: Path) -> None:
    assert tiny_bundle(tmp_path / "a", input=ModelInput(2.0, (8, 8, 12))).manifest.input.size == (8, 8, 12)


def test_without_safetensors_the_user_is_told_what_to_install(
    bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for use in (
        lambda: load_network(bundle, "cpu", build=build),
        lambda: check_bundle(bundle, build=build),
        lambda: tiny_bundle(tmp_path / "b"),
    ):
        with pytest.raises(ModelError, match=r"safetensors is not installed") as caught:
            use()
        assert "pip install safetensors" in caught.value.hint
        assert "slicer.util.pip_install" in caught.value.hint
    assert load_bundle(bundle.folder) == bundle, "listing and hashing need no safetensors"
