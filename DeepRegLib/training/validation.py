"""How well a network does on pairs it is never trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from DeepRegLib.errors import InputError
from DeepRegLib.image import read_image
from DeepRegLib.networks.fields import displace
from DeepRegLib.optimization.regularity import corner_determinants
from DeepRegLib.preprocessing import finite, foreground_mask
from DeepRegLib.preprocessing.network_input import on_grid
from DeepRegLib.training.config import Images
from DeepRegLib.training.losses import endpoint_error, label_dice, seen_in_both, soft_labels
from DeepRegLib.training.sources import PairSource
from DeepRegLib.training.synthesis import Pairs, known_nodes
from DeepRegLib.training.volumes import centre_of, grid_about, labels_on_grid

STREAM = "validation"
# Labels compared at a time: a whole atlas at once would take gigabytes.
AT_ONCE = 16

Measures = dict[str, float]


def validate(network: nn.Module, source: PairSource, count: int, real: Sequence[Pairs], images: Images) -> Measures:
    """Measure a network.

    Parameters
    ----------
    network
        In eval mode.
    source
        Of the synthetic pairs.
    count
        How many of them.
    real
        Real pairs, one a batch.
    images
        Size and spacing of the synthetic pairs.

    Returns
    -------
    dict
        Means over the pairs of Dice, of the distance from the true field in mm and of the share of folded cells; Dice
        and distance also before the registration. Those of real pairs begin with ``real_``.
    """
    drawn = (source.draw(STREAM, number, [number], images.size)[0] for number in range(count))
    synthetic, found = ([measure(network, pairs, images.spacing) for pairs in batch] for batch in (drawn, real))
    return _means(synthetic) | {f"real_{name}": value for name, value in _means(found).items()}


@torch.no_grad()
def measure(network: nn.Module, pairs: Pairs, spacing: float) -> Measures:
    """Measure a network on a batch of one pair, as `validate` does."""
    field = network(pairs.fixed, pairs.moving).float()
    still = torch.zeros_like(field)
    visible = seen_in_both(pairs.fixed_known, pairs.moving_known, field if pairs.field is None else pairs.field)
    found: Measures = {"folds": float((corner_determinants(field[0]) <= 0).float().mean())}
    for name, candidate in (("before", still), ("after", field)):
        if pairs.field is not None:
            found[f"error_mm_{name}"] = spacing * float(endpoint_error(candidate, pairs.field, visible))
        if pairs.fixed_labels is not None and pairs.moving_labels is not None:
            found[f"dice_{name}"] = _dice(pairs, candidate, visible)
    return found


def read_real_pairs(folder: str | Path, images: Images, device: torch.device) -> list[Pairs]:
    """Read ``NAME/fixed.nii.gz``, ``NAME/moving.nii.gz`` and, where they are, the ``*_labels.nii.gz`` of both.

    Both lie on the training grid about the fixed anatomy, as they lie in the world: they should be aligned linearly.

    Raises
    ------
    InputError
        If there are none, or a file cannot be used.
    """
    found = [path.parent for path in sorted(Path(folder).glob("*/fixed.nii.gz"))]
    if not found:
        raise InputError(
            f"{folder} has no pairs.", "Put files such as first/fixed.nii.gz and first/moving.nii.gz there."
        )
    return [_read_pair(path, images, device) for path in found]


def _read_pair(folder: Path, images: Images, device: torch.device) -> Pairs:
    scans = [read_image(folder / f"{side}.nii.gz") for side in ("fixed", "moving")]
    grid = grid_about(centre_of(foreground_mask(finite(scans[0])[0])), images.size, images.spacing)
    both = [on_grid(scan, grid) for scan in scans]
    fixed, moving = (torch.from_numpy(values)[None, None].to(device) for values, _ in both)
    known = [known_nodes(torch.from_numpy(inside).float()[None, None].to(device)) for _, inside in both]
    files = [folder / f"{side}_labels.nii.gz" for side in ("fixed", "moving")]
    if not all(file.is_file() for file in files):
        return Pairs(fixed, moving, known[0], known[1])
    maps = [labels_on_grid(read_image(file), grid) for file in files]
    values = sorted({0}.union(*(np.unique(labels).tolist() for labels in maps)))
    numbers = [torch.from_numpy(np.searchsorted(values, labels))[None].to(device) for labels in maps]
    return Pairs(fixed, moving, known[0], known[1], None, numbers[0], numbers[1], len(values))


def _dice(pairs: Pairs, field: Tensor, visible: Tensor) -> float:
    """Return the mean Dice of all labels that both images show."""
    if pairs.fixed_labels is None or pairs.moving_labels is None:
        raise ValueError("no labels")
    scores = []
    for first in range(1, pairs.labels, AT_ONCE):
        chosen = torch.arange(first, min(first + AT_ONCE, pairs.labels), device=field.device)[None]
        fixed, moving = (soft_labels(part, chosen, pairs.labels) for part in (pairs.fixed_labels, pairs.moving_labels))
        found, counts = label_dice(fixed, displace(moving, field), visible)
        shown = (counts > 0) & (moving.sum((-3, -2, -1)) > 0)
        scores += found[shown].tolist()
    return float(np.mean(scores)) if scores else float("nan")


def _means(found: Sequence[Measures]) -> Measures:
    names = {name: None for measures in found for name in measures}
    return {name: float(np.nanmean([measures[name] for measures in found if name in measures])) for name in names}
