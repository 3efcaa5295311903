"""The frames of a sequence browser as images, and when they were taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.scene.nodes import RESULT_ATTRIBUTE, nodes_of_class
from DeepRegLib.scene.sequences import TIME_UNITS
from DeepRegLib.scene.steps import Steps, slabs
from DeepRegLib.scene.volumes import geometry_of_volume
from DeepRegLib.scene.world import voxels_of
from DeepRegLib.series.frames import FRAMES, PERCENT, SECONDS

# Of the index of a sequence: what a number of each unit is in the unit of a series.
UNITS = {unit: (SECONDS, factor) for unit, factor in TIME_UNITS.items()} | {"%": (PERCENT, 1.0)}
CHOOSE = "Choose a browser of a sequence of volumes."


@dataclass(frozen=True, eq=False)
class SequenceFrames:
    """The frames of a sequence, their times, and the unit of these."""

    images: tuple[Image, ...]
    times: tuple[float, ...]
    unit: str


def volume_sequence(browser: slicer.vtkMRMLSequenceBrowserNode | None) -> slicer.vtkMRMLSequenceNode:
    """Return the sequence of scans that a browser plays: its master, or the first that is no result of DeepReg's.

    Raises
    ------
    InputError
        If there is no browser, or no such sequence of two frames or more.
    """
    if browser is None or browser.GetScene() is None:
        raise InputError("No sequence is chosen.", CHOOSE)
    found = [each for each in _sequences(browser) if _is_of_scans(each)]
    if not found:
        raise InputError(f"{browser.GetName()} plays no sequence of volumes.", CHOOSE)
    sequence = found[0]
    if sequence.GetNumberOfDataNodes() < 2:
        raise InputError(f"The sequence {sequence.GetName()} has one frame.", "A series has at least two.")
    return sequence


def frame_steps(browser: slicer.vtkMRMLSequenceBrowserNode) -> Steps[SequenceFrames]:
    """Read the frames of a browser's sequence in steps of a million voxels; they are copied.

    Raises
    ------
    InputError
        If one is no scalar volume, or the sequence is shown under a transform.
    """
    sequence = volume_sequence(browser)
    shown = browser.GetProxyNode(sequence)
    if shown is not None and shown.GetParentTransformNode() is not None:
        raise InputError(
            f"The frames of {sequence.GetName()} are shown under a transform.",
            "Take the volume out of the transform first.",
        )
    times, unit = _times(sequence)
    images = []
    for number in range(len(times)):
        yield
        node = sequence.GetNthDataNode(number)
        if node is None or node.GetImageData() is None or node.GetImageData().GetNumberOfScalarComponents() != 1:
            raise InputError(f"Frame {number + 1} of {sequence.GetName()} is no scalar volume.", CHOOSE)
        geometry = geometry_of_volume(node)
        images.append(Image((yield from _copied(voxels_of(node.GetImageData()))), geometry, f"frame {number + 1}"))
    return SequenceFrames(tuple(images), times, unit)


def _copied(voxels: NDArray[np.generic]) -> Steps[NDArray[np.generic]]:
    copy = np.empty_like(voxels)
    for slab in slabs(voxels.shape):
        copy[slab] = voxels[slab]
        yield
    return copy


def _sequences(browser: slicer.vtkMRMLSequenceBrowserNode) -> list[slicer.vtkMRMLSequenceNode]:
    """Return what a browser plays, its master first.

    Not by the browser's own list, which ends the process while one of its sequences is being removed.
    """
    master = browser.GetMasterSequenceNode()
    if master is None:
        return []
    known = nodes_of_class(browser.GetScene(), "vtkMRMLSequenceNode")
    others = [each for each in known if each.GetID() and browser.IsSynchronizedSequenceNodeID(each.GetID(), False)]
    return [master, *(each for each in others if each is not master)]


def _is_of_scans(sequence: slicer.vtkMRMLSequenceNode) -> bool:
    if sequence.GetAttribute(RESULT_ATTRIBUTE) or sequence.GetNumberOfDataNodes() == 0:
        return False
    first = sequence.GetNthDataNode(0)
    return bool(first.IsA("vtkMRMLScalarVolumeNode") and not first.IsA("vtkMRMLLabelMapVolumeNode"))


def _times(sequence: slicer.vtkMRMLSequenceNode) -> tuple[tuple[float, ...], str]:
    count = sequence.GetNumberOfDataNodes()
    plain = tuple(float(number) for number in range(count)), FRAMES
    unit = UNITS.get((sequence.GetIndexUnit() or "").strip().lower())
    if unit is None or sequence.GetIndexType() != slicer.vtkMRMLSequenceNode.NumericIndex:
        return plain
    try:
        values = [unit[1] * float(sequence.GetNthIndexValue(number)) for number in range(count)]
    except ValueError:
        return plain
    grows = all(one < other for one, other in itertools.pairwise(values))
    return (tuple(values), unit[0]) if grows else plain
