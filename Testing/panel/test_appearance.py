"""What a person sees of the panel: whole texts in Slicer's narrow module panel, on its light and its dark style."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QLabel, QListWidget

from DeepRegLib.errors import DeepRegError
from DeepRegLib.recipes import recipe_names
from Testing.desktop.application import DARK, LIGHT, dress
from Testing.desktop.module_panel import cut_off, too_long
from Testing.panel.nodes import markups_node, segmentation
from Testing.panel.opened import OpenedPanel
from Testing.panel.played import PlayedEngine

NESTED = 8
WIDTHS = (330, 380, 440)
REASON = (
    "The scans do not seem to show the same anatomy: aligned as well as possible, their edges agree to 18 % before and "
    "44 % after deformation."
)
READABLE, VISIBLE = 4.5, 3.0  # WCAG 2.1, level AA: of text, of what is no text


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def styled(opened: OpenedPanel, request: pytest.FixtureRequest) -> Iterator[OpenedPanel]:
    """Show the panel in Slicer's light and in its dark style."""
    dress(opened.desktop.application, dark=request.param)
    yield opened
    dress(opened.desktop.application)


def show(opened: OpenedPanel, width: int, height: int = 500) -> None:
    """Make the module panel so wide and high, and let it be laid out: an event for each widget in a widget."""
    opened.area.resize(width, height)
    for _ in range(NESTED):
        opened.desktop.process_events()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off_at_first_use(opened: OpenedPanel, width: int) -> None:
    show(opened, width)
    assert cut_off(opened.area) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off_with_a_result_an_error_and_every_section_open(
    opened: OpenedPanel, played: PlayedEngine, width: int
) -> None:
    import ctk

    played.request()
    played.deliver("failed", (REASON, REASON))
    opened.widget.panel.registration.show_error(DeepRegError(REASON, REASON))
    for side in ("fixed", "moving"):
        setattr(opened.parameters, f"{side}Mask", segmentation(f"A segmentation of the {side} scan"))
    markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name="targets")
    for widget in vars(opened.ui).values():
        if isinstance(widget, ctk.ctkCollapsibleButton):
            widget.collapsed = False
    opened.desktop.choose(opened.ui.compareSelector, "Red / cyan")
    show(opened, width)
    assert opened.ui.movingAlongList.isVisible()
    assert cut_off(opened.area) == []


@pytest.mark.parametrize("tab", ["registerTab", "segmentTab", "seriesTab"])
def test_no_row_of_a_list_and_no_button_is_cut_off_in_the_narrowest_panel(
    opened: OpenedPanel, played: PlayedEngine, tab: str
) -> None:
    import ctk

    for widget in vars(opened.ui).values():
        if isinstance(widget, ctk.ctkCollapsibleButton):
            widget.collapsed = False
    opened.ui.taskTabs.setCurrentWidget(getattr(opened.ui, tab))
    show(opened, WIDTHS[0])
    assert cut_off(opened.area) == []


def test_a_text_that_is_wider_than_its_widget_is_seen(opened: OpenedPanel) -> None:
    show(opened, WIDTHS[0])
    opened.ui.modelSelector.addItem("a model with a rather long name, as it were")
    opened.ui.registerButton.text = "Register these two volumes now, and do not wait for anything else"
    found = " ".join(cut_off(opened.area))
    assert "modelSelector shows less than 'a model with" in found
    assert "registerButton shows less than 'Register these" in found


def test_the_model_of_every_recipe_can_be_read_in_the_narrowest_panel(opened: OpenedPanel) -> None:
    for name in recipe_names():
        opened.parameters.recipe = name
        show(opened, WIDTHS[0])
        assert too_long(opened.ui.modelSelector) == [], name


def test_a_longer_text_gets_its_height_and_a_shorter_one_gives_it_back(opened: OpenedPanel) -> None:
    section = opened.widget.panel.registration
    heights = []
    for text in ("Short.", REASON, "Short."):
        section.show_error(DeepRegError(text))
        show(opened, 330)
        assert cut_off(opened.area) == []
        heights.append(opened.ui.messageLabel.height)
    assert heights[0] == heights[2] < heights[1]


def test_a_list_of_segments_has_room_for_five(opened: OpenedPanel, played: PlayedEngine) -> None:
    names = ("one", "two", "three", "four", "five", "six")
    opened.parameters.fixedMask = segmentation("mask", names=names[:2])
    opened.ui.driversButton.collapsed = False
    show(opened, 330, 300)
    shown: QListWidget = opened.ui.fixedSegmentList
    assert shown.viewport().height >= 2 * shown.sizeHintForRow(0)


