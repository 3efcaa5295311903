"""The harness's layouts and mouse: what Slicer's layout manager and slice views do to the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from Testing.desktop.layout import leave_view, move_mouse

if TYPE_CHECKING:
    from Testing.desktop.running import Desktop

OWN_LAYOUT = 1234
DESCRIPTION = """
<layout type="horizontal"><item><view class="vtkMRMLSliceNode" singletontag="Another">
<property name="orientation" action="default">Coronal</property>
<property name="viewgroup" action="default">3</property>
</view></item></layout>
"""


def shown(desktop: Desktop) -> set[str]:
    manager = desktop.application.layoutManager()
    nodes = [manager.sliceWidget(name).mrmlSliceNode() for name in manager.sliceViewNames()]
    return {node.GetLayoutName() for node in nodes if node.IsMappedInLayout()}


def place_of(crosshair: slicer.vtkMRMLCrosshairNode) -> list[float]:
    ras = [0.0, 0.0, 0.0]
    assert crosshair.GetCursorPositionRAS(ras)
    return ras


def test_a_layout_makes_its_views_and_hides_the_others(desktop: Desktop) -> None:
    manager = desktop.application.layoutManager()
    assert shown(desktop) == {"Red", "Yellow", "Green"}
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(OWN_LAYOUT, DESCRIPTION)
    manager.setLayout(OWN_LAYOUT)
    view = manager.sliceWidget("Another")
    assert shown(desktop) == {"Another"}
    assert (view.mrmlSliceNode().GetOrientation(), view.mrmlSliceNode().GetViewGroup()) == ("Coronal", 3)
    assert view.mrmlSliceCompositeNode().GetLayoutName() == "Another"
    manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    assert shown(desktop) == {"Red"}


def test_a_removed_slice_node_takes_its_view_along(desktop: Desktop) -> None:
    manager = desktop.application.layoutManager()
    manager.layoutLogic().GetLayoutNode().AddLayoutDescription(OWN_LAYOUT, DESCRIPTION)
    manager.setLayout(OWN_LAYOUT)
    slicer.mrmlScene.RemoveNode(manager.sliceWidget("Another").mrmlSliceNode())
    assert set(manager.sliceViewNames()) == {"Red", "Yellow", "Green"}


def test_the_mouse_is_where_its_view_says(desktop: Desktop) -> None:
    red = desktop.application.layoutManager().sliceWidget("Red").mrmlSliceNode()
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    red.SetSliceOffset(12.0)
    move_mouse(red, (30, 40))
    expected = red.GetXYToRAS().MultiplyPoint((30, 40, 0, 1))[:3]
    np.testing.assert_allclose(place_of(crosshair), expected)
    assert crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0]) is red
    leave_view(slicer.mrmlScene)
    assert not crosshair.GetCursorPositionRAS([0.0, 0.0, 0.0])


def test_shift_moves_crosshair_and_the_other_slices_of_the_group(desktop: Desktop) -> None:
    manager = desktop.application.layoutManager()
    red, yellow, green = (manager.sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow", "Green"))
    green.SetViewGroup(1)
    move_mouse(red, (30, 40), shift=True)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), place_of(crosshair))
    assert yellow.GetSliceToRAS().GetElement(0, 3) == pytest.approx(place_of(crosshair)[0])
    assert green.GetSliceOffset() == 0
    green.SetViewGroup(0)
