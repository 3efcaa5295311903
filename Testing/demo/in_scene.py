"""The demo as a clinician does it: two scans in a scene, the panel, one click; and pictures of what they see."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray

from DeepRegLib.image import read_image
from DeepRegLib.result import Registration
from DeepRegLib.scene.nodes import HELPER_ATTRIBUTE, nodes_of_class, nodes_with
from Testing.demo.data import DemoPair
from Testing.desktop import boot
from Testing.desktop.running import Desktop
from Testing.desktop.views import SliceView, rendering_available, side_by_side, write_picture

LOG = logging.getLogger(__name__)
MODULE = Path(__file__).resolve().parents[2] / "DeepReg" / "DeepReg.py"
TISSUES = {1: ("Grey matter", (0.95, 0.75, 0.35)), 2: ("White matter", (0.55, 0.85, 1.0))}
PANEL_SIZE = (440, 760)
VIEW_SIZE = (360, 360)
VIEWS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
PATIENCE_SECONDS = 1800.0


@dataclass(frozen=True)
class Loaded:
    """The demo's scans in the scene."""

    fixed: Any
    moving: Any
    tissues: Any


class DemoFailedError(Exception):
    """The panel ended with a message instead of a result."""


def run_in_scene(pair: DemoPair, output: Path, recipe: str) -> Registration:
    """Register the pair with the panel, and write ``scene.mrb``, ``panel.png`` and ``views.png`` into a folder.

    Raises
    ------
    DemoFailedError
        If the panel shows an error.
    """
    desktop = boot()
    try:
        loaded = load(pair)
        slices = Slices(desktop, loaded) if rendering_available() else None
        module = desktop.load_module(MODULE)
        run = register(desktop, module, loaded, recipe)
        desktop.grab(module.panel, output / "panel.png", PANEL_SIZE)
        if slices is not None:
            slices.look_at_results(module.widget.ui, slicer.mrmlScene.GetNodeByID(run.results.segmentation))
            write_picture(slices.picture(), output / "views.png")
        else:
            LOG.warning("No GL library: views.png is left out (on Debian or Ubuntu, install libosmesa6).")
        if not slicer.util.saveScene(str(output / "scene.mrb")):
            raise DemoFailedError("the scene could not be saved")
        return run.registration.with_labels(read_image(pair.moving_labels))
    finally:
        desktop.close()


def load(pair: DemoPair) -> Loaded:
    """Load both scans, and the template's tissues as a segmentation."""
    fixed, moving = (slicer.util.loadVolume(str(path)) for path in (pair.fixed, pair.moving))
    fixed.SetName("Head")
    moving.SetName("Template")
    labels = slicer.util.loadLabelVolume(str(pair.moving_labels))
    tissues = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Template tissues")
    tissues.CreateDefaultDisplayNodes()
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(labels, tissues)
    slicer.mrmlScene.RemoveNode(labels)
    for number, (name, colour) in enumerate(TISSUES.values()):
        segment = tissues.GetSegmentation().GetNthSegment(number)
        segment.SetName(name)
        segment.SetColor(*colour)
    tissues.GetDisplayNode().SetVisibility(False)
    return Loaded(fixed, moving, tissues)


def register(desktop: Desktop, module: Any, loaded: Loaded, recipe: str) -> Any:
    """Choose the inputs, click on Register and wait, telling how far it is."""
    desktop.show(module.panel, PANEL_SIZE)
    module.panel.enter()
    ui = module.widget.ui
    desktop.choose(ui.fixedSelector, loaded.fixed.GetName())
    desktop.choose(ui.movingSelector, loaded.moving.GetName())
    desktop.choose(ui.recipeSelector, recipe)
    ui.outputsButton.collapsed = False
    desktop.choose(ui.movingSegmentationSelector, loaded.tissues.GetName())
    ui.outputsButton.collapsed = True
    desktop.click(ui.registerButton)
    section = module.widget.panel.registration
    told: list[str] = []

    def over() -> bool:
        stage = str(ui.progressLabel.text).partition(" · ")[0]
        if stage and stage not in told:
            told.append(stage)
            LOG.warning("  %s", stage)
        return not section.running

    if not desktop.wait_until(over, PATIENCE_SECONDS) or section.run is None or section.run.results is None:
        raise DemoFailedError(str(section.run.error) if section.run is not None else str(ui.messageLabel.text))
    desktop.process_events()
    return section.run


class Slices:
    """Three slices of the head, taken again and again: blended as loaded, then in each way to compare the result."""

    def __init__(self, desktop: Desktop, loaded: Loaded) -> None:
        self._desktop = desktop
        self._middle = middle_of(loaded.fixed)
        self._fixed = loaded.fixed
        self._views = [SliceView(name, orientation, VIEW_SIZE) for name, orientation in VIEWS.items()]
        self._taken: list[NDArray[np.uint8]] = []
        for view in self._views:
            view.show(loaded.fixed, loaded.moving)
        self._take()

    def look_at_results(self, ui: Any, segmentation: Any) -> None:
        """Choose ways to compare in the panel, and look at the tissues that were brought along."""
        display = segmentation.GetDisplayNode()
        display.SetVisibility(False)
        for mode in ("Red / cyan", "Checkerboard"):
            self._desktop.choose(ui.compareSelector, mode)
            if not self._desktop.wait_until(lambda: shows_helper(slicer.mrmlScene), PATIENCE_SECONDS):
                raise DemoFailedError(f"{mode} was not shown")
            self._take()
        self._desktop.choose(ui.compareSelector, "Views as they were")
        display.SetVisibility(True)
        display.SetVisibility2DFill(False)
        for view in self._views:
            view.show(self._fixed)
        self._take()
        display.SetVisibility2DFill(True)
        self._desktop.choose(ui.compareSelector, "Blend")

    def picture(self) -> NDArray[np.uint8]:
        """Return all pictures, a row for each look; the views are gone then."""
        for view in self._views:
            view.close()
        return side_by_side(self._taken, columns=len(self._views))

    def _take(self) -> None:
        for view in self._views:
            view.jump_to(self._middle)
        self._taken += [view.picture() for view in self._views]


def middle_of(volume: Any) -> list[float]:
    """Return the middle of a volume, RAS mm."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)
    return [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)]


def shows_helper(scene: Any) -> bool:
    """Whether a slice view shows a volume that was made for it, such as a checkerboard."""
    helpers = {node.GetID() for node in nodes_with(scene, HELPER_ATTRIBUTE)}
    shown = {
        identifier
        for view in nodes_of_class(scene, "vtkMRMLSliceCompositeNode")
        for identifier in (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID())
    }
    return bool(helpers & shown)
