"""The scene without the application: files there and back, and nothing left from one test to the next."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)


@pytest.fixture
def volume(scene):
    """Return a volume on an oblique grid."""
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    matrix = np.array([[0, -1.5, 0, 10], [2, 0, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]], float)
    return slicer.util.addVolumeFromArray(voxels, ijkToRAS=matrix, name="Head")


@pytest.mark.parametrize("name", ["head.nrrd", "head.nii.gz", "head.mha"])
def test_a_volume_is_the_same_after_saving_and_loading(volume, tmp_path, name):
    assert slicer.util.saveNode(volume, str(tmp_path / name))
    loaded = slicer.util.loadVolume(str(tmp_path / name))
    assert loaded.GetName() == "head"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(volume))
    assert loaded.GetSpacing() == pytest.approx(volume.GetSpacing())
    assert loaded.GetOrigin() == pytest.approx(volume.GetOrigin())


def test_simpleitk_reads_an_exported_volume_at_the_same_place(volume, tmp_path):
    import SimpleITK as sitk

    slicer.util.exportNode(volume, str(tmp_path / "head.nrrd"))
    image = sitk.ReadImage(str(tmp_path / "head.nrrd"))
    x, y, z = image.TransformIndexToPhysicalPoint((1, 2, 3))
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(volume))
    assert [-x, -y, z] == pytest.approx((matrix @ [1, 2, 3, 1])[:3])


def ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def test_a_bundle_brings_back_nodes_and_references(scene, volume, tmp_path):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    scene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert slicer.util.getNode("Head").GetParentTransformNode().GetName() == "Shift"


def test_a_segmentation_comes_back_with_its_names(scene, volume, tmp_path):
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Plan")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("liver", "Liver")
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1:3, 1:4, 2:5] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    slicer.util.saveNode(segmentation, str(tmp_path / "plan.seg.nrrd"))
    loaded = slicer.util.loadSegmentation(str(tmp_path / "plan.seg.nrrd"))
    assert loaded.GetSegmentation().GetNthSegment(0).GetName() == "Liver"


def test_a_missing_file_is_an_error_that_names_it(scene, tmp_path):
    with pytest.raises(RuntimeError, match=r"nowhere\.nrrd"):
        slicer.util.loadVolume(str(tmp_path / "nowhere.nrrd"))


def test_closing_leaves_the_nodes_of_an_empty_scene(scene, volume):
    from Testing.desktop.scene import clear_scene, node_ids

    scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode").SetSingletonTag("Kept")
    clear_scene()
    assert set(node_ids(scene)) <= slicer.desktopBoot.node_ids
    assert scene.GetSubjectHierarchyNode() is not None


def test_there_is_one_scene_in_a_process(scene):
    from Testing.desktop.scene import boot_scene

    assert boot_scene() is scene is slicer.mrmlScene


def test_a_loaded_volume_is_shown_in_all_views_which_are_fitted_to_it(desktop, tmp_path):
    import SimpleITK as sitk

    shown = []
    for number, place in enumerate((0, 500)):
        image = sitk.Image([20, 20, 20], sitk.sitkUInt8) + number
        image.SetOrigin((place, place, place))
        sitk.WriteImage(image, str(tmp_path / f"{number}.nrrd"))
        volume = slicer.util.loadVolume(str(tmp_path / f"{number}.nrrd"))
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        assert {node.GetBackgroundVolumeID() for node in composites} == {volume.GetID()}
        shown.append(slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().GetSliceToRAS().GetElement(0, 3))
    assert shown[0] - shown[1] == pytest.approx(500, abs=1)
    before = slicer.util.loadVolume(str(tmp_path / "0.nrrd"), {"show": False})
    assert before.GetID() not in {node.GetBackgroundVolumeID() for node in composites}
