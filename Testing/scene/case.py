"""A scene with what was registered, and the registration of it."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)

from DeepRegLib.scene.outputs import Outputs, Results, inputs_of
from DeepRegLib.scene.results import add_results
from DeepRegLib.scene.segmentations import SegmentLayers, layers_from_node
from Testing.scene.nodes import segmentation_node, volume_node
from Testing.scene.results import made_registration
from Testing.synthetic import label_map

ALL = Outputs(inverse=True, jacobian=True, uncertainty=True, explanation=True, trust=True)
NAMES = [{2: "liver", 7: "kidney", 250: "tumour"}, {1: "vessel"}]


class Case:
    """A fixed and a moving volume and a plan in a scene, and the registration of them."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = scene
        self.registration = made_registration()
        self.fixed = volume_node(scene, self.registration.fixed, "fixed")
        self.moving = volume_node(scene, self.registration.moving, "moving")
        moving_grid = self.registration.moving.geometry
        images = [label_map(moving_grid), label_map(moving_grid, seed=5, labels=(1,))]
        self.plan = segmentation_node(scene, images, NAMES, "plan")
        self.inputs = inputs_of(self.fixed, self.moving, self.plan)
        self.layers: SegmentLayers = layers_from_node(self.plan)

    def add(
        self, outputs: Outputs = ALL, overwrite: frozenset[str] = frozenset(), **existing: slicer.vtkMRMLNode
    ) -> Results:
        ids = {name: node.GetID() for name, node in existing.items()}
        return add_results(
            self.scene,
            self.registration,
            self.inputs,
            outputs,
            layers=self.layers,
            existing=ids,
            overwrite=overwrite,
        )

    def node(self, results: Results, name: str) -> slicer.vtkMRMLNode:
        return self.scene.GetNodeByID(results.ids[name])


def hierarchy_of(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
