"""The answer of a MONAI bundle: its network and its transforms, built by MONAI from what `monai_config` has allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DeepRegLib.errors import CancelledError, DeepRegError, ModelError
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import in_one_line
from DeepRegLib.image import Image
from DeepRegLib.models.monai_bundle import MonaiBundle, read_monai_bundle
from DeepRegLib.models.monai_config import HOMES, Named
from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.answers import Answer, most_probable
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segments import Segment, colour_of

IMAGE, PRED = "image", "pred"
# From left, posterior, superior to right, anterior, superior, and back.
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Done here, for every bundle alike: probabilities are brought back to the scan, then each voxel gets its label.
OWN = ("Activationsd", "AsDiscreted", "EnsureTyped", "Invertd")
INFERER_ARGUMENTS = ("roi_size", "sw_batch_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval")
USUAL_OVERLAP = 0.25

Step = Callable[[float], None]


def monai_answer(request: ModelRequest, device: torch.device, *, on_step: Step, poll: Poll) -> Answer:
    """Segment a scan by a MONAI bundle.

    Raises
    ------
    ModelError
        If MONAI is not installed, the bundle cannot be used or names what it may not, or MONAI cannot run it.
    """
    try:
        import_module("monai")
    except ImportError as error:
        raise ModelError(
            "A MONAI bundle needs MONAI, which is not installed here.",
            'Install it where the engine runs: pip install "slicer-deepreg[segment]".',
        ) from error
    bundle = read_monai_bundle(request.model)
    poll()
    try:
        return _answer(bundle, request.scan, device, on_step, poll)
    except (DeepRegError, CancelledError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        # MONAI and torch raise whatever they stumble upon in a configuration that does not fit.
        raise ModelError(
            f"MONAI cannot run the bundle {bundle.name}: {type(error).__name__}: {in_one_line(str(error), 300)}.",
            "Check that it is for scans of one channel and for this version of MONAI.",
        ) from error


def _answer(bundle: MonaiBundle, scan: Image, device: torch.device, on_step: Step, poll: Poll) -> Answer:
    config = bundle.config
    network = _network(bundle).eval().to(device)
    seen = _prepared(bundle, scan)
    poll()
    likely = _probabilities(bundle, network, seen.as_tensor().to(device), on_step, poll)
    grid = _geometry(np.asarray(seen.affine, dtype=np.float64), likely.shape[1:])
    classes = _classes(bundle, len(likely))
    labels, confidence = most_probable(_ours(likely), grid, scan, (0, *(each.label for each in classes)), poll)
    for named in config.postprocessing:
        if named.name not in OWN:
            labels = _post_processed(named, labels)
    how = (
        f"The MONAI bundle {bundle.name} saw the scan on {' x '.join(map(str, grid.size))} voxels of "
        f"{' x '.join(f'{each:.3g}' for each in grid.spacing)} mm; its {config.inferer.name} asked the network."
    )
    return Answer(labels, confidence, classes, bundle.identity, (how,))


def _made(kind: str, named: Named, **more: Any) -> Any:
    """Build a class of MONAI that the configuration was allowed to name."""
    home = import_module(HOMES[kind])
    if not hasattr(home, named.name):
        raise ModelError(f"This MONAI has no {named.name}.", "Update MONAI.")
    return getattr(home, named.name)(**named.arguments, **more)


def _network(bundle: MonaiBundle) -> nn.Module:
    network = _made("network", bundle.config.network)
    if not isinstance(network, nn.Module):
        raise ModelError("The network of the bundle is none.", "Give another bundle.")
    wanted = network.state_dict()
    wrong = sorted(
        name
        for name in wanted.keys() | bundle.tensors.keys()
        if name not in wanted or name not in bundle.tensors or wanted[name].shape != bundle.tensors[name].shape
    )
    if wrong:
        raise ModelError(
            f"The weights of the bundle do not fit its network: {', '.join(wrong[:3])} and "
            f"{max(len(wrong) - 3, 0)} more differ.",
            "Get the bundle anew.",
        )
    network.load_state_dict(dict(bundle.tensors))
    return network.requires_grad_(False)


def _prepared(bundle: MonaiBundle, scan: Image) -> Any:
    """Return the scan as the bundle's preprocessing makes it: ``(1, I, J, K)`` with its affine."""
    MetaTensor = import_module("monai.data").MetaTensor
    array = torch.from_numpy(np.ascontiguousarray(scan.array.T, dtype=np.float32))
    affine = torch.from_numpy(LPS_RAS @ scan.geometry.index_to_world)
    first = bundle.config.channel_first or all(
        each.name != "EnsureChannelFirstd" for each in bundle.config.preprocessing
    )
    meta = {"original_channel_dim": 0 if first else "no_channel", "spatial_shape": np.array(array.shape)}
    data: dict[str, Any] = {IMAGE: MetaTensor(array[None] if first else array, affine=affine, meta=meta)}
    for named in bundle.config.preprocessing:
        data = _made("transform", _for_image_alone(named))(data)
    seen = data[IMAGE]
    if not isinstance(seen, MetaTensor) or seen.ndim != 4 or len(seen) != 1:
        raise ModelError("The bundle's preprocessing does not give a scan of one channel.", "Give another bundle.")
    return seen.float()


