"""A layout with the fixed scan on the left and the moving scan, as it was scanned, on the right.

It has views of its own, so that the user's views keep what they show; leaving it is going back to the layout before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import slicer

from DeepRegLib.scene.correspondence import FIXED, MOVING, Correspondence
from DeepRegLib.scene.nodes import nodes_of_class

# First part of the names of these views. Comparisons leave views of such a name alone.
OWN_VIEWS = "DeepReg"
ORIENTATIONS = ("Axial", "Sagittal", "Coronal")
COLOURS = {"Axial": "#F34A33", "Sagittal": "#EDD54C", "Coronal": "#6EB04B"}
# Views of one group follow each other in Slicer, and these two scans lie in different places.
GROUPS = {FIXED: 7310, MOVING: 7311}
LABELS = {FIXED: "F", MOVING: "M"}


@dataclass(frozen=True)
class Before:
    """The layout that was left.

    Parameters
    ----------
    layout
        Its number, which stays, for it is saved with scenes and settings.
    description
        What it looks like.
    replaced
        What it is made to look like for the time being.
    """

    layout: int
    description: str
    replaced: str


def is_own_view(name: str | None) -> bool:
    """Return whether a view of this name belongs to the side-by-side layout."""
    return bool(name) and str(name).startswith(OWN_VIEWS)


def show_side_by_side(scene: slicer.vtkMRMLScene, pair: Correspondence, count: int) -> Before | None:
    """Show the fixed scan on the left and the moving one on the right.

    Parameters
    ----------
    scene
        With a layout node, which the application's window follows.
    pair
        The scans.
    count
        Views a side, 1 to 3: axial, sagittal, coronal.

    Returns
    -------
    Before or None
        For `leave_side_by_side`; None where the scene has no layout that could be replaced.
    """
    node = _layout_node(scene)
    if node is None or not node.IsLayoutDescription(node.GetViewArrangement()):
        return None
    layout = node.GetViewArrangement()
    before = Before(layout, node.GetLayoutDescription(layout), _description(count))
    node.SetLayoutDescription(layout, before.replaced)
    for composite in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        if is_own_view(composite.GetLayoutName()):
            side = FIXED if composite.GetLayoutName().startswith(OWN_VIEWS + FIXED) else MOVING
            composite.SetBackgroundVolumeID(pair.fixed if side == FIXED else pair.moving)
            composite.SetForegroundVolumeID(None)
            composite.SetSaveWithScene(False)
    for view in nodes_of_class(scene, "vtkMRMLSliceNode"):
        if is_own_view(view.GetLayoutName()):
            view.SetSaveWithScene(False)
    return before


def leave_side_by_side(scene: slicer.vtkMRMLScene, before: Before) -> None:
    """Go back to the layout before; another one that the user chose in the meantime stays."""
    node = _layout_node(scene)
    if node is not None and node.IsLayoutDescription(before.layout):
        node.SetLayoutDescription(before.layout, before.description)


def is_shown(scene: slicer.vtkMRMLScene, before: Before) -> bool:
    """Return whether the scans still are side by side."""
    node = _layout_node(scene)
    return node is not None and node.GetViewArrangement() == before.layout


def _layout_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLLayoutNode | None:
    return next(iter(nodes_of_class(scene, "vtkMRMLLayoutNode")), None)


def _description(count: int) -> str:
    columns = "".join(
        f'<item><layout type="vertical">{"".join(_views(side, count))}</layout></item>' for side in (FIXED, MOVING)
    )
    return f'<layout type="horizontal" split="true">{columns}</layout>'


def _views(side: str, count: int) -> Iterator[str]:
    for orientation in ORIENTATIONS[:count]:
        properties = {
            "orientation": orientation,
            "viewlabel": f"{LABELS[side]}{orientation[0]}",
            "viewcolor": COLOURS[orientation],
            "viewgroup": GROUPS[side],
        }
        listed = "".join(
            f'<property name="{name}" action="default">{value}</property>' for name, value in properties.items()
        )
        yield (
            f'<item><view class="vtkMRMLSliceNode" singletontag="{OWN_VIEWS}{side}{orientation}">{listed}</view></item>'
        )