def test_a_short_tab_leaves_no_room_for_a_long_one(opened: OpenedPanel) -> None:
    for name in ("driversButton", "outputsButton", "advancedButton"):
        getattr(opened.ui, name).collapsed = False
    show(opened, 330)
    long = opened.ui.taskTabs.height
    opened.ui.taskTabs.setCurrentWidget(opened.ui.segmentTab)
    show(opened, 330)
    assert opened.ui.taskTabs.height < 0.5 * long
    assert cut_off(opened.area) == []
    show(opened, 330, 2 * long)
    assert opened.ui.taskTabs.height < 0.5 * long
    opened.ui.taskTabs.setCurrentWidget(opened.ui.registerTab)
    show(opened, 330)
    assert opened.ui.taskTabs.height == long


def test_the_folder_of_wheels_has_room_for_a_path(opened: OpenedPanel) -> None:
    opened.ui.environmentButton.collapsed = False
    show(opened, 330)
    assert opened.ui.wheelFolderEdit.width > 180


def test_register_is_the_one_primary_button(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.panel.appearance import PRIMARY

    button = opened.ui.registerButton
    show(opened, 380)
    assert button.width == opened.ui.registerTab.width
    assert not button.icon.isNull()
    assert PRIMARY in button.styleSheet
    assert "bold" in button.styleSheet
    played.request()
    assert PRIMARY not in button.styleSheet
    played.deliver()
    assert PRIMARY in button.styleSheet


def test_every_text_can_be_read_on_both_styles(styled: OpenedPanel, played: PlayedEngine) -> None:
    opened = styled
    played.request()
    played.deliver("check", ("Because.",))
    opened.widget.panel.registration.show_error(DeepRegError("It is wrong.", "Do this."))
    for earlier in (False, True):
        if earlier:
            opened.desktop.click(opened.ui.swapButton)
        labels = [label for label in opened.area.findChildren(QLabel) if label.isVisible() and label.isEnabled()]
        assert opened.ui.verdictReasonsLabel in labels
        for label in labels:
            assert contrast(*ink_and_paper(label)) >= READABLE, label.objectName
            assert "color:" not in label.text, label.objectName
    link = opened.ui.verdictCard.palette.color(QPalette.ColorRole.Link)
    assert contrast(link, opened.ui.verdictCard.palette.color(QPalette.ColorRole.Window)) >= READABLE


def test_links_can_be_read_after_the_style_was_changed(opened: OpenedPanel, played: PlayedEngine) -> None:
    from DeepRegLib.panel.words import place_text

    played.run()
    opened.parameters.verdictPlaces = [place_text((60.0, 50.0, 40.0), "The field folds here")]
    opened.desktop.process_events()
    try:
        dress(opened.desktop.application, dark=True)
        show(opened, 380)
        picture = opened.ui.verdictPlacesLabel.grab().toImage()
    finally:
        dress(opened.desktop.application)
    colours = {picture.pixelColor(x, y).name() for x in range(picture.width()) for y in range(picture.height())}
    assert DARK["Link"][0] in colours
    assert LIGHT["Link"][0] not in colours


def test_bars_and_buttons_can_be_told_on_both_styles(styled: OpenedPanel) -> None:
    from DeepRegLib.panel import appearance

    window = styled.area.palette.color(QPalette.ColorRole.Window)
    for colour in (*appearance.COLOURS.values(), appearance.EARLIER_COLOUR):
        assert contrast(QColor(colour), window) >= VISIBLE
        assert contrast(QColor(colour), QColor("white")) >= VISIBLE  # the sign on the icon
    for colour in (
        appearance.PRIMARY,
        appearance.PRIMARY_HOVER,
        appearance.PRIMARY_PRESSED,
        appearance.PRIMARY_DISABLED,
    ):
        assert contrast(QColor(colour), QColor("white")) >= READABLE


def ink_and_paper(label: Any) -> tuple[QColor, QColor]:
    """Return the colours of a label's text and of what is behind it, as Qt has worked them out."""
    label.ensurePolished()
    return label.palette.color(QPalette.ColorRole.WindowText), label.palette.color(QPalette.ColorRole.Window)


def contrast(one: QColor, other: QColor) -> float:
    """Return the contrast ratio of two colours, by the formula of WCAG 2.1."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: QColor) -> float:
    """Return the relative luminance of a colour, 0 to 1."""
    parts = (colour.redF(), colour.greenF(), colour.blueF())
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
