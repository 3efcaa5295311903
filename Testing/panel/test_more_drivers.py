"""What the command line can, the panel can too: structures that pull, an organ that slides, a model's passes."""

from __future__ import annotations

import html

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

from Testing.panel.nodes import BALLS, ball, segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine
from Testing.panel.test_drivers import rows, toggle, volume_of

JUDGE, PULL = "Judge the result", "Also draw the field"
MASK, ALONE = "Also serve as masks", "Drive alone"


def open_drivers(opened: OpenedPanel) -> None:
    opened.desktop.click(opened.ui.driversButton)


def choose_role(opened: OpenedPanel, role: str) -> None:
    opened.desktop.choose(opened.ui.labelsRoleSelector, role)


def test_structures_of_both_scans_pull_if_chosen_and_are_compared_only_without(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.movingSegmentation = segmentation("of moving")
    opened.parameters.fixedSegmentation = segmentation("of fixed")
    request = played.request()
    assert request.drivers.moving_labels is None
    assert request.extras.compared_moving_labels is not None
    played.deliver()
    open_drivers(opened)
    choose_role(opened, PULL)
    request = played.request()
    assert set(np.unique(request.drivers.fixed_labels.array)) == {0, 1, 2}
    assert set(np.unique(request.drivers.moving_labels.array)) == {0, 1, 2}
    assert request.extras.compared_moving_labels is None
    assert request.extras.moving_layers != ()
    played.deliver()


def test_segmentations_alone_take_the_recipe_without_intensities_and_give_the_chosen_one_back(
    opened: OpenedPanel, played: PlayedEngine
) -> None:
    opened.parameters.movingSegmentation = segmentation("of moving")
    opened.parameters.fixedSegmentation = segmentation("of fixed")
    open_drivers(opened)
    choose_role(opened, ALONE)
    assert opened.ui.recipeSelector.currentText == "labels-only"
    assert not opened.ui.recipeSelector.isEnabled()
    request = played.request()
    assert request.recipe.prepare.labels_only
    assert request.drivers.fixed_labels is not None
    played.deliver()
    choose_role(opened, JUDGE)
    assert opened.ui.recipeSelector.currentText == "auto"
    assert opened.ui.recipeSelector.isEnabled()


def test_segmentations_are_masks_where_no_other_is_chosen(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingSegmentation = segmentation("of moving")
    opened.parameters.fixedSegmentation = segmentation("of fixed")
    opened.parameters.fixedMask = segmentation("mask", names=("liver",))
    open_drivers(opened)
    choose_role(opened, MASK)
    request = played.request()
    assert volume_of(request.drivers.fixed_mask) == volume_of(ball(BALLS["liver"]))
    assert volume_of(request.drivers.moving_mask) > volume_of(request.drivers.fixed_mask)
    assert request.extras.compared_fixed_labels is not None


@pytest.mark.parametrize("role", [PULL, ALONE])
def test_segmentations_cannot_drive_without_both(opened: OpenedPanel, played: PlayedEngine, role: str) -> None:
    open_drivers(opened)
    choose_role(opened, role)
    assert not opened.ui.registerButton.isEnabled()
    assert "there is not a segmentation of each volume" in opened.ui.registerButton.toolTip
    choose_role(opened, JUDGE)
    assert opened.ui.registerButton.isEnabled()


def test_the_chosen_segment_slides(opened: OpenedPanel, played: PlayedEngine) -> None:
    segmentation("organs")
    open_drivers(opened)
    opened.desktop.choose(opened.ui.slidingMaskSelector, "organs")
    assert rows(opened.ui.slidingSegmentList) == dict.fromkeys(BALLS, True)
    toggle(opened, opened.ui.slidingSegmentList, "spleen")
    mask = played.request().drivers.sliding_mask
    assert volume_of(mask) == volume_of(ball(BALLS["liver"]))


def test_another_organ_begins_with_all_its_segments(opened: OpenedPanel, played: PlayedEngine) -> None:
    segmentation("organs")
    segmentation("others", names=("heart",))
    open_drivers(opened)
    opened.desktop.choose(opened.ui.slidingMaskSelector, "organs")
    toggle(opened, opened.ui.slidingSegmentList, "spleen")
    opened.desktop.choose(opened.ui.slidingMaskSelector, "others")
    assert rows(opened.ui.slidingSegmentList) == {"heart": True}


def test_swapped_volumes_leave_the_sliding_organ_behind(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.slidingMask = segmentation("organs")
    opened.desktop.click(opened.ui.swapButton)
    assert opened.ui.slidingMaskSelector.currentNode() is None
    assert played.request().drivers.sliding_mask is None


def test_each_chosen_segment_is_kept_rigid_for_itself(opened: OpenedPanel, played: PlayedEngine) -> None:
    segmentation("bones")
    open_drivers(opened)
    opened.desktop.choose(opened.ui.rigidMaskSelector, "bones")
    assert rows(opened.ui.rigidSegmentList) == dict.fromkeys(BALLS, True)
    labels = played.request().drivers.rigid_labels
    for number, centre in enumerate(BALLS.values(), start=1):
        assert labels.array[ball(centre).array > 0].min() == labels.array[ball(centre).array > 0].max() == number
    played.deliver()
    toggle(opened, opened.ui.rigidSegmentList, "spleen")
    labels = played.request().drivers.rigid_labels
    assert volume_of(labels) == volume_of(ball(BALLS["liver"]))
    played.deliver()
    opened.desktop.click(opened.ui.swapButton)
    assert played.request().drivers.rigid_labels is None


def test_the_model_is_asked_as_often_as_the_user_says(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.ui.advancedButton.collapsed = False
    assert opened.ui.modelPassesSpinBox.text == "By recipe"
    by_recipe = played.request().recipe
    played.deliver()
    opened.ui.modelPassesSpinBox.value = 5
    opened.desktop.process_events()
    recipe = played.request().recipe
    assert by_recipe.model.passes != 5
    assert recipe.model.passes == 5
    assert recipe.model.name == by_recipe.model.name


def test_the_value_outside_reaches_the_engine(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.ui.outputsButton.collapsed = False
    assert played.request().drivers.background is None
    played.deliver()
    for text, value in (("-1024", -1024.0), (" 12 ", 12.0)):
        opened.ui.backgroundEdit.text = text
        opened.desktop.process_events()
        assert played.request().drivers.background == value
        played.deliver()


def test_a_value_outside_that_is_no_number_is_explained(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.ui.outputsButton.collapsed = False
    opened.ui.backgroundEdit.text = "air"
    opened.desktop.process_events()
    assert not opened.ui.registerButton.isEnabled()
    assert "'air'" in html.unescape(str(opened.ui.registerButton.toolTip))
