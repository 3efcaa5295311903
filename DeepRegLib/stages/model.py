"""A first field from a trained network, from which the deformable stage may start."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from DeepRegLib.devices import free_memory
from DeepRegLib.errors import ModelError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.models import ModelBundle, load_network, usable_bundle
from DeepRegLib.models.explanation import occlusion_map
from DeepRegLib.models.inference import network_grid, predict, uncertainty
from DeepRegLib.models.orientation import Turned, turn_to
from DeepRegLib.optimization.deformable import Level, match, transfer_field
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.recipes import MODEL_MAPS, Recipe
from DeepRegLib.stages.candidates import FieldFunction
from DeepRegLib.stages.contrast import map_contrasts_where_compared
from DeepRegLib.stages.features import described_where_wanted
from DeepRegLib.stages.initialisation import Initialisation
from DeepRegLib.stages.memory import answerable_voxels
from DeepRegLib.stages.run import Run, aligned_level
from DeepRegLib.transforms import LinearTransform
from DeepRegLib.transforms.sampling import identity_grid, sample

UNCERTAINTY, EXPLANATION = MODEL_MAPS
MAPS = {UNCERTAINTY: uncertainty, EXPLANATION: occlusion_map}
GIVEN_FIELD = ("the initial transform holds a field, so no model is used", "Give its linear part")
POINTS_AT_ONCE = 1 << 21
# Of the progress, where maps are wanted too.
PREDICTION_SHARE = 0.25


def model_of(recipe: Recipe, *, has_field: bool) -> ModelBundle | None:
    """Return the model a recipe names, checked, before anything is computed; None if it names none.

    Parameters
    ----------
    recipe
        As chosen.
    has_field
        Whether the run starts from a field that is given, which a model would not better.

    Raises
    ------
    ModelError
        If there is no such model, it is damaged or for another task, or its uncertainty or explanation cannot be told.
    """
    wanted = recipe.model
    if wanted.maps and (not wanted.name or has_field):
        reason, advice = ("no model is named", "Name a model") if not wanted.name else GIVEN_FIELD
        what = wanted.maps[0]
        raise ModelError(f"The {what} of a model was asked for, but {reason}.", f"{advice}, or leave the {what} out.")
    if not wanted.name or has_field:
        return None
    return usable_bundle(wanted.name, "registration")


def is_worth_asking(run: Run, bundle: ModelBundle, start: Initialisation) -> bool:
    """Tell whether a model may know better than where the descent would start and memory suffices; note it if not."""
    wanted, name = run.recipe.model, bundle.manifest.name
    if wanted.maps:
        return True
    if wanted.if_needed and start.within_capture_range:
        run.log.add_decision(f"Model: {name} was not asked, as nothing moved further than levels or search reach.")
        return False
    free, size = free_memory(str(run.device)), bundle.manifest.input.size
    if free is None or size is None or math.prod(size) <= answerable_voxels(bundle.manifest, free):
        return True
    told = (
        f"{name} was not asked: its {math.prod(size) / 1e6:.3g} million voxels need more than the {free / 1e9:.1f} GB"
    )
    run.log.add_warning(f"{told} that are free on {run.device}.")
    return False


def model_field(
    run: Run, linear: LinearTransform, bundle: ModelBundle, searched: FieldFunction | None = None
) -> FieldFunction:
    """Predict a field without folds and return the function that gives it on a grid, in voxels of that grid.

    Parameters
    ----------
    run
        With every ``"auto"`` of its recipe decided. Gets the model's name and hash into its provenance, and if its
        recipe asks for them, the maps `UNCERTAINTY` and `EXPLANATION`.
    linear
        Brings the moving image to the fixed one.
    bundle
        From `model_of`.
    searched
        What the search for large motion found. Where it matches better than no displacement, the network is asked what
        is still missing from it: a search reaches far, and a network knows what anatomy does.
    """
    manifest, wanted = bundle.manifest, run.recipe.model
    network = load_network(bundle, run.device)
    geometry = grid_within_memory(run, bundle, getattr(network, "multiple", 1))
    if manifest.input.orientation:
        network = Turned(network, turn_to(manifest.input.orientation, geometry))
    level = aligned_level(run, geometry, linear)
    grid = field_grid(geometry)
    share = PREDICTION_SHARE if wanted.maps else 1.0
    start = None if searched is None else _where_better_than_nothing(run, level, searched(grid))
    field = predict(
        network,
        level,
        start=start,
        passes=wanted.passes,
        consistent=wanted.consistent,
        on_step=lambda fraction: run.monitor.step(share * fraction),
        poll=run.monitor.poll,
    )
    part = (1 - share) / max(1, len(wanted.maps))
    for number, name in enumerate(wanted.maps):
        run.log.add_map(_map(run, name, network, level, (share + number * part, part)))
    run.log.add_provenance("model", bundle.identity)
    run.log.add_decision(_decision(bundle, geometry))

    def predicted(other: Geometry) -> Tensor:
        return transfer_field(field, grid, other)

    return predicted


def grid_within_memory(run: Run, bundle: ModelBundle, multiple: int) -> Geometry:
    """Return the grid on which a network sees both images: coarser where memory is short, which is noted."""
    wanted, box = bundle.manifest.input, box_around(run.pair.fixed.foreground)
    geometry = network_grid(box, wanted, multiple)
    free = free_memory(str(run.device))
    if free is None or wanted.size is not None:
        return geometry
    voxels = answerable_voxels(bundle.manifest, free)
    if math.prod(geometry.size) <= voxels:
        return geometry
    coarser = network_grid(box, wanted, multiple, voxels)
    run.log.add_decision(
        f"Model: a grid of {_millions(coarser)} million voxels instead of {_millions(geometry)}, as "
        f"{free / 1e9:.1f} GB are free on {run.device}."
    )
    return coarser


def _millions(geometry: Geometry) -> str:
    return f"{math.prod(geometry.size) / 1e6:.3g}"


def _where_better_than_nothing(run: Run, level: Level, field: Tensor) -> Tensor | None:
    recipe = run.recipe.deformable
    level = described_where_wanted(run, map_contrasts_where_compared(run, level))
    return field if match(level, field, recipe) > match(level, torch.zeros_like(field), recipe) else None


def on_image_grid(values: Tensor, geometry: Geometry, image: Geometry, run: Run, name: str) -> Image:
    """Interpolate values ``(d, h, w)`` linearly at the voxels of an image; past the outer ones they are repeated."""
    matrix = torch.tensor(geometry.world_to_index @ image.index_to_world, dtype=torch.float32, device=values.device)
    depth, height, width = image.shape
    thickness = max(1, POINTS_AT_ONCE // (height * width))
    result = np.empty(image.shape, dtype=np.float32)
    for first in range(0, depth, thickness):
        run.monitor.poll()
        last = min(first + thickness, depth)
        index = identity_grid((last - first, height, width), values.device)
        index[..., 2] += first
        result[first:last] = sample(values[None], index @ matrix[:3, :3].T + matrix[:3, 3])[0].cpu().numpy()
    return Image(result, image, name)


def _map(run: Run, name: str, network: nn.Module, level: Level, progress: tuple[float, float]) -> Image:
    """Return a map of `MAPS` on the fixed grid; `progress` is where it begins and how much of the whole it takes."""
    first, part = progress
    values = MAPS[name](
        network, level, on_step=lambda fraction: run.monitor.step(first + part * fraction), poll=run.monitor.poll
    )
    return on_image_grid(values, field_grid(level.fixed.geometry), run.pair.fixed.original.geometry, run, name)


def _decision(bundle: ModelBundle, geometry: Geometry) -> str:
    manifest = bundle.manifest
    wanted, step = manifest.input.spacing, geometry.spacing[0]
    too_large = f" (it is made for {wanted:g} mm, but the anatomy is too large for that)"
    coarser = too_large if 0 < wanted < step else ""
    return f"Model: {manifest.name} {manifest.version}, asked at {step:.3g} mm{coarser}."
