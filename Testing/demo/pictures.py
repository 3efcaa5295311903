"""Pictures of the panel beside slice views, one for each step of the tutorial, and those of the first page.

    python -m Testing.demo.pictures

registers the demo's pair with the panel and writes `docs/images/tutorial/` and `Resources/Screenshots/`. They show the
stand-in desktop: the panel in a copy of Slicer's module panel, and slices drawn by Slicer's own scene.

    python -m Testing.demo.pictures --output FOLDER --states --size 1920x1080 --recipe rigid

writes pictures of each state of the panel, in a window and in the narrowest panel, to be looked at; with `--dark` in
Slicer's dark style.
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

from DeepRegLib.recipes import AUTO
from Testing.demo.data import demo_pair
from Testing.demo.in_scene import MODULE, PATIENCE_SECONDS, Loaded, Slices, load, middle_of, shows_helper
from Testing.desktop import boot
from Testing.desktop.application import dress
from Testing.desktop.module_panel import ModulePanel
from Testing.desktop.running import Desktop
from Testing.desktop.views import SliceView
from Testing.scene.nodes import markups_node

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "images" / "tutorial"
FIRST_PAGE = ROOT / "Resources" / "Screenshots"
PANEL_WIDTH, HEADER = 400, 16
NARROWEST = 330
SECTIONS = ("inputs", "compare", "linked", "repair", "drivers", "outputs", "advanced")
REASONS = ["The scans do not seem to show the same anatomy: aligned as well as possible, their edges agree to 18 %."]
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

    def panel(self, width: int = PANEL_WIDTH) -> NDArray[np.uint8]:
        """Return what the panel shows at a width, as (height, width, 3) uint8."""
        self._panel.resize(width, self._size[1])
        for _ in range(8):  # the widgets within widgets are laid out one after another
            self._desktop.process_events()
        return pixels(self._panel.grab().toImage())

    def picture(self) -> NDArray[np.uint8]:
        """Return what the window shows, as (height, width, 3) uint8."""
        window = np.full((self._size[1], self._size[0], 3), 30, dtype=np.uint8)
        window[:, :PANEL_WIDTH] = self.panel()
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


class Visit:
    """The opened panel and its window, gone through with the demo's pair.

    Parameters
    ----------
    desktop
        Where the panel runs.
    loaded
        The scans.
    size
        Width and height of the window in pixels.
    save
        Takes a picture and its name.
    """

    def __init__(self, desktop: Desktop, loaded: Loaded, size: tuple[int, int], save: Save) -> None:
        self._desktop = desktop
        self._loaded = loaded
        self._save = save
        self._module = desktop.load_module(MODULE)
        self._ui = self._module.widget.ui
        self._panel = ModulePanel(self._module.panel)
        desktop.show(self._panel, (PANEL_WIDTH, size[1]))
        self._module.panel.enter()
        self._window = Window(desktop, self._panel, size, middle_of(loaded.fixed))
        self._window.show(loaded.fixed, loaded.moving)

    def walk(self, recipe: str) -> None:
        """Go through the tutorial, and save a picture of each step under its name."""
        ui, loaded = self._ui, self._loaded
        self._desktop.choose(ui.fixedSelector, loaded.fixed.GetName())
        self._desktop.choose(ui.movingSelector, loaded.moving.GetName())
        self._desktop.choose(ui.recipeSelector, recipe)
        self._save("1-inputs", self._window.picture())
        self._desktop.choose(ui.movingSegmentationSelector, loaded.tissues.GetName())
        self._desktop.click(ui.registerButton)
        self._desktop.wait_until(lambda: "Deforming" in ui.progressLabel.text or not self._running, PATIENCE_SECONDS)
        self._save("2-running", self._window.picture())
        self._wait()
        display = self._carried()
        display.SetVisibility(False)
        self._window.fit()
        self._save("3-verdict", self._window.picture())
        self._desktop.choose(ui.compareSelector, "Checkerboard")  # which is made a little at a time
        if not self._desktop.wait_until(lambda: shows_helper(self._desktop.scene), PATIENCE_SECONDS):
            raise RuntimeError("the checkerboard was not made")
        self._panel.ensureWidgetVisible(ui.compareSelector)
        self._save("4-compare", self._window.picture())
        self._desktop.choose(ui.compareSelector, "Blend")
        display.SetVisibility(True)
        self._open("drivers", "outputs")
        self._save("5-more", self._window.picture())

    def looks(self) -> NDArray[np.uint8]:
        """Return the pictures of slices that the first page shows; the window's views are gone then."""
        self._window.close()
        self._open("compare")
        self._carried().SetVisibility(False)
        slices = Slices(self._desktop, self._loaded)
        slices.look_at_results(self._ui, self._desktop.scene.GetNodeByID(self._results.segmentation))
        return slices.picture()

    def states(self) -> None:
        """Save pictures of the panel's states with a result, and of a run that has just begun."""
        parameters = self._module.widget._parameters
        self._open("inputs", "compare")
        for level, reasons in (("ok", []), ("check", REASONS), ("failed", REASONS)):
            parameters.verdictLevel, parameters.verdictReasons = level, reasons
            self._take(level)
        parameters.movingMask = self._loaded.tissues
        self._open("drivers")
        self._take("drivers")
        middle = np.asarray(middle_of(self._loaded.fixed)) * (-1, -1, 1)
        for name in ("Entry and target", "Ventricle"):
            markups_node(self._desktop.scene, middle + np.array([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0]]), None, name)
        self._open("outputs")
        parameters.movingAlong = [self._desktop.scene.GetFirstNodeByName("Entry and target")]
        self._desktop.process_events()
        self._desktop.click(self._ui.carryNowButton)
        self._take("along")
        self._open("inputs", "compare")
        self._desktop.click(self._ui.registerButton)
        self._desktop.wait_until(lambda: "Starting" not in self._ui.progressLabel.text, PATIENCE_SECONDS)
        self._take("running")
        self._desktop.click(self._ui.registerButton)

    def close(self) -> None:
        """Release the panel."""
        self._panel.let_go()

    @property
    def _running(self) -> bool:
        return bool(self._module.widget.panel.registration.running)

    @property
    def _results(self) -> Any:
        return self._module.widget.panel.registration.result.results

    def _wait(self) -> None:
        section = self._module.widget.panel.registration
        if not self._desktop.wait_until(lambda: not self._running, PATIENCE_SECONDS) or section.run.results is None:
            raise RuntimeError(str(section.run.error))

    def _carried(self) -> Any:
        """Return how the segmentation is shown that was brought along."""
        return self._desktop.scene.GetNodeByID(self._results.segmentation).GetDisplayNode()

    def _open(self, *names: str) -> None:
        """Open these sections, fold the others, and go to the end."""
        for name in SECTIONS:
            getattr(self._ui, f"{name}Button").collapsed = name not in names
        for _ in range(8):
            self._desktop.process_events()
        self._panel.verticalScrollBar().setValue(self._panel.verticalScrollBar().maximum)

    def _take(self, name: str) -> None:
        """Save pictures of a state, in the window and in the narrowest panel."""
        self._save(name, self._window.picture())
        self._save(f"{name}-{NARROWEST}", self._window.panel(NARROWEST))


def main(arguments: list[str] | None = None) -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(prog="python -m Testing.demo.pictures", description=__doc__)
    parser.add_argument("--output", type=Path, default=TUTORIAL, help="folder for the pictures")
    parser.add_argument("--size", default="1280x800", help="of the window, in pixels")
    parser.add_argument("--recipe", default=AUTO, help="with which the pair is registered")
    parser.add_argument("--dark", action="store_true", help="in Slicer's dark style")
    parser.add_argument("--states", action="store_true", help="take the panel's other states too")
    options = parser.parse_args(arguments)
    width, height = (int(part) for part in options.size.split("x"))
    logging.basicConfig(level=logging.WARNING)
    desktop = boot()
    dress(desktop.application, dark=options.dark)
    first_page = FIRST_PAGE if options.output == TUTORIAL else options.output

    def save(name: str, picture: NDArray[np.uint8]) -> None:
        write(picture, options.output / f"{name}.png")
        if name == "3-verdict":
            write(picture[:, :PANEL_WIDTH], first_page / "panel.png")

    visit = Visit(desktop, load(demo_pair()), (width, height), save)
    visit.walk(options.recipe)
    if options.states:
        visit.states()
    write(visit.looks(), first_page / "views.png")
    visit.close()
    desktop.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
