"""The pairs of scans that results are made of, which half each belongs to, and its right pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.image import Image, read_image
from DeepRegLib.landmark_alignment import Landmarks, rigid_from_landmarks
from DeepRegLib.monitoring import Monitor
from DeepRegLib.preparation import prepare_pair
from DeepRegLib.preprocessing import foreground_mask, isotropic
from DeepRegLib.recipes import load_recipe
from DeepRegLib.stages.linear import refine_linear, scanner_poses, searched_poses
from DeepRegLib.stages.run import Run, WorkingPair, working_pair
from DeepRegLib.transforms import LinearTransform
from Testing.benchmarks.cases import find_cases
from Testing.demo.data import HEAD, TEMPLATE, cache_folder

LIMITS, FIGURES = "limits", "figures"
# Scans of one person stay in one half; the sets are shared out so that each kind of anatomy is in both where it can be.
FOR_FIGURES = (
    *("abdomen", "brain_multimodal_brainweb_t1tps", "brain_multimodal_stroke", "brain_t1_nirep_na04", "demo"),
    *("cardiac_cine_acdc_patient110", "head_t1_freesurfer_sub04", "hippocampus_mr_msd_004", "lung_proton"),
    *("liver_mr_breathing_eth19", "mouse_skull_ct_CAST", "prostate", "spine"),
)
DEMO = "demo_head_template"
# On voxels so coarse the search leaves the cord of this one 40 mm apart: no pose of it is known to be right.
WITHOUT_REFERENCE = ("spine_mr_sct_t1_t2",)
SMALL_ANATOMY = ("hippocampus", "spine")
CHEAP_VOXELS, CHEAP_ITERATIONS = 60_000, 40
POINTS = 1000


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans on cubic voxels, with what is known of them."""

    name: str
    fixed: Image
    moving: Image
    landmarks: Landmarks | None
    spacing: float

    @property
    def half(self) -> str:
        """Whether it sets the limits, or gives the figures."""
        return FIGURES if self.name.startswith(FOR_FIGURES) else LIMITS


def names_of(data: Path, only: str) -> list[str]:
    """Return the names of the pairs in a folder, and that of the demo where it has been fetched."""
    names = [case.name for case in find_cases(data)]
    if names and all((cache_folder() / member.name).is_file() for member in (HEAD, TEMPLATE)):
        names.append(DEMO)
    return [name for name in names if only in name]


def pair_of(data: Path, name: str, spacing: float) -> Pair:
    """Return a pair at a voxel size in mm, or at its own where that is coarser; half of it for small anatomy."""
    if name == DEMO:
        images = read_image(cache_folder() / HEAD.name), read_image(cache_folder() / TEMPLATE.name)
        return Pair(name, *(_coarse(image, spacing) for image in images), None, spacing)
    case = find_cases(data, name)[0]
    step = spacing / 2 if name.startswith(SMALL_ANATOMY) else spacing
    fixed, moving = (_coarse(image, step) for image in case.images())
    return Pair(name, fixed, moving, case.landmarks(), spacing)


@dataclass(frozen=True, eq=False)
class Workbench:
    """A pair prepared for the linear stage of a recipe, for as many starting poses as there are."""

    run: Run
    working: WorkingPair

    def right_pose(self, landmarks: Landmarks | None) -> NDArray[np.float64]:
        """Return the pose found from landmarks, or by the search."""
        if landmarks is not None:
            starts = [rigid_from_landmarks(*landmarks)]
        else:
            starts = scanner_poses(self.working) + searched_poses(self.run, self.working)
        return refine_linear(self.run, self.working, starts)[0].matrix

    def refined(self, start: NDArray[np.float64]) -> LinearTransform:
        """Return what becomes of a starting pose that is given."""
        return refine_linear(self.run, self.working, [start])[0]


def workbench(pair: Pair, recipe: str, fixed_mask: Image | None = None) -> Workbench:
    """Prepare a pair for a linear recipe on coarser grids: what is judged is not how exact it is."""
    found = load_recipe(recipe)
    cheap = replace(found, linear=replace(found.linear, voxels=CHEAP_VOXELS, iterations=CHEAP_ITERATIONS))
    prepared = prepare_pair(pair.fixed, pair.moving, cheap.prepare, fixed_mask)
    run = Run(prepared, cheap, torch.device("cpu"), Monitor(["linear"], None, None))
    return Workbench(run, working_pair(run))


def anatomy_points(image: Image) -> NDArray[np.float64]:
    """Return points of the anatomy, ``(n, 3)``, LPS mm."""
    inside = np.argwhere(foreground_mask(image).array)[:, ::-1]
    return image.geometry.to_world(inside[:: max(1, len(inside) // POINTS)])


def _coarse(image: Image, spacing: float) -> Image:
    finest = min(image.geometry.spacing)
    # A mouse's skull has voxels of a seventh of a millimetre: it is scaled like the others, not to their voxels.
    step = max(spacing, finest) if finest > 0.4 else finest * max(spacing / 2, 1.0)
    coarse = isotropic(image, step)
    return Image(coarse.array.astype(np.float32), coarse.geometry, image.name)
