"""A bundle: the folder of a trained network, with its manifest and its weights as safetensors (never pickle).

Nothing here imports torch before weights are read or written, so that what only lists models needs none.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DeepRegLib.errors import MemoryShortageError, ModelError
from DeepRegLib.files import write_folder
from DeepRegLib.models.manifest import MANIFEST, Manifest, check_library, read_manifest, write_manifest

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Build = Callable[[str, Mapping[str, Any]], "nn.Module"]
Shape = tuple[int, ...]

WEIGHTS = "weights.safetensors"
HASHED_AT_ONCE = 1 << 20
SHOWN_NAMES = 3
# Their packages compute while they build, which the meta device cannot.
BUILT_ELSEWHERE = ("unigradicon",)
LONGEST_REASON = 300
SHORTAGE_SIGNS = ("cannot allocate memory", "not enough memory", "can't allocate", "bad_alloc", "failed to map segment")
ANEW = "Get the model anew from where it came from."
NO_SAFETENSORS = (
    "The weights of a model cannot be read or written here: the package safetensors is not installed, or not whole.",
    "Install it where the engine runs: pip install safetensors, or in Slicer's Python console "
    'slicer.util.pip_install("safetensors").',
)


@dataclass(frozen=True)
class ModelBundle:
    """A folder with ``model.json`` and ``weights.safetensors``, and what the former says."""

    folder: Path
    manifest: Manifest

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return self.folder / WEIGHTS

    @property
    def identity(self) -> dict[str, str]:
        """What a result notes of a model it depends on."""
        manifest = self.manifest
        return {"name": manifest.name, "version": manifest.version, "weights_sha256": manifest.weights_sha256}


def load_bundle(folder: str | Path) -> ModelBundle:
    """Read a bundle's manifest and compare its weights with the SHA-256 there; the weights are not loaded.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or the model needs a newer library.
    """
    bundle = ModelBundle(Path(folder), read_manifest(folder))
    check_library(bundle.manifest)
    if not bundle.weights.is_file():
        raise ModelError(f"The model {bundle.manifest.name} has no {WEIGHTS} in {folder}.", ANEW)
    if _sha256(bundle.weights) != bundle.manifest.weights_sha256:
        raise _other_weights(bundle.manifest)
    return bundle


def check_bundle(bundle: ModelBundle, *, build: Build | None = None) -> None:
    """Make sure that the network of a bundle can be built and that its weights fit it and are numbers.

    The network is built without memory for its weights, and these are read one at a time.

    Parameters
    ----------
    bundle
        From `load_bundle`.
    build
        Makes a network of an architecture and its arguments; None for `DeepRegLib.networks.build_network`.

    Raises
    ------
    ModelError
        If the architecture or an argument is unknown, the images it takes do not suit it, or a tensor is missing,
        unknown, of another shape or type, or holds NaN or an infinity.
    MemoryShortageError
        If the memory does not suffice.
    """
    manifest = bundle.manifest
    with _safetensors(bundle.weights):
        from safetensors import safe_open

        with safe_open(bundle.weights, framework="pt") as file:
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            wanted = _check_network(manifest, _built(manifest, build, on_meta=True), shapes)
            for name in names:
                _check_numbers(manifest, name, file.get_tensor(name), wanted[name])


def save_bundle(
    folder: str | Path, manifest: Manifest, state_dict: Mapping[str, Tensor], *, build: Build | None = None
) -> ModelBundle:
    """Write a bundle; the folder appears whole or not at all.

    Parameters
    ----------
    folder
        Not there yet, or empty.
    manifest
        What to write; `weights_sha256` and `parameters` are filled in.
    state_dict
        The network's, any device and dtype; numbers with a fraction are stored as float16.
    build
        As in `check_bundle`, which the written bundle passes.

    Returns
    -------
    ModelBundle
        As read back.

    Raises
    ------
    ModelError
        If the weights do not fit the network, or one is beyond what float16 holds.
    OutputError
        If the folder is not empty or cannot be written.
    """
    tensors = {name: _stored(name, tensor) for name, tensor in state_dict.items()}
    network = _built(manifest, build, on_meta=True)
    counted = replace(manifest, parameters=sum(p.numel() for p in network.parameters()))
    _check_network(counted, network, {name: tuple(tensor.shape) for name, tensor in tensors.items()})

    def write(partial: Path) -> None:
        with _safetensors(partial / WEIGHTS):
            from safetensors.torch import save

            # Not by `save_file`, whose files nobody but their owner may read.
            (partial / WEIGHTS).write_bytes(save(tensors))
        write_manifest(replace(counted, weights_sha256=_sha256(partial / WEIGHTS)), partial)

    return load_bundle(write_folder(folder, write))


def copy_bundle(bundle: ModelBundle, folder: Path) -> ModelBundle:
    """Copy a bundle into a folder that is not there yet, whole or not at all, and compare the copy's weights too.

    Raises
    ------
    ModelError
        If the copy differs, as on a failing disk.
    OutputError
        If the folder is not empty or cannot be written.
    """

    def write(partial: Path) -> None:
        for name in (MANIFEST, WEIGHTS):
            (partial / name).write_bytes((bundle.folder / name).read_bytes())
        load_bundle(partial)

    return ModelBundle(write_folder(folder, write), bundle.manifest)


def load_network(bundle: ModelBundle, device: torch.device | str, *, build: Build | None = None) -> nn.Module:
    """Build the network of a bundle and load its weights.

    Parameters
    ----------
    bundle
        From `load_bundle`.
    device
        Where it goes.
    build
        As in `check_bundle`.

    Returns
    -------
    nn.Module
        In eval mode, float32, without gradients.

    Raises
    ------
    ModelError
        As `check_bundle`, or if the file is not the one the manifest names: what is loaded is what was hashed.
    MemoryShortageError
        If the memory does not suffice.
    """
    manifest = bundle.manifest
    with _safetensors(bundle.weights):
        from safetensors.torch import load

        content = bundle.weights.read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
            raise _other_weights(manifest)
        tensors = load(content)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = _check_network(manifest, _built(manifest, build, on_meta=True), shapes)
    for name, tensor in tensors.items():
        _check_numbers(manifest, name, tensor, wanted[name])
    network = _built(manifest, build)  # as large as the file of its weights, now that they fit
    network.load_state_dict(tensors)
    suited: nn.Module = import_module("DeepRegLib.models.precision").suited(network, device)
    return suited.eval().requires_grad_(False)


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network by name, as `DeepRegLib.networks.build_network` does, which imports torch."""
    built: nn.Module = import_module("DeepRegLib.networks").build_network(architecture, arguments)
    return built


