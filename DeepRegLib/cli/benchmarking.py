"""Each stage of a registration and a network timed on each device, and whether the devices agree."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.models import ModelBundle, known_models, load_bundle, load_network
from DeepRegLib.models.inference import network_grid, predict
from DeepRegLib.monitoring import Progress
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.phantom.making import make_phantom, usual_motion
from DeepRegLib.phantom.motions import BREATHING
from DeepRegLib.pipeline import align
from DeepRegLib.preprocessing import smooth_and_resample
from DeepRegLib.preprocessing.network_input import on_grid
from DeepRegLib.recipes import AUTO, Model, Recipe, load_recipe
from DeepRegLib.request import Request

SIDE, SPACING = 96, 2.0  # voxels, mm
GRAIN = 12.0  # mm: of the texture that is registered
MOTION = 8.0  # mm
AGREED = 0.02  # mm on average: far below what a registration is good to
REFERENCE = "cpu"
THINNED = 3  # of the voxels along each axis that are compared
NETWORK = "anatomy"


@dataclass(frozen=True)
class Timed:
    """One device.

    Parameters
    ----------
    seconds
        By stage, of the second of two runs.
    mean, largest
        How far its result lies from the CPU's, in mm; the CPU's own is that of its first run.
    """

    seconds: Mapping[str, float]
    mean: float
    largest: float

    @property
    def agrees(self) -> bool:
        """Whether that is too little to matter."""
        return self.mean <= AGREED


@dataclass(frozen=True)
class Answered:
    """One answer of the shipped network on one device, in the precision that the device is asked in.

    Parameters
    ----------
    seconds
        Of the second of two answers.
    mean, largest
        How far its field lies from the CPU's, in mm; half precision alone makes a difference.
    """

    seconds: float
    mean: float
    largest: float


def benchmark_pair() -> tuple[Image, Image]:
    """Return a textured body and the same under another breath, made here, the same on every machine."""
    grid = Geometry((SIDE, SIDE, SIDE), (SPACING,) * 3)
    coarse = grid.resized(GRAIN)
    grains = Image(np.random.default_rng(0).random(coarse.shape, dtype=np.float32), coarse, "texture")
    texture = smooth_and_resample(grains, grid).array
    inside = np.linalg.norm((grid.points() - grid.centre) / (grid.extent / 2), axis=-1) < 0.85
    body = Image(np.where(inside, 300 + 700 * texture, 0).astype(np.float32), grid, "body")
    phantom = make_phantom(body, (usual_motion(BREATHING, body, amount=MOTION),))
    return phantom.fixed, phantom.moving


def benchmark_recipe() -> Recipe:
    """Return `auto` without its network, whose weights need not be there."""
    return replace(load_recipe(AUTO), model=Model())


def timed_on(
    devices: Sequence[str], pair: tuple[Image, Image], recipe: Recipe, progress: Progress | None = None
) -> dict[str, Timed]:
    """Register a pair twice on the CPU and on each device, and return what the second run of each took.

    Parameters
    ----------
    devices
        As `DeepRegLib.devices.available_devices` names them.
    pair, recipe
        What is registered, and how.
    progress
        As in `DeepRegLib.register`, of each run.
    """

    def places(device: str) -> tuple[NDArray[np.float64], Mapping[str, float]]:
        found = align(Request(*pair, recipe, device=device), progress=progress)
        points = pair[0].geometry.points()[::THINNED, ::THINNED, ::THINNED].reshape(-1, 3)
        return found.transform.apply_to_points(points), found.timings

    expected, _ = places(REFERENCE)
    timed = {}
    for device in devices:
        if device != REFERENCE:
            places(device)  # the first run on a card loads its kernels
        reached, seconds = places(device)
        distance = np.linalg.norm(reached - expected, axis=-1)
        timed[device] = Timed(seconds, float(distance.mean()), float(distance.max()))
    return timed


def answered_on(devices: Sequence[str], pair: tuple[Image, Image]) -> dict[str, Answered]:
    """Ask the shipped network on the CPU and on each device; nothing where it is not installed."""
    bundle = next((model for model in known_models() if model.name == NETWORK and not model.problem), None)
    if bundle is None:
        return {}
    loaded = load_bundle(bundle.folder)
    expected, _ = _answer(loaded, pair, REFERENCE)
    found = {}
    for device in devices:
        field, seconds = _answer(loaded, pair, device)
        distance = np.linalg.norm(field - expected, axis=0)
        found[device] = Answered(seconds, float(distance.mean()), float(distance.max()))
    return found


def _answer(bundle: ModelBundle, pair: tuple[Image, Image], device: str) -> tuple[NDArray[np.float32], float]:
    """Return the field in mm, ``(3, d, h, w)``, and the seconds of the second answer; the first loads kernels."""
    network = load_network(bundle, device)
    grid = network_grid(pair[0].geometry, bundle.manifest.input, getattr(network, "multiple", 1))
    fixed, moving = (working_image(*on_grid(image, grid), grid, device) for image in pair)
    level = Level(fixed, moving)
    begun, field = 0.0, torch.zeros(0)
    for _ in range(2):
        begun = time.perf_counter()
        field = predict(network, level, consistent=False, on_step=lambda _fraction: None).cpu()
    return field.numpy() * np.float32(field_grid(grid).spacing[0]), time.perf_counter() - begun


def working_image(values: NDArray[np.float32], known: NDArray[np.bool_], grid: Geometry, device: str) -> WorkingImage:
    """Return an image on a device."""
    intensity, weight = (torch.from_numpy(each).to(device) for each in (values, known.astype(np.float32)))
    return WorkingImage(intensity, weight, grid)