def _for_image_alone(named: Named) -> Named:
    """Return a transform for the scan alone, where the bundle has it for scan and labels."""
    keys = named.arguments.get("keys")
    if not isinstance(keys, list):
        return named
    if IMAGE not in keys:
        raise ModelError(f"The bundle's {named.name} is for {', '.join(map(str, keys))}.", f"It must be for {IMAGE}.")
    at = keys.index(IMAGE)
    mode = named.arguments.get("mode")
    own = {"mode": mode[at]} if isinstance(mode, list) and len(mode) == len(keys) else {}
    return Named(named.name, {**named.arguments, **own, "keys": [IMAGE]})


def _probabilities(bundle: MonaiBundle, network: nn.Module, image: Tensor, on_step: Step, poll: Poll) -> Tensor:
    """Return the probabilities of all classes ``(C, I, J, K)``, the background first."""
    config = bundle.config
    done, windows = 0, _window_count(config.inferer, image.shape[1:])

    def ask(window: Tensor) -> Tensor:
        nonlocal done
        poll()
        found = network(torch.as_tensor(window))
        found = found[0] if isinstance(found, list | tuple) else found
        done += len(window)
        on_step(min(0.95, 0.95 * done / windows))
        if not bool(torch.isfinite(found).all()):
            raise ModelError("The network of the bundle gave numbers that are not finite.", "Give another bundle.")
        return found

    chosen = {key: value for key, value in config.inferer.arguments.items() if key in INFERER_ARGUMENTS}
    inferer = _made("inferer", Named(config.inferer.name, chosen))
    with torch.no_grad():
        logits = torch.as_tensor(inferer(image[None], ask))[0].float().cpu()
    if not _overlapping(bundle):
        if len(logits) == 1:
            raise ModelError("The bundle's network has one channel and no sigmoid.", "Give a bundle for segmentation.")
        return logits.softmax(0)
    likely = logits.sigmoid()
    # Each channel is there or not for itself: nothing is there where none of them is likelier than not.
    return torch.cat([torch.full_like(likely[:1], 0.5), likely])


def _overlapping(bundle: MonaiBundle) -> bool:
    return any(each.arguments.get("sigmoid") for each in bundle.config.postprocessing if each.name == "Activationsd")


def _window_count(inferer: Named, shape: Sequence[int]) -> int:
    sides = inferer.arguments.get("roi_size")
    if inferer.name == "SimpleInferer" or not isinstance(sides, list | int):
        return 1
    each = [sides] * len(shape) if isinstance(sides, int) else sides
    share = inferer.arguments.get("overlap", USUAL_OVERLAP)
    step = 1 - (share if isinstance(share, int | float) else max(share))
    counts = [1 + math.ceil(max(n - side, 0) / max(side * step, 1)) for n, side in zip(shape, each, strict=False)]
    return max(1, math.prod(counts))


def _classes(bundle: MonaiBundle, count: int) -> tuple[Segment, ...]:
    """Return a segment for each channel but the background's."""
    named = {each.label: each for each in bundle.segments}
    return tuple(named.get(label) or Segment(label, f"Class {label}", colour_of(label)) for label in range(1, count))


def _post_processed(named: Named, labels: Image) -> Image:
    """Return a label map after one of the bundle's transforms of labels."""
    arguments = {**named.arguments, "keys": [PRED]}
    array = torch.from_numpy(np.ascontiguousarray(labels.array.T).astype(np.int64))[None]
    changed = _made("transform", Named(named.name, arguments))({PRED: array})[PRED]
    found = np.ascontiguousarray(np.asarray(changed)[0].T).astype(labels.array.dtype)
    return labels.with_array(found)


def _geometry(ras_affine: NDArray[np.float64], shape: Sequence[int]) -> Geometry:
    matrix = LPS_RAS @ ras_affine
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    direction = matrix[:3, :3] / spacing
    i, j, k = (int(n) for n in shape)
    x, y, z = (float(each) for each in matrix[:3, 3])
    a, b, c = (float(each) for each in spacing)
    return Geometry((i, j, k), (a, b, c), (x, y, z), tuple(float(each) for each in direction.ravel()))


def _ours(likely: Tensor) -> NDArray[np.float32]:
    """Return ``(C, K, J, I)`` of ``(C, I, J, K)``."""
    return np.ascontiguousarray(likely.permute(0, 3, 2, 1).numpy())
