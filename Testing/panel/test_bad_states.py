"""What stands in the way of a registration is one sentence in the panel, and the scene stays as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

import slicer

from DeepRegLib import files
from DeepRegLib.engine.protocol import PROTOCOL_VERSION
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.errors import InputError, MemoryShortageError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.panel.settings import EngineSettings, save_settings
from Testing.panel.nodes import (
    all_ids,
    ball,
    bspline_node,
    markups_node,
    segmentation,
    volume_node,
)
from Testing.panel.opened import OpenedPanel, tip_of
from Testing.panel.played import PlayedEngine

TOO_LARGE = MemoryShortageError("Out of memory on cuda:0.", "Use the recipe 'fast'.", "cuda:0")


def refused(opened: OpenedPanel) -> str:
    """Return why Register cannot be pressed."""
    assert not opened.ui.registerButton.isEnabled()
    return tip_of(opened.ui.registerButton)


def complaint(opened: OpenedPanel, played: PlayedEngine) -> str:
    """Press Register, and return what the panel complains about; nothing else may have happened."""
    before = all_ids(slicer.mrmlScene)
    count = len(played.orders)
    opened.press()
    assert len(played.orders) == count
    assert all_ids(slicer.mrmlScene) == before
    assert opened.ui.registerButton.text == "Register"
    assert opened.ui.registerButton.isEnabled()
    assert not opened.ui.progressBar.isVisible()
    return opened.message


# --- volumes


def test_nothing_loaded(opened: OpenedPanel) -> None:
    assert "No fixed volume is chosen." in refused(opened)


def test_only_the_fixed_volume_chosen(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.choose(opened.ui.movingSelector, "Choose a volume")
    assert "No moving volume is chosen." in refused(opened)


def test_the_same_volume_twice(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.choose(opened.ui.movingSelector, "self-test fixed")
    assert "Fixed and moving are the same volume, self-test fixed." in refused(opened)
    opened.desktop.choose(opened.ui.movingSelector, "self-test moving")
    assert opened.ui.registerButton.isEnabled()
    assert tip_of(opened.ui.registerButton) == "Register the moving volume to the fixed one."


def test_a_chosen_volume_is_deleted(opened: OpenedPanel, played: PlayedEngine) -> None:
    slicer.mrmlScene.RemoveNode(opened.parameters.movingVolume)
    opened.desktop.process_events()
    assert "moving volume" in refused(opened) or "same volume" in refused(opened)


def test_both_volumes_are_deleted(opened: OpenedPanel, played: PlayedEngine) -> None:
    for node in (opened.parameters.movingVolume, opened.parameters.fixedVolume):
        slicer.mrmlScene.RemoveNode(node)
    opened.desktop.process_events()
    assert "No fixed volume is chosen." in refused(opened)


def test_a_script_s_volume_is_deleted_before_the_start(opened: OpenedPanel, played: PlayedEngine) -> None:
    fixed, moving = opened.parameters.fixedVolume, opened.parameters.movingVolume
    slicer.mrmlScene.RemoveNode(moving)
    with pytest.raises(InputError, match="The moving volume is no longer in the scene"):
        opened.logic.register(fixed, moving)


def test_a_colour_volume(opened: OpenedPanel, played: PlayedEngine) -> None:
    image = Image(np.zeros((8, 8, 8, 3), np.uint8)[..., 0], Geometry((8, 8, 8), (1.0, 1.0, 1.0)), "photo")
    node = volume_node(slicer.mrmlScene, image, "photo", "vtkMRMLVectorVolumeNode")
    node.GetImageData().AllocateScalars(3, 3)
    opened.parameters.movingVolume = node
    opened.desktop.process_events()
    assert "The volume photo has 3 values a voxel" in refused(opened)
    assert "Vector to Scalar Volume" in refused(opened)


def test_a_volume_without_voxels(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "header")
    opened.desktop.process_events()
    assert "The volume header has no voxels." in refused(opened)


def test_a_volume_under_a_transform_that_bends_space(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingVolume.SetAndObserveTransformNodeID(bspline_node(slicer.mrmlScene, "warp").GetID())
    assert "self-test moving is moved by the transform warp, which bends space." in complaint(opened, played)
    assert "harden" in opened.message


# --- masks, landmarks, segmentations


def test_a_mask_elsewhere(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.fixedMask = segmentation("far away", apart=1000.0)
    far = Image(ball((60.0, 60.0, 60.0)).array, Geometry((40,) * 3, (3.0,) * 3, (1000.0, 0.0, 0.0)))
    opened.parameters.fixedMask = volume_node(slicer.mrmlScene, far, "far away", "vtkMRMLLabelMapVolumeNode")
    assert "The mask far away lies outside the volume." in complaint(opened, played)


def test_an_empty_mask(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingMask = segmentation("nothing", apart=1000.0)
    assert "The mask nothing is empty." in complaint(opened, played)


def test_a_mask_without_segments(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.movingMask = segmentation("new", names=())
    assert "The segmentation new has no segments." in complaint(opened, played)


def test_a_chosen_segment_is_deleted(opened: OpenedPanel, played: PlayedEngine) -> None:
    mask = segmentation("organs")
    opened.parameters.fixedMask = mask
    opened.parameters.fixedMaskSegments = ["id liver"]
    mask.GetSegmentation().RemoveSegment("id liver")
    opened.desktop.process_events()
    assert "The segments that were chosen of the mask organs were deleted." in refused(opened)


def test_landmarks_on_one_side(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.fixedLandmarks = markups_node(slicer.mrmlScene, [(1.0, 2.0, 3.0)], name="F")
    assert "Landmarks are chosen for one of the volumes only." in refused(opened)


def test_landmarks_that_cannot_be_paired(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.fixedLandmarks = markups_node(slicer.mrmlScene, np.eye(3), ["a", "b", "c"], "F")
    opened.parameters.movingLandmarks = markups_node(slicer.mrmlScene, np.eye(3)[:2], ["x", "y"], "M")
    assert "F has 3 points and M 2, and their labels do not tell which belong together." in complaint(opened, played)


def test_a_segmentation_to_compare_with_and_none_to_bring_along(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.fixedSegmentation = segmentation()
    assert "There is a segmentation to compare with, but none to bring along." in refused(opened)


def test_segmentations_without_a_common_name(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.fixedSegmentation = segmentation("F", names=("Leber", "Milz"))
    opened.parameters.movingSegmentation = segmentation("M")
    assert "The two segmentations have no segment name in common" in complaint(opened, played)


def test_an_output_that_would_overwrite_an_input(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.warpedOutput = opened.parameters.movingVolume
    assert "The output 'warped' would overwrite self-test moving" in complaint(opened, played)


def test_a_complaint_leaves_an_aligned_volume_aligned(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.parameters.alignMoving = True
    played.run()
    moving = opened.parameters.movingVolume
    aligned = moving.GetTransformNodeID()
    assert aligned
    opened.parameters.movingMask = segmentation("nothing", apart=1000.0)
    assert "is empty" in complaint(opened, played)
    assert moving.GetTransformNodeID() == aligned


# --- the engine


def choose_engine(opened: OpenedPanel, settings: EngineSettings) -> None:
    """Compute elsewhere, with real processes."""
    save_settings(slicer.app.settings(), settings)
    opened.load_pair()


def program(folder: Path, text: str) -> str:
    """Return a program in Python, which can stand where Python should."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_torch_is_missing(opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegLib.panel.environment_section.torch_version", lambda: "")
    assert opened.ui.environmentButton.collapsed
    assert "PyTorch is not installed in Slicer's Python." in complaint(opened, played)
    assert "Install PyTorch" in opened.message
    assert not opened.ui.environmentButton.collapsed
    assert opened.ui.installTorchButton.isVisible()