def _built(manifest: Manifest, build: Build | None, *, on_meta: bool = False) -> nn.Module:
    """Build the network of a manifest; on torch's meta device it takes no memory for its weights."""
    import torch

    try:
        with torch.device("meta" if on_meta and manifest.architecture not in BUILT_ELSEWHERE else "cpu"):
            return (build or build_network)(manifest.architecture, manifest.arguments)
    except ModelError as error:
        raise ModelError(f"The model {manifest.name} cannot be built. {error.message}", error.hint) from error
    except MemoryError as error:
        raise _shortage(manifest.name) from error
    except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:  # sizes that make no sense
        if is_shortage(str(error)):
            raise _shortage(manifest.name) from error
        raise ModelError(f"The model {manifest.name} cannot be built: {one_line(error)}.", ANEW) from error


def _check_network(manifest: Manifest, network: nn.Module, stored: Mapping[str, Shape]) -> dict[str, Tensor]:
    """Compare names and shapes of stored tensors with those of a network, and return the latter's tensors."""
    wanted = network.state_dict()
    name = manifest.name
    if missing := wanted.keys() - stored.keys():
        raise ModelError(f"The weights of the model {name} lack {_some(missing)}.", ANEW)
    if unknown := stored.keys() - wanted.keys():
        raise ModelError(
            f"The weights of the model {name} hold {_some(unknown)}, which {manifest.architecture} has not.", ANEW
        )
    for tensor, weights in wanted.items():
        if stored[tensor] != tuple(weights.shape):
            raise ModelError(
                f"The weights of the model {name} have {tensor} in the shape {stored[tensor]}, "
                f"not {tuple(weights.shape)}.",
                ANEW,
            )
    count = sum(p.numel() for p in network.parameters())
    if count != manifest.parameters:
        raise ModelError(f"The model {name} has {count} parameters, not {manifest.parameters} as it says.", ANEW)
    multiple = getattr(network, "multiple", 1)
    if manifest.input.size is not None and any(n % multiple for n in manifest.input.size):
        raise ModelError(
            f"The model {name} is for images of {manifest.input.size} voxels, which are no multiples of {multiple}.",
            ANEW,
        )
    return wanted


