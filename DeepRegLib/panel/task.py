"""One registration as nodes of the scene, and how it becomes images for the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import slicer
from slicer.i18n import tr as _

from DeepRegLib.correction import Correction, Improvement
from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.recipes import AUTO, LABELS_ONLY, Recipe, load_recipe, with_model
from DeepRegLib.record import Record, Restoring
from DeepRegLib.request import Drivers, Extras, Request
from DeepRegLib.result import Registration, start_measures
from DeepRegLib.scene.markups import correction_from_markups, landmark_pairs
from DeepRegLib.scene.outputs import Outputs, Results
from DeepRegLib.scene.segmentations import (
    LabelPair,
    SegmentLayers,
    common_steps,
    label_map_steps,
    layer_steps,
    mask_steps,
    segment_names,
)
from DeepRegLib.scene.sequences import current_volume
from DeepRegLib.scene.steps import Result, Steps, run_through
from DeepRegLib.scene.transforms import transform_from_node
from DeepRegLib.scene.volumes import Untouched, image_from_volume
from DeepRegLib.tracking import Following, Last, Motion
from DeepRegLib.transforms import has_field

# What the segmentations of both scans do: they are compared when all is done, draw the field too, limit where the scans
# are looked at, or are all that is looked at.
JUDGE, PULL, MASK, ALONE = "judge", "pull", "mask", "alone"
LABEL_ROLES = (JUDGE, PULL, MASK, ALONE)


@dataclass(frozen=True)
class Mask:
    """Where a scan is looked at.

    Parameters
    ----------
    node
        Segmentation or label map.
    segments
        Ids of the segments that count; empty for all.
    """

    node: slicer.vtkMRMLNode
    segments: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Repair:
    """A result that is to be corrected near a few places.

    Parameters
    ----------
    markups
        A line, or pairs of points, from where anatomy appears to where it should be.
    registration
        The result.
    made
        The corrections it has had.
    untouched
        Whether the voxels of each scan are still those it was made of.
    """

    markups: slicer.vtkMRMLNode
    registration: Registration
    made: tuple[Correction, ...] = ()
    untouched: tuple[Untouched, ...] = ()


@dataclass(frozen=True, eq=False)
class Restore:
    """A result that came with the scene, to be judged anew rather than registered.

    Parameters
    ----------
    record
        How it was made.
    results
        Its nodes; there is a transform.
    transform, inverse
        Two of them; without an inverse it is found anew.
    """

    record: Record
    results: Results
    transform: slicer.vtkMRMLTransformNode
    inverse: slicer.vtkMRMLTransformNode | None = None


@dataclass(frozen=True)
class Task:
    """What to register, how, and what to put into the scene.

    Parameters
    ----------
    fixed, moving
        Scalar volumes, or sequences, of which the frame shown counts.
    recipe
        Shipped name, TOML file, or the recipe itself.
    fixed_mask, moving_mask, sliding_mask, rigid_segments, fixed_landmarks, moving_landmarks, initial_transform
        What drives the registration, each optional; landmarks go in pairs.
    moving_segmentation, fixed_segmentation
        Brought along, and what it is compared with.
    moving_along, fixed_along
        Markups and models that are copied to the other volume.
    labels_role
        What the segmentations do, one of `LABEL_ROLES`; those that draw the field are not measured apart from it.
        `ALONE` takes the recipe ``labels-only`` where another is given.
    drivers
        What else drives it, as values instead of nodes.
    device, seed, model
        As in `DeepRegLib.pipeline.register`.
    outputs
        What is put into the scene; of a model uncertainty and explanation too, if wanted.
    existing
        Node ids by output name that are overwritten rather than made.
    overwrite
        Names of the outputs whose node may be overwritten although it holds something of the user's.
    former
        The result whose place the new one takes; what is left of it is removed.
    prefix
        First part of the names of new nodes; empty for the moving volume's name.
    align_moving
        Put the moving volume under the transform.
    repair
        What is corrected, where an earlier result is.
    last
        The result to go on from, for a patient who is followed.
    motion
        What moves that on to where the anatomy is expected, if anything does.
    restore
        The result to judge anew, for one that came with the scene.
    """

    fixed: slicer.vtkMRMLNode | None
    moving: slicer.vtkMRMLNode | None
    recipe: str | Recipe = AUTO
    fixed_mask: Mask | None = None
    moving_mask: Mask | None = None
    sliding_mask: Mask | None = None
    rigid_segments: Mask | None = None
    fixed_landmarks: slicer.vtkMRMLNode | None = None
    moving_landmarks: slicer.vtkMRMLNode | None = None
    initial_transform: slicer.vtkMRMLNode | None = None
    moving_segmentation: slicer.vtkMRMLNode | None = None
    moving_along: tuple[slicer.vtkMRMLNode, ...] = ()
    fixed_along: tuple[slicer.vtkMRMLNode, ...] = ()
    fixed_segmentation: slicer.vtkMRMLNode | None = None
    labels_role: str = JUDGE
    drivers: Drivers = field(default_factory=Drivers)
    device: str | None = None
    seed: int = 0
    model: str | None = None
    outputs: Outputs = field(default_factory=Outputs)
    existing: dict[str, str] = field(default_factory=dict)
    overwrite: frozenset[str] = frozenset()
    former: Results | None = None
    prefix: str = ""
    align_moving: bool = False
    repair: Repair | None = None
    last: Last | None = None
    motion: Motion | None = None
    restore: Restore | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """A task's data. The two scans show the voxels of their nodes, all else is copied.

    Parameters
    ----------
    request
        For the engine.
    untouched
        Whether the voxels of each scan are still those that were read.
    layers
        The segments that are brought along, or None.
    label_names
        What the labels are called whose overlap is measured.
    improvement
        What is corrected, where an earlier result is.
    following
        The same request with the result to go on from.
    restoring
        The same request with what is left of the result to judge anew.
    """

    request: Request
    untouched: tuple[Untouched, ...]
    layers: SegmentLayers | None = None
    label_names: Mapping[int, str] | None = None
    improvement: Improvement | None = None
    following: Following | None = None
    restoring: Restoring | None = None


def in_place_of(former: Results, task: Task) -> Task:
    """Return a task whose result takes the place of a former one: in its nodes, and for other outputs as chosen."""
    return replace(task, existing={**task.existing, **former.ids}, overwrite=frozenset(former.ids), former=former)


def check(task: Task) -> None:
    """Raise an `InputError` if a glance at the nodes shows that the task cannot run; cheap enough for each change."""
    if task.fixed is None:
        raise InputError(_("No fixed volume is chosen."), _("Choose the volume that stays where it is."))
    if task.moving is None:
        raise InputError(_("No moving volume is chosen."), _("Choose the volume that is to be aligned."))
    if task.fixed is task.moving:
        raise InputError(
            _("Fixed and moving are the same volume, {name}.").format(name=task.fixed.GetName()),
            _("Choose two different volumes."),
        )
    if (task.fixed_landmarks is None) != (task.moving_landmarks is None):
        raise InputError(
            _("Landmarks are chosen for one of the volumes only."), _("Choose them for both, or for neither.")
        )
    for mask in (task.fixed_mask, task.moving_mask, task.sliding_mask, task.rigid_segments):
        _check_segments(mask)
    if _labels_drive(task) and (task.fixed_segmentation is None or task.moving_segmentation is None):
        raise InputError(
            _("Segmentations are to drive the registration, but there is not a segmentation of each volume."),
            _("Choose both under Outputs, or let them judge only (Drivers), and take another recipe than labels-only."),
        )
    if task.labels_role == MASK and task.moving_segmentation is None:
        raise InputError(
            _("Segmentations are to be the masks, but none is chosen."),
            _("Choose the moving volume's under Outputs, or both, or let them judge only (Drivers)."),
        )
    if task.fixed_segmentation is not None and task.moving_segmentation is None:
        raise InputError(
            _("There is a segmentation to compare with, but none to bring along."),
            _("Choose the moving volume's segmentation as well."),
        )


def reading_steps(task: Task) -> Steps[Reading]:
    """Read in steps what a task needs from the scene; where its nodes lie is looked up before the first.

    Raises
    ------
    InputError
        If a node is missing, deleted, of the wrong kind, empty, or placed by a transform that cannot be undone.
    """
    check(task)
    nodes = [
        current_volume(_alive(node, what))
        for node, what in ((task.fixed, _("The fixed volume")), (task.moving, _("The moving volume")))
    ]
    fixed, moving = (image_from_volume(node, copy=False) for node in nodes)
    untouched = tuple(Untouched(node) for node in nodes)
    fixed_mask = _started(_mask_steps(_mask(task, "fixed"), fixed, _("The fixed mask")))
    moving_mask = _started(_mask_steps(_mask(task, "moving"), moving, _("The moving mask")))
    layers = _started(_layer_steps(task.moving_segmentation, _("The moving segmentation")))
    compared = _started(_layer_steps(task.fixed_segmentation, _("The fixed segmentation")))
    drivers = _drivers(task)
    recipe = with_model(
        _recipe(task), task.model, uncertainty=task.outputs.uncertainty, explanation=task.outputs.explanation
    )
    sliding_mask = _started(_mask_steps(task.sliding_mask, fixed, _("The sliding mask")))
    rigid = _started(_rigid_steps(task.rigid_segments, fixed))
    correction = None
    if task.repair is not None:
        correction = correction_from_markups(_alive(task.repair.markups, _("The line that corrects")))
    yield
    masks = (yield from fixed_mask), (yield from moving_mask), (yield from sliding_mask)
    rigid_labels = yield from rigid
    drivers = replace(
        drivers,
        fixed_mask=drivers.fixed_mask if masks[0] is None else masks[0],
        moving_mask=drivers.moving_mask if masks[1] is None else masks[1],
        sliding_mask=drivers.sliding_mask if masks[2] is None else masks[2],
        rigid_labels=drivers.rigid_labels if rigid_labels is None else rigid_labels,
    )
    brought, wanted = (yield from layers), (yield from compared)
    pair = None
    if brought is not None and wanted is not None:
        pair = yield from _common_steps(wanted, brought, fixed, moving)
    measured = None if _labels_drive(task) else pair
    extras = Extras(
        compared_fixed_labels=measured.fixed if measured is not None else None,
        compared_moving_labels=measured.moving if measured is not None else None,
        moving_layers=brought.images if brought is not None else (),
        moving_fractions=brought.whole.shares if brought is not None else (),
        jacobian=task.outputs.jacobian,
    )
    if _labels_drive(task) and pair is not None:
        drivers = replace(drivers, fixed_labels=pair.fixed, moving_labels=pair.moving)
    request = Request(fixed, moving, recipe, drivers, task.device or None, task.seed, extras)
    names = pair.names if pair is not None else None
    following = None if task.last is None else Following(request, task.last, task.motion)
    restoring = yield from _restoring_steps(task.restore, request)
    improvement = _improvement(task.repair, request, correction)
    return Reading(request, untouched, brought, names, improvement, following, restoring)


def _restoring_steps(restore: Restore | None, request: Request) -> Steps[Restoring | None]:
    if restore is None:
        return None
    request = replace(request, recipe=restore.record.recipe)
    transform = transform_from_node(_alive(restore.transform, _("The result's transform")))
    yield
    inverse = None if restore.inverse is None else transform_from_node(restore.inverse)
    yield
    return Restoring(request, restore.record, transform, inverse)


def _recipe(task: Task) -> Recipe:
    recipe = load_recipe(task.recipe)
    return load_recipe(LABELS_ONLY) if task.labels_role == ALONE and not recipe.prepare.labels_only else recipe


def _labels_drive(task: Task) -> bool:
    return task.labels_role == PULL or _recipe(task).prepare.labels_only


def _mask(task: Task, side: str) -> Mask | None:
    """Return what limits where a scan is looked at: the mask that is chosen, or its segmentation as one."""
    chosen: Mask | None = getattr(task, f"{side}_mask")
    segmented = getattr(task, f"{side}_segmentation")
    return Mask(segmented) if chosen is None and task.labels_role == MASK and segmented is not None else chosen


def _improvement(repair: Repair | None, request: Request, correction: Correction | None) -> Improvement | None:
    if repair is None or correction is None:
        return None
    result = repair.registration
    request = replace(request, recipe=result.recipe)
    return Improvement(
        request,
        result.transform,
        result.inverse,
        correction,
        result.decisions,
        repair.made,
        start_measures(result.measures) if _fits_request(repair, request) else None,
    )


def _fits_request(repair: Repair, request: Request) -> bool:
    """Tell whether what a result measured of its linear part holds of a request: the images are still the same."""
    initial, result = request.drivers.initial_transform, repair.registration
    if initial is not None and has_field(initial):
        return False
    pairs = (result.fixed, request.fixed), (result.moving, request.moving)
    return bool(repair.untouched) and all(repair.untouched) and all(_is_of_same_voxels(*pair) for pair in pairs)


def _is_of_same_voxels(one: Image, other: Image) -> bool:
    """Tell whether two images show the same piece of memory, which takes no time, in the same place."""
    a, b = one.array, other.array
    same = (a.ctypes.data, a.shape, a.strides, a.dtype) == (b.ctypes.data, b.shape, b.strides, b.dtype)
    return same and one.geometry == other.geometry


def read(task: Task) -> Reading:
    """Do all of `reading_steps` at once."""
    return run_through(reading_steps(task))


def _drivers(task: Task) -> Drivers:
    """Return the drivers of a task that are read in no time: those given as values, landmarks and a transform."""
    drivers = task.drivers
    if task.fixed_landmarks is not None:
        fixed_points, moving_points = landmark_pairs(
            _alive(task.fixed_landmarks, _("The fixed landmark list")),
            _alive(task.moving_landmarks, _("The moving landmark list")),
        )
        drivers = replace(drivers, fixed_landmarks=fixed_points, moving_landmarks=moving_points)
    if task.initial_transform is not None:
        start = transform_from_node(_alive(task.initial_transform, _("The initial transform")))
        drivers = replace(drivers, initial_transform=start)
    return drivers


def _started(steps: Steps[Result]) -> Steps[Result]:
    """Take the first step, which looks up where a node lies, and return what is left."""
    next(steps)
    return steps


def _mask_steps(mask: Mask | None, image: Image, what: str) -> Steps[Image | None]:
    if mask is None:
        yield
        return None
    marked = yield from mask_steps(_alive(mask.node, what), mask.segments or None, image.geometry)
    return marked


def _rigid_steps(chosen: Mask | None, image: Image) -> Steps[Image | None]:
    if chosen is None:
        yield
        return None
    node = _alive(chosen.node, _("The segmentation of what is rigid"))
    labels = yield from label_map_steps(node, chosen.segments or None, image.geometry)
    return labels


def _layer_steps(node: slicer.vtkMRMLNode | None, what: str) -> Steps[SegmentLayers | None]:
    if node is None:
        yield
        return None
    layers = yield from layer_steps(_alive(node, what))
    return layers


def _check_segments(mask: Mask | None) -> None:
    if mask is None or mask.node.GetScene() is None or not mask.segments:
        return
    known = {identifier for identifier, _name in segment_names(mask.node)}
    if known and not known.intersection(mask.segments):
        raise InputError(
            _("The segments that were chosen of the mask {name} were deleted.").format(name=mask.node.GetName()),
            _("Choose other segments of it, or another mask."),
        )


def _common_steps(wanted: SegmentLayers, layers: SegmentLayers, fixed: Image, moving: Image) -> Steps[LabelPair]:
    pair = yield from common_steps(wanted, layers, fixed.geometry, moving.geometry)
    if pair is None:
        raise InputError(
            _("The two segmentations have no segment name in common, so they cannot be compared."),
            _("Give the same structure the same name in both, or choose no segmentation to compare with."),
        )
    return pair


def _alive(node: slicer.vtkMRMLNode | None, what: str) -> slicer.vtkMRMLNode:
    if node is None or node.GetScene() is None:
        raise InputError(_("{what} is no longer in the scene.").format(what=what), _("Choose another one, or none."))
    return node