def test_a_worker_of_another_version(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.hello |= {"protocol": PROTOCOL_VERSION + 1, "versions": {"deepreg": "9.9"}}
    opened.press()
    opened.wait_for_end(10)
    assert "9.9" in opened.message
    assert "Install the same version of DeepReg on both sides." in opened.message


def test_a_program_that_is_no_worker(opened: OpenedPanel, tmp_path: Path) -> None:
    chatty = program(tmp_path, "print('Welcome to the cluster!', flush=True)\nimport sys; sys.stdin.read()\n")
    choose_engine(opened, EngineSettings(kind="python", python=chatty))
    opened.press()
    opened.wait_for_end(20)
    assert "The engine sent something that is no message." in opened.message
    assert "Welcome to the cluster!" in opened.message


def test_a_python_without_torch(opened: OpenedPanel, tmp_path: Path) -> None:
    bare = program(tmp_path, "import sys; sys.exit(\"ModuleNotFoundError: No module named 'torch'\")\n")
    choose_engine(opened, EngineSettings(kind="python", python=bare))
    opened.press()
    opened.wait_for_end(20)
    assert "PyTorch is not installed in the engine's Python" in opened.message
    assert "choose another Python" in opened.message


def test_a_python_that_is_not_there(opened: OpenedPanel, tmp_path: Path) -> None:
    choose_engine(opened, EngineSettings(kind="python", python=str(tmp_path / "gone")))
    opened.press()
    assert f"There is no Python at {tmp_path / 'gone'}." in opened.message
    assert opened.ui.registerButton.text == "Register"


def test_no_python_chosen(opened: OpenedPanel) -> None:
    choose_engine(opened, EngineSettings(kind="python"))
    opened.press()
    assert "There is no Python at (nothing chosen)." in opened.message


def test_ssh_without_a_computer(opened: OpenedPanel) -> None:
    choose_engine(opened, EngineSettings(kind="ssh"))
    opened.press()
    assert "No computer is named to compute on." in opened.message
    assert opened.ui.registerButton.text == "Register"


def answering(answer: bool, asked: list[str]) -> Callable[[str], bool]:
    """Return what stands for the window with Yes and No."""

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    return ask


def test_too_little_graphics_memory_and_yes(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(opened.widget.panel.registration, "_ask", answering(True, asked))
    assert played.request().device is None
    played.fail(TOO_LARGE)
    assert len(asked) == 1
    assert "Compute on the processor instead?" in asked[0]
    assert opened.desktop.wait_until(lambda: len(played.orders) == 2, 10)
    assert REGISTER.request_of(played.orders[1]).device == "cpu"
    played.deliver()
    assert opened.message == ""
    assert opened.results.transform
    assert opened.parameters.device == ""


def test_too_little_graphics_memory_and_no(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(opened.widget.panel.registration, "_ask", answering(False, asked))
    played.request()
    played.fail(TOO_LARGE)
    assert len(asked) == 1
    assert "Out of memory on cuda:0." in opened.message
    assert len(played.orders) == 1
    assert opened.ui.registerButton.text == "Register"


def test_too_little_memory_in_the_computer_is_not_asked_about(opened: OpenedPanel, played: PlayedEngine) -> None:
    played.request()
    played.fail(MemoryShortageError("Out of memory on cpu.", "Use the recipe 'fast'.", "cpu"))
    assert "Out of memory on cpu." in opened.message


# --- results and files


def test_results_that_cannot_be_added(
    opened: OpenedPanel, played: PlayedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("no room")

    before = all_ids(slicer.mrmlScene)
    played.request()
    monkeypatch.setattr("DeepRegLib.panel.running.add_results", fail)
    played.deliver()
    assert "The results could not be put into the scene: no room" in opened.message
    assert all_ids(slicer.mrmlScene) == before
    assert opened.ui.registerButton.isEnabled()
    assert opened.verdict == ""


def test_a_recipe_for_a_full_disk(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files.writing, "_disk_is_full", lambda _path: True)
    save_recipe(opened, monkeypatch, tmp_path / "mine.toml")
    assert f"The disk holding {tmp_path / 'mine.toml'} is full." in opened.message
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_for_a_folder_that_is_not_there(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_recipe(opened, monkeypatch, tmp_path / "gone" / "mine.toml")
    assert str(tmp_path / "gone") in opened.message


def save_recipe(opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    import qt

    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: str(path))
    opened.ui.advancedButton.collapsed = False
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.saveRecipeButton)


@pytest.mark.parametrize("content", [b"voxels = = 3", b"\xff\xfe\x00", b"[deformable]\nvoxels = -1\n", b"[magic]\n"])
def test_a_broken_recipe_file(
    opened: OpenedPanel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    import qt

    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: str(path))
    opened.ui.advancedButton.collapsed = False
    opened.desktop.process_events()
    opened.desktop.click(opened.ui.openRecipeButton)
    assert "broken" in opened.message
    assert opened.parameters.recipe == "auto"


def test_a_chosen_recipe_file_is_deleted(opened: OpenedPanel, played: PlayedEngine, tmp_path: Path) -> None:
    opened.use_quick_recipe(tmp_path)
    assert opened.ui.registerButton.isEnabled()
    (tmp_path / "quick.toml").unlink()
    opened.widget.panel.refresh()
    assert "quick" in refused(opened)


# --- the button


def test_a_double_click_starts_and_does_not_cancel(opened: OpenedPanel, played: PlayedEngine) -> None:
    opened.desktop.double_click(opened.ui.registerButton)
    assert opened.desktop.wait_until(lambda: len(played.orders) == 1, 10)
    opened.desktop.process_events()
    assert "cancel" not in played.worker.types()
    assert opened.ui.registerButton.text == "Cancel"
    opened.press()  # a click of its own does
    assert "cancel" in played.worker.types()
    opened.wait_for_end(10)
    assert opened.ui.registerButton.text == "Register"