def _check_numbers(manifest: Manifest, name: str, stored: Tensor, wanted: Tensor) -> None:
    if stored.is_floating_point() != wanted.is_floating_point():
        raise ModelError(
            f"The weights of the model {manifest.name} have {name} as {stored.dtype}, not {wanted.dtype}.", ANEW
        )
    if stored.is_floating_point() and not bool(stored.isfinite().all()):
        raise ModelError(f"The weights of the model {manifest.name} hold NaN or infinite numbers in {name}.", ANEW)


def _other_weights(manifest: Manifest) -> ModelError:
    return ModelError(
        f"The weights of the model {manifest.name} are not those its manifest names: their SHA-256 differs.", ANEW
    )


def _stored(name: str, tensor: Tensor) -> Tensor:
    import torch

    if not tensor.is_floating_point():
        return tensor.detach().cpu().clone().contiguous()
    half = tensor.detach().to("cpu", torch.float16, copy=True).contiguous()
    if not torch.isfinite(half).all():
        raise ModelError(
            f"The weight {name} holds numbers that are not finite, or too large for float16.",
            "Train the network anew, or scale that weight.",
        )
    return half


@contextmanager
def _safetensors(path: Path) -> Iterator[None]:
    """Say in a sentence that safetensors is missing, or finds a file damaged."""
    try:
        import safetensors

        yield
    except MemoryError as error:
        raise _shortage(str(path)) from error
    except ImportError as error:  # of itself, or of something its reader for torch needs
        if is_shortage(str(error)):
            raise _shortage(str(path)) from error
        raise ModelError(*NO_SAFETENSORS) from error
    except safetensors.SafetensorError as error:
        if is_shortage(str(error)):
            raise _shortage(str(path)) from error
        raise ModelError(f"{path} is no file of weights: {one_line(error)}.", ANEW) from error
    except FileNotFoundError as error:
        raise ModelError(f"{path} is not there any more.", ANEW) from error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise _shortage(str(path)) from error
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except RuntimeError as error:  # of torch's allocator
        if is_shortage(str(error)):
            raise _shortage(str(path)) from error
        raise


def is_shortage(text: str) -> bool:
    """Tell from the words of an error whether memory was lacking; loading a library fails then too."""
    return any(sign in text.lower() for sign in SHORTAGE_SIGNS)


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line of at most some hundred characters."""
    return " ".join(str(error).split())[:LONGEST_REASON]


def _shortage(what: str) -> MemoryShortageError:
    return MemoryShortageError(f"The memory does not suffice for {what}.", "Close other programs.", "cpu")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(HASHED_AT_ONCE):
                digest.update(chunk)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    return digest.hexdigest()


def _some(names: set[str]) -> str:
    shown = sorted(names)[:SHOWN_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
