"""Sequences: which frame is meant."""

from __future__ import annotations

from collections.abc import Iterator

import slicer

from DeepRegLib.errors import InputError

# Units of an index that are times, in s.
TIME_UNITS = {"s": 1.0, "sec": 1.0, "ms": 1e-3}


def current_volume(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLVolumeNode:
    """Return the volume that a node stands for.

    A volume stands for itself. A sequence stands for the volume that shows its current frame; where nothing shows it,
    for its frame at the selected item of the first browser that has the sequence, else for its first frame.

    Raises
    ------
    InputError
        If a sequence has no frames.
    """
    if not node.IsA("vtkMRMLSequenceNode"):
        return node
    if node.GetNumberOfDataNodes() == 0:
        raise InputError(f"The sequence {node.GetName()} has no frames.", "Load or record frames first.")
    browser = _browser_of(node)
    if browser is None:
        return node.GetNthDataNode(0)
    # What shows the frame has the parent transforms and the edits; the stored frame has neither.
    shown = browser.GetProxyNode(node)
    if shown is not None:
        return shown
    return node.GetNthDataNode(max(browser.GetSelectedItemNumber(), 0))


def frame_label(node: slicer.vtkMRMLNode) -> str:
    """Return which frame a sequence, or a volume that shows one, stands at, as "frame 3 of 10"; else an empty text."""
    sequence = node if node.IsA("vtkMRMLSequenceNode") else _sequence_shown_by(node)
    if sequence is None or sequence.GetNumberOfDataNodes() == 0:
        return ""
    browser = _browser_of(sequence)
    item = 0 if browser is None else max(browser.GetSelectedItemNumber(), 0)
    return f"frame {item + 1} of {sequence.GetNumberOfDataNodes()}"


def frame_seconds(node: slicer.vtkMRMLNode) -> float | None:
    """Return when the frame was taken at which a sequence, or a volume that shows one, stands, s; None if unknown."""
    sequence = node if node.IsA("vtkMRMLSequenceNode") else _sequence_shown_by(node)
    scale = None if sequence is None else TIME_UNITS.get((sequence.GetIndexUnit() or "").strip().lower())
    if sequence is None or scale is None or sequence.GetNumberOfDataNodes() == 0:
        return None
    browser = _browser_of(sequence)
    item = 0 if browser is None else max(browser.GetSelectedItemNumber(), 0)
    try:
        return scale * float(sequence.GetNthIndexValue(item))
    except ValueError:
        return None


def _browsers(node: slicer.vtkMRMLNode) -> Iterator[slicer.vtkMRMLSequenceBrowserNode]:
    scene = node.GetScene()
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode") if scene is not None else 0):
        yield scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")


def _browser_of(sequence: slicer.vtkMRMLSequenceNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
    return next((b for b in _browsers(sequence) if b.IsSynchronizedSequenceNodeID(sequence.GetID(), True)), None)


def _sequence_shown_by(node: slicer.vtkMRMLNode) -> slicer.vtkMRMLSequenceNode | None:
    shows = (b for b in _browsers(node) if node.GetID() and b.IsProxyNodeID(node.GetID()))
    browser = next(shows, None)
    return None if browser is None else browser.GetSequenceNode(node)
