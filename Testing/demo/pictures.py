"""Pictures of the panel beside slice views, one for each step of the tutorial, and those of the first page.

    python -m Testing.demo.pictures

registers the demo's pair with the panel and writes `docs/images/tutorial/` and `Resources/Screenshots/panel.png`. They
show the stand-in desktop: the panel in a copy of Slicer's module panel, and slices drawn by Slicer's own scene.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtGui import QImage

from DeepRegLib.scene.nodes import HELPER_ATTRIBUTE, nodes_with
from Testing.demo.data import demo_pair
from Testing.demo.in_scene import MODULE, PATIENCE_SECONDS, Loaded, load, middle_of, shows_helper
from Testing.desktop import boot
from Testing.desktop.application import dress
from Testing.desktop.module_panel import ModulePanel
from Testing.desktop.running import Desktop
from Testing.desktop.views import SliceView

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "images" / "tutorial"
FIRST_PAGE = ROOT / "Resources" / "Screenshots" / "panel.png"
PANEL_WIDTH, HEADER = 400, 16
COLOURS, REFINEMENTS = 256, 2  # of a picture: enough for grey slices and a panel, at a third of the bytes
Save = Callable[[str, NDArray[np.uint8]], None]
# Of each view: name, orientation, the colour of its header, and its share of the room for views (x, y, width, height).
VIEWS = (
    ("Red", "Axial", "#f34a33", (0.0, 0.0, 0.62, 1.0)),
    ("Yellow", "Sagittal", "#edd54c", (0.62, 0.0, 0.38, 0.5)),
    ("Green", "Coronal", "#6eb04b", (0.62, 0.5, 0.38, 0.5)),
)


class Window:
    """Slicer's window as far as the tutorial needs it: the module panel, and three slice views beside it.

    Parameters
    ----------
    desktop
        Where the panel runs.
    panel
        The module panel.
    size
        Width and height of the window in pixels.
    place
        Where the slices go through, RAS mm.
    """

    def __init__(self, desktop: Desktop, panel: ModulePanel, size: tuple[int, int], place: list[float]) -> None:
        self._desktop = desktop
        self._panel = panel
        self._size = size
        self._place = place
        width, height = size[0] - PANEL_WIDTH, size[1]
        self._views = []
        for name, orientation, colour, (x, y, w, h) in VIEWS:
            room = (round(x * width), round(y * height), round(w * width), round(h * height))
            view = SliceView(name, orientation, (room[2] - 2, room[3] - HEADER - 2))
            self._views.append((view, colour, room))

    def show(self, background: Any, foreground: Any) -> None:
        """Show a volume, and another one over it."""
        for view, _colour, _room in self._views:
            view.show(background, foreground)
            view.jump_to(self._place)

    def fit(self) -> None:
        """Fit the views to what they show."""
        for view, _colour, _room in self._views:
            view.fit()
            view.jump_to(self._place)

    def picture(self) -> NDArray[np.uint8]:
        """Return what the window shows, as (height, width, 3) uint8."""
        self._panel.resize(PANEL_WIDTH, self._size[1])
        for _ in range(8):  # the widgets within widgets are laid out one after another
            self._desktop.process_events()
        window = np.full((self._size[1], self._size[0], 3), 30, dtype=np.uint8)
        window[:, :PANEL_WIDTH] = pixels(self._panel.grab().toImage())
        for view, colour, (x, y, w, h) in self._views:
            left = PANEL_WIDTH + x + 1
            window[y + 1 : y + HEADER, left : left + w - 2] = rgb(colour)
            window[y + HEADER : y + h - 2, left : left + w - 2] = view.picture()
        return window

    def close(self) -> None:
        """Release the views."""
        for view, _colour, _room in self._views:
            view.close()


def pixels(image: QImage) -> NDArray[np.uint8]:
    """Return a picture of Qt's as (height, width, 3) uint8."""
    image = image.convertToFormat(QImage.Format.Format_RGBX8888)
    flat = np.frombuffer(image.constBits(), dtype=np.uint8)
    return flat.reshape(image.height(), image.bytesPerLine() // 4, 4)[:, : image.width(), :3].copy()


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour such as #6eb04b."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def write(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a picture as a small PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture)
    image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, REFINEMENTS, dither=Image.Dither.NONE).save(path, optimize=True)


def walk(
    desktop: Desktop, loaded: Loaded, size: tuple[int, int], save: Callable[[str, NDArray[np.uint8]], None]
) -> None:
    """Go through the tutorial, and save a picture of each step under its name."""
    module = desktop.load_module(MODULE)
    panel = ModulePanel(module.panel)
    desktop.show(panel, (PANEL_WIDTH, size[1]))
    module.panel.enter()
    ui = module.widget.ui
    window = Window(desktop, panel, size, middle_of(loaded.fixed))
    window.show(loaded.fixed, loaded.moving)
    desktop.choose(ui.fixedSelector, loaded.fixed.GetName())
    desktop.choose(ui.movingSelector, loaded.moving.GetName())
    save("1-inputs", window.picture())
    desktop.choose(ui.movingSegmentationSelector, loaded.tissues.GetName())
    desktop.click(ui.registerButton)
    desktop.wait_until(lambda: "Deforming" in ui.progressLabel.text, PATIENCE_SECONDS)
    save("2-running", window.picture())
    section = module.widget.panel.registration
    if not desktop.wait_until(lambda: not section.running, PATIENCE_SECONDS) or section.run.results is None:
        raise RuntimeError(str(section.run.error))
    display = desktop.scene.GetNodeByID(section.run.results.segmentation).GetDisplayNode()
    display.SetVisibility(False)
    window.fit()
    save("3-verdict", window.picture())
    desktop.choose(ui.compareSelector, "Checkerboard")  # which is made a little at a time
    if not desktop.wait_until(lambda: bool(nodes_with(desktop.scene, HELPER_ATTRIBUTE)), PATIENCE_SECONDS):
        raise RuntimeError("the checkerboard was not made")
    desktop.wait_until(lambda: shows_helper(desktop.scene), PATIENCE_SECONDS)
    panel.ensureWidgetVisible(ui.compareSelector)
    save("4-compare", window.picture())
    desktop.choose(ui.compareSelector, "Blend")
    display.SetVisibility(True)
    for name in ("inputs", "compare", "linked"):
        getattr(ui, f"{name}Button").collapsed = True
    for name in ("drivers", "outputs"):
        getattr(ui, f"{name}Button").collapsed = False
    for _ in range(8):
        desktop.process_events()
    panel.verticalScrollBar().setValue(panel.verticalScrollBar().maximum)
    save("5-more", window.picture())
    window.close()
    panel.let_go()


def main(arguments: list[str] | None = None) -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m Testing.demo.pictures", description=__doc__)
    parser.add_argument("--output", type=Path, default=TUTORIAL, help="folder for the pictures")
    parser.add_argument("--size", default="1280x800", help="of the window, in pixels")
    parser.add_argument("--dark", action="store_true", help="in Slicer's dark style")
    options = parser.parse_args(arguments)
    width, height = (int(part) for part in options.size.split("x"))
    logging.basicConfig(level=logging.WARNING)
    desktop = boot()
    dress(desktop.application, dark=options.dark)

    def save(name: str, picture: NDArray[np.uint8]) -> None:
        write(picture, options.output / f"{name}.png")
        if name == "3-verdict" and options.output == TUTORIAL:
            write(picture[:, :PANEL_WIDTH], FIRST_PAGE)

    loaded: Any = load(demo_pair())
    walk(desktop, loaded, (width, height), save)
    desktop.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
