"""Colours and icons of the panel, to be seen on Slicer's light and dark style alike."""

from __future__ import annotations

from pathlib import Path

import qt

from DeepRegLib.result import CHECK, FAILED, OK

# A contrast above 3:1 to both white and the dark style's window, and of white to each: bars and the discs of icons.
COLOURS = {OK: "#23934a", CHECK: "#b7791f", FAILED: "#d9484f"}
EARLIER_COLOUR = "#7d858f"
# White on each of these has a contrast above 4.5:1, whatever the style.
PRIMARY, PRIMARY_HOVER, PRIMARY_PRESSED, PRIMARY_DISABLED = "#1565c0", "#1a6fd0", "#0d47a1", "#6b7280"
PRIMARY_FOCUS = "#7db4f0"
# Text of second rank: a contrast above 4.5:1 to the windows of the light and the dark style.
SECONDARY_ON_LIGHT, SECONDARY_ON_DARK = "#5a6068", "#b8bcc2"
DARK_BELOW = 128  # of the window's lightness, 0 to 255
ICON_PIXELS, SMALL_ICON_PIXELS = 20, 16

PRIMARY_STYLE = f"""
QPushButton {{ font-weight: bold; border: none; border-radius: 4px; padding: 4px;
  color: white; background-color: {PRIMARY}; }}
QPushButton:hover {{ background-color: {PRIMARY_HOVER}; }}
QPushButton:pressed {{ background-color: {PRIMARY_PRESSED}; }}
QPushButton:focus {{ border: 2px solid {PRIMARY_FOCUS}; }}
QPushButton:disabled {{ background-color: {PRIMARY_DISABLED}; }}
"""
CANCEL_STYLE = "QPushButton { font-weight: bold; }"


class Icons:
    """The panel's icons, which lie beside the module.

    Parameters
    ----------
    folder
        Where their files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def icon(self, name: str) -> qt.QIcon:
        """Return an icon for a button."""
        return qt.QIcon(str(self._folder / f"{name}.png"))

    def pixmap(self, name: str) -> qt.QPixmap:
        """Return an icon for a label."""
        return self.icon(name).pixmap(qt.QSize(ICON_PIXELS, ICON_PIXELS))


class FreshLinks(qt.QObject):  # type: ignore[misc]  # qt is Slicer's
    """Gives a label's links the colour of a new style: Qt keeps that which they had when the label got its text.

    Parameters
    ----------
    label
        A ``QLabel`` of rich text.
    """

    def __init__(self, label: qt.QLabel) -> None:
        qt.QObject.__init__(self)
        self._label = label
        label.installEventFilter(self)

    def eventFilter(self, _watched: qt.QObject, event: qt.QEvent) -> bool:  # noqa: N802 - Qt's name
        """Read the text anew when the colours change; everything goes its way."""
        if event.type() == qt.QEvent.PaletteChange:
            text, self._label.text = self._label.text, ""
            self._label.text = text
        return False


def set_icon(button: qt.QAbstractButton, icon: qt.QIcon, pixels: int = ICON_PIXELS) -> None:
    """Show an icon on a button."""
    button.setIcon(icon)
    button.setIconSize(qt.QSize(pixels, pixels))


def bar_style(colour: str) -> str:
    """Return the style of a card's bar."""
    return f"background-color: {colour}; border: none;"


def secondary_colour(widget: qt.QWidget) -> str:
    """Return the colour of text of second rank on a widget."""
    dark = widget.palette.color(qt.QPalette.Window).lightness() < DARK_BELOW
    return SECONDARY_ON_DARK if dark else SECONDARY_ON_LIGHT
