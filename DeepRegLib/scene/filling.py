"""What an output's node is filled with: made in steps, away from the scene, and then given to the node at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import slicer
import vtk

from DeepRegLib.image import Image
from DeepRegLib.result import Registration
from DeepRegLib.scene.along import TO_FIXED, Along, point_map_steps, way_steps
from DeepRegLib.scene.nodes import VERDICT_ATTRIBUTE
from DeepRegLib.scene.outputs import Inputs, Outputs, input_volume
from DeepRegLib.scene.ownership import mark_segments
from DeepRegLib.scene.records import write_record
from DeepRegLib.scene.segmentations import SegmentLayers, labelmap_steps, set_segments, set_whole_segments
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.tables import set_measures
from DeepRegLib.scene.transforms import set_transform, transform_steps
from DeepRegLib.scene.volumes import set_millimetres, set_volume, value_range
from DeepRegLib.scene.whole_segments import WholeData, carried_share_steps, carried_surface_steps
from DeepRegLib.scene.world import image_data_steps

VOLUMES = ("warped", "jacobian", "uncertainty", "explanation", "trust", "synthetic")
TRANSFORMS = ("transform", "inverse")
JACOBIAN_COLOURS = "vtkMRMLColorTableNodeRainbow"
JACOBIAN_RANGE = (0.0, 2.0)
# No scanner makes scans of this colour: nobody takes one that was made by a network for one that was measured.
SYNTHETIC_COLOURS = "vtkMRMLColorTableNodeOcean"
# From black, where the model is sure, through red to white.
UNCERTAINTY_COLOURS = "vtkMRMLColorTableNodeIron"
UNCERTAINTY_PERCENTILE = 99.0
# A model that is sure everywhere shall look so.
SMALLEST_UNCERTAINTY_RANGE_MM = 1.0


@dataclass(frozen=True, eq=False)
class ResultData:
    """A registration as VTK holds it, by name of the output; what is not wanted is left out.

    Parameters
    ----------
    volumes
        Voxels without a place.
    transforms
        As a node has them, see `transform_steps`.
    labelmaps
        One for each of `Registration.warped_layers`.
    whole
        What the moving segmentation held in place of label maps, carried over.
    ways
        What moves the points of what goes along (`DeepRegLib.scene.along.way_steps`).
    """

    volumes: Mapping[str, vtk.vtkImageData]
    transforms: Mapping[str, vtk.vtkAbstractTransform]
    labelmaps: tuple[slicer.vtkOrientedImageData, ...] = ()
    whole: WholeData | None = None
    ways: Mapping[str, vtk.vtkAbstractTransform] = field(default_factory=dict)


def result_data_steps(
    registration: Registration, outputs: Outputs, layers: SegmentLayers | None = None, along: Along | None = None
) -> Steps[ResultData]:
    """Make in steps what takes long of a result, before its nodes are made."""
    volumes, transforms, labelmaps, whole = {}, {}, (), None
    for name in VOLUMES:
        image = getattr(registration, name)
        if getattr(outputs, name) and image is not None:
            volumes[name] = yield from image_data_steps(image.array)
    for name in TRANSFORMS:
        if getattr(outputs, name):
            transforms[name] = yield from transform_steps(getattr(registration, name))
    ways = yield from way_steps(registration, along or Along())
    if outputs.segmentation and layers is not None:
        whole = yield from _whole_steps(registration, layers, ways)
        if whole is None and registration.warped_layers:
            labelmaps = yield from labelmap_steps(layers, registration.warped_layers)
    return ResultData(volumes, transforms, labelmaps, whole, ways)


def _whole_steps(
    registration: Registration, layers: SegmentLayers, ways: Mapping[str, vtk.vtkAbstractTransform]
) -> Steps[WholeData | None]:
    """Return in steps the segments that are no label maps, carried over; None where there are none."""
    if layers.whole.surfaces:
        way = ways.get(TO_FIXED) or (yield from point_map_steps(registration.inverse))
        surfaces = yield from carried_surface_steps(layers.whole, way)
        return surfaces
    if layers.whole.shares and registration.warped_fractions:
        shares = yield from carried_share_steps(layers.whole, registration.warped_fractions)
        return shares
    return None


def fillers_of(
    scene: slicer.vtkMRMLScene,
    registration: Registration,
    data: ResultData,
    inputs: Inputs,
    layers: SegmentLayers | None,
    label_names: Mapping[int, str] | None,
) -> dict[str, Callable[[slicer.vtkMRMLNode], None]]:
    """Return for each output that there is a function that fills a node with it."""
    fixed, moving = input_volume(scene, inputs.fixed), input_volume(scene, inputs.moving)

    def fill_transform(node: slicer.vtkMRMLTransformNode) -> None:
        set_transform(node, registration.transform, data.transforms["transform"])
        node.SetAttribute(VERDICT_ATTRIBUTE, registration.verdict.level)
        write_record(node, registration)
        _set_roles(scene, node, inputs.fixed, inputs.moving)

    def fill_inverse(node: slicer.vtkMRMLTransformNode) -> None:
        set_transform(node, registration.inverse, data.transforms["inverse"])
        _set_roles(scene, node, inputs.moving, inputs.fixed)

    def fill_warped(node: slicer.vtkMRMLScalarVolumeNode) -> None:
        set_volume(node, registration.warped, data.volumes["warped"], like=moving)

    def fill_segmentation(node: slicer.vtkMRMLSegmentationNode) -> None:
        assert layers is not None  # noqa: S101  # for mypy: without layers there are no label maps
        if data.whole is None:
            set_segments(node, layers, data.labelmaps, reference=fixed)
        else:
            set_whole_segments(node, layers, data.whole, reference=fixed)
        mark_segments(node)

    def fill_jacobian(node: slicer.vtkMRMLScalarVolumeNode) -> None:
        assert registration.jacobian is not None  # noqa: S101  # for mypy: or it would have no voxels
        set_volume(node, registration.jacobian, data.volumes["jacobian"])
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(JACOBIAN_COLOURS)
        display.SetWindowLevelMinMax(*JACOBIAN_RANGE)

    def fill_millimetres(node: slicer.vtkMRMLScalarVolumeNode, name: str) -> None:
        image: Image = getattr(registration, name)
        set_volume(node, image, data.volumes[name])
        set_millimetres(node)
        _low, high = value_range(image.array, 0.0, UNCERTAINTY_PERCENTILE)
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(UNCERTAINTY_COLOURS)
        display.SetWindowLevelMinMax(0.0, max(high, SMALLEST_UNCERTAINTY_RANGE_MM))

    def fill_synthetic(node: slicer.vtkMRMLScalarVolumeNode) -> None:
        assert registration.synthetic is not None  # noqa: S101  # for mypy: or it would have no voxels
        set_volume(node, registration.synthetic, data.volumes["synthetic"])
        node.GetDisplayNode().SetAndObserveColorNodeID(SYNTHETIC_COLOURS)

    fillers: dict[str, Callable[[slicer.vtkMRMLNode], None]] = {
        "transform": fill_transform,
        "inverse": fill_inverse,
        "warped": fill_warped,
        "jacobian": fill_jacobian,
        "uncertainty": lambda node: fill_millimetres(node, "uncertainty"),
        "explanation": lambda node: fill_millimetres(node, "explanation"),
        "trust": lambda node: fill_millimetres(node, "trust"),
        "synthetic": fill_synthetic,
    }
    made = {name: fill for name, fill in fillers.items() if name in data.volumes or name in data.transforms}
    if data.labelmaps or data.whole is not None:
        made["segmentation"] = fill_segmentation
    names = {} if layers is None else {(each.layer, each.value): each.name for each in layers.segments}
    return made | {"table": lambda node: set_measures(node, registration, label_names, names)}


def _set_roles(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLTransformNode, fixed: str, moving: str) -> None:
    roles = {
        slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole(): fixed,
        slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole(): moving,
    }
    for role, identifier in roles.items():
        node.SetNodeReferenceID(role, identifier if scene.GetNodeByID(identifier) is not None else None)
