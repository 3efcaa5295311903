"""The scene is read and filled on the application's own thread: while that lasts, the window does not answer.

The bounds leave room for a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.scene.outputs import Outputs, inputs_of
from DeepRegLib.scene.results import add_results, remove_results
from DeepRegLib.scene.segmentations import layers_from_node
from DeepRegLib.scene.volumes import image_from_volume
from DeepRegLib.transforms import CompositeTransform, DisplacementField, LinearTransform
from Testing.scene.nodes import segmentation_node, volume_node
from Testing.scene.results import made_registration
from Testing.synthetic import random_linear

pytestmark = pytest.mark.slow


def median_seconds(task: Callable[[], object], times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def noise(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return (np.random.default_rng(0).random(shape, dtype=np.float32) * 200).astype(dtype)


def test_reading_a_volume_hardly_holds_up_the_window(scene: slicer.vtkMRMLScene) -> None:
    grid = Geometry((160, 192, 224))
    node = volume_node(scene, Image(noise(grid.shape), grid))
    seconds = median_seconds(lambda: image_from_volume(node))
    print(f"image_from_volume 160x192x224: {seconds:.3f} s")
    assert seconds < 0.2


def test_a_large_result_is_in_the_scene_within_a_blink(scene: slicer.vtkMRMLScene) -> None:
    grid = Geometry((256, 256, 256))
    field = DisplacementField(noise((128, 128, 128, 3)) / 100, Geometry((128, 128, 128), (2.1, 2.1, 2.1)))
    back = DisplacementField(noise((160, 160, 160, 3)) / 100, Geometry((160, 160, 160), (1.7, 1.7, 1.7)))
    linear = random_linear(1)
    fixed = Image(noise(grid.shape), grid, "fixed")
    mask = Image(np.ones(grid.shape, np.bool_), grid)
    labels = Image((noise(grid.shape) > 190).astype(np.uint8), grid)
    registration = replace(
        made_registration(),
        fixed=fixed,
        moving=fixed,
        transform=CompositeTransform((field, linear)),
        inverse=CompositeTransform((LinearTransform(np.linalg.inv(linear.matrix)), back)),
        warped=fixed,
        field_of_view=mask,
        fixed_foreground=mask,
        warped_layers=(labels,),
        jacobian=None,
        uncertainty=None,
        explanation=None,
        trust=Image(noise(grid.shape), grid, "trust"),
    )
    fixed_node, moving_node = volume_node(scene, fixed, "fixed"), volume_node(scene, fixed, "moving")
    moving_node.CreateDefaultDisplayNodes()
    plan = segmentation_node(scene, [labels], [{1: "organ"}], "plan")
    layers = layers_from_node(plan)
    inputs = inputs_of(fixed_node, moving_node, plan)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        results = add_results(scene, registration, inputs, Outputs(), layers=layers)
        seconds.append(time.perf_counter() - start)
        remove_results(scene, results)
    print(f"add_results 256^3: {statistics.median(seconds):.3f} s")
    assert statistics.median(seconds) < 1.0
