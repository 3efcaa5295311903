"""What the template of a labelled group is worth, beside one member as template and beside ANTs' own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from DeepRegLib.evaluation import measure_segments
from DeepRegLib.image import Image, write_image
from DeepRegLib.labels import label_map
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.request import Request
from DeepRegLib.series.building import build_template
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_labels
from Testing.benchmarks.made_series import smaller
from Testing.benchmarks.options import Options
from Testing.benchmarks.peers.tools import DEEPREG, tools_named
from Testing.benchmarks.segmentation import Labelled, labelled
from Testing.benchmarks.series_peers import asked

LEAST = 3
BINS = 64


def template_rows(name: str, step: float, options: Options) -> Iterator[dict[str, Any]]:
    """Measure a template of all scans of a group, on grids no finer than a step in mm; it is written for a look."""
    group = [_smaller(each, step) for each in labelled(options.data, name)]
    if len(group) < LEAST:
        return
    wanted = {tool.family for tool in tools_named(options.peers.tools, options.recipe)}
    what = f"{name}, {len(group)} members" + (f" of {step:g} mm" if step else "")
    rows = [_our_template, _one_member] if DEEPREG in wanted else []
    for row in (*rows, _by_ants) if "ants" in wanted else rows:
        yield {"what": what, **row(name, group, options)}


def _our_template(name: str, group: Sequence[Labelled], options: Options) -> dict[str, Any]:
    begun = time.process_time()
    built = build_template([each.image for each in group], _recipe(options), device="cpu")
    seconds = time.process_time() - begun
    options.output.mkdir(parents=True, exist_ok=True)
    write_image(built.image, options.output / f"{name}_template.nii.gz")
    how = f"template, bias {built.bias:.4f} mm, {worth(group, built.transforms, built.image)}"
    return {"how": how, "CPU seconds": seconds, "verdict": built.verdict.level}


def _one_member(_name: str, group: Sequence[Labelled], options: Options) -> dict[str, Any]:
    begun, first, recipe = time.process_time(), group[0].image, _recipe(options)
    moved: list[Transform | None] = [LinearTransform.identity()]
    moved += [align(Request(first, each.image, recipe, device="cpu")).transform for each in group[1:]]
    seconds = time.process_time() - begun
    return {"how": f"one member as template, {worth(group, moved, first)}", "CPU seconds": seconds}


def _by_ants(_name: str, group: Sequence[Labelled], options: Options) -> dict[str, Any]:
    answer = asked("ants", "template", [each.image for each in group], options)
    if isinstance(answer, str) or answer.template is None:
        return {"how": f"ANTs: {answer}"}
    how = f"ANTs {answer.version} build_template, {worth(group, answer.transforms, answer.template)}"
    return {"how": how, "CPU seconds": answer.seconds}


def _recipe(options: Options) -> Recipe:
    return load_recipe("fast" if options.recipe == "auto" else options.recipe)


def worth(group: Sequence[Labelled], transforms: Sequence[Transform | None], space: Image) -> str:
    """Return how well members' labels overlap in a space, and how sharp its image is, in words."""
    dice = pairwise_dice(group, transforms, space)
    return f"Dice {dice:.3f}, gradient {mean_gradient(space):.4f} per mm, entropy {entropy(space):.3f} nats"


def pairwise_dice(group: Sequence[Labelled], transforms: Sequence[Transform | None], space: Image) -> float:
    """Return the mean Dice of any two members' labels in a common space."""
    both = zip(transforms, group, strict=True)
    carried = [apply_to_labels(each, scan.labels, space.geometry) for each, scan in both if each is not None]
    pairs = itertools.combinations(carried, 2)
    return float(np.mean([measure_segments(one, other).mean("dice") for one, other in pairs]))


def mean_gradient(image: Image) -> float:
    """Return the mean length of the gradient per mm, of values scaled by their 99th percentile."""
    values = image.array.astype(np.float64) / np.percentile(image.array, 99)
    return float(np.sqrt(sum(g**2 for g in np.gradient(values, *image.geometry.spacing[::-1]))).mean())


def entropy(image: Image) -> float:
    """Return the entropy of the values above the mean, in nats: a sharp image has few kinds of tissue."""
    values = image.array[image.array > image.array.mean()].astype(np.float64)
    counts, _ = np.histogram(values, BINS, range=(0, np.percentile(values, 99.5)))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _smaller(scan: Labelled, step: float) -> Labelled:
    image = smaller(scan.image, step)
    if image.geometry == scan.image.geometry:
        return scan
    labels = apply_to_labels(LinearTransform.identity(), label_map(scan.labels), image.geometry)
    return Labelled(scan.name, image, labels)
