"""Align on this: one click registers rigidly on the mask."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib.engine.registration import REGISTER
from Testing.panel.nodes import segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import SOON, PlayedEngine


def test_one_click_registers_rigidly_on_the_fixed_mask(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.click(opened.ui.driversButton)
    assert not opened.ui.alignOnButton.isEnabled()
    opened.parameters.fixedMask = segmentation()
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.alignOnButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, SOON), opened.message
    request = REGISTER.request_of(played.orders[-1])
    assert request.recipe.linear.model == "rigid"
    assert not request.recipe.deformable.enabled
    assert request.recipe.prepare.mask_margin > 0
    assert request.drivers.fixed_mask is not None
    assert opened.parameters.recipe == "stable-region"


def test_what_has_changed_is_shown_of_the_carried_segments(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation("moving")
    opened.parameters.fixedSegmentation = segmentation("plan")
    opened.desktop.process_events()
    played.run()
    opened.desktop.click(opened.ui.driversButton)
    opened.desktop.click(opened.ui.showChangeButton)
    assert opened.message == ""
    models = slicer.mrmlScene.GetNodesByClass("vtkMRMLModelNode")
    names = [models.GetItemAsObject(n).GetName() for n in range(models.GetNumberOfItems())]
    assert any(name.endswith(" change") for name in names)
