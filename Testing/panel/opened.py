"""The opened panel, as a person sits before it: what they load, press, and read."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.panel.self_test import example_pair, example_recipe
from DeepRegLib.recipes import Recipe, recipe_to_toml
from DeepRegLib.scene.volumes import add_volume
from Testing.desktop.module_panel import ModulePanel
from Testing.desktop.running import Desktop

SIZE = (440, 900)  # of Slicer's module panel
START_SECONDS = 120.0  # torch from a cold disk, on a busy machine


class OpenedPanel:
    """The module in the harness, its panel shown."""

    def __init__(self, desktop: Desktop, module: Path) -> None:
        self.desktop = desktop
        self.loaded = desktop.load_module(module)
        self.window = self.loaded.panel
        self.widget = self.loaded.widget
        self.ui = self.widget.ui
        self.logic = self.widget.logic
        self.area = ModulePanel(self.window)
        desktop.show(self.area, size=SIZE)
        self.window.enter()

    @property
    def engine(self) -> Any:
        """The engine behind the panel."""
        return self.logic.runner.engine

    @property
    def parameters(self) -> Any:
        """What the panel is set to."""
        return self.widget._parameters

    def load_pair(self) -> tuple[Any, Any]:
        """Put two small volumes, 9 mm apart, into the scene, and open the module again so that it proposes them."""
        fixed, moving = (add_volume(slicer.mrmlScene, image, image.name) for image in example_pair())
        self.window.exit()
        self.window.enter()
        self.desktop.process_events()
        return fixed, moving

    def use_quick_recipe(self, folder: Path) -> None:
        """Choose a recipe that takes a second."""
        self.use_recipe(folder, example_recipe())

    def use_recipe(self, folder: Path, recipe: Recipe) -> None:
        """Choose a recipe that is written into a folder."""
        path = folder / "quick.toml"
        path.write_text(recipe_to_toml(recipe), encoding="utf-8")
        self.parameters.recipe = str(path)
        self.desktop.process_events()

    def press(self) -> None:
        """Click on Register, or Cancel."""
        self.desktop.click(self.ui.registerButton)

    def wait_for_end(self, seconds: float = START_SECONDS) -> None:
        """Let the registration come to its end."""
        section = self.widget.panel.registration
        assert self.desktop.wait_until(lambda: not section.running, seconds), self.engine.log

    def wait_for_stage(self, words: str, seconds: float = START_SECONDS) -> None:
        """Wait until the progress line says something."""
        assert self.desktop.wait_until(lambda: words in self.ui.progressLabel.text, seconds), self.ui.progressLabel.text

    @property
    def message(self) -> str:
        """What the panel complains about, as plain text; empty if nothing is shown."""
        return plain(self.ui.messageLabel)

    @property
    def verdict(self) -> str:
        """What the panel says of the result, as plain text; empty if nothing is shown."""
        names = ("verdict", "verdictPair", "verdictState", "verdictReasons", "verdictMeasures", "verdictPlaces")
        texts = (plain(getattr(self.ui, f"{name}Label")) for name in names)
        return " | ".join(text for text in texts if text)

    @property
    def results(self) -> Any:
        """The latest run's node ids."""
        run = self.widget.panel.registration.run
        return None if run is None else run.results

    def close(self) -> None:
        """End the engine and leave the module panel; the desktop unloads the module."""
        self.engine.close()
        self.area.let_go()


def plain(label: Any) -> str:
    """Return what a label shows, without its markup; empty where it is hidden."""
    text = str(label.text) if label.isVisible() else ""
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", text)).split())


def tip_of(widget: Any) -> str:
    """Return a widget's tooltip as a person reads it: what is markup there is none here."""
    text = str(widget.toolTip)
    assert re.fullmatch(r"<p>[^<>]*</p>", text) or not text, f"no plain paragraph: {text!r}"
    return html.unescape(text.removeprefix("<p>").removesuffix("</p>"))


def to_moving(node: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a transform node takes (N, 3) points of the fixed volume in the moving one, RAS mm."""
    transform = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(transform)
    return np.array([transform.TransformPoint(point) for point in points])


def answer(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, yes: bool) -> list[str]:
    """Answer the panel's questions; return the list into which they go."""
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return yes

    panel = opened.widget.panel
    for section in (panel.registration, panel.outputs):
        monkeypatch.setattr(section, "_ask", ask)
    return asked
