"""`deepreg apply`, `invert`, `compose`, `jacobian` and `evaluate` on a saved result."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.landmarks import read_points, write_points
from DeepRegLib.segmentation.fractional import Fractions, read_fractions, write_fractions
from DeepRegLib.segmentation.seg_nrrd import read_layers, write_layers
from DeepRegLib.segments import Segment
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    apply_to_image,
    read_transform,
    write_transform,
)
from Testing.cli.conftest import Deepreg, Files
from Testing.small import small_pair, small_registration
from Testing.synthetic import geometry_in, points_in, random_linear


def test_apply_makes_the_warped_volume_again(deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.nrrd"
    outcome = deepreg("apply", saved / "transform.h5", files.moving, "-o", again, "--reference", files.fixed)
    assert outcome.code == 0, outcome.err
    # NIfTI keeps the moving grid to float32 only, so a value next to a whole number may round to its neighbour.
    np.testing.assert_allclose(read_image(again).array, read_image(saved / "warped.nii.gz").array, atol=1)
    assert read_image(again).geometry.is_close(read_image(files.fixed).geometry)


def test_apply_to_labels_invents_none(deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path) -> None:
    expected = small_registration().with_labels(small_pair()[3]).warped_labels
    words = ("apply", saved / "transform.h5", files.moving_labels, "--reference", files.fixed)
    assert deepreg(*words, "--labels", "-o", tmp_path / "smooth.nii.gz").code == 0
    np.testing.assert_array_equal(read_image(tmp_path / "smooth.nii.gz").array, expected.array)
    assert deepreg(*words, "--nearest", "-o", tmp_path / "nearest.nii.gz", "--json").code == 0
    assert deepreg(*words, "--labels", "--nearest", "-o", tmp_path / "both.nii.gz").code == 0
    nearest = read_image(tmp_path / "nearest.nii.gz").array
    np.testing.assert_array_equal(nearest, read_image(tmp_path / "both.nii.gz").array)
    assert set(np.unique(nearest)) <= {0, 2, 7, 250}


def test_overlapping_segments_are_carried_over_with_names_colours_and_volumes(
    deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path
) -> None:
    labels = small_pair()[3]
    layers = labels, labels.with_array((labels.array > 0).astype(np.uint8))
    segments = (Segment(2, "Région", (1.0, 0.5, 0.0), "a~b"),), (Segment(1, "all of it", (0.0, 0.0, 1.0)),)
    write_layers(layers, segments, tmp_path / "plan.seg.nrrd")
    words = ("apply", saved / "transform.h5", tmp_path / "plan.seg.nrrd", "-o", tmp_path / "now.seg.nrrd")
    outcome = deepreg(*words, "--reference", files.fixed, "--json")
    assert outcome.code == 0, outcome.err
    carried, found = read_layers(tmp_path / "now.seg.nrrd")
    expected = small_registration().with_labels(labels).warped_labels
    np.testing.assert_array_equal(carried[0].array, expected.array)
    assert [segment.label for segment in found[0]] == [2, 7, 250]
    assert (found[0][:1], found[1]) == segments
    row = json.loads(outcome.out)["segments"][-1]
    assert row["name"] == "all of it"
    assert row["volume_before_ml"] == pytest.approx((labels.array > 0).sum() * labels.geometry.voxel_volume / 1000)
    assert row["volume_after_ml"] == pytest.approx(np.sum(carried[1].array) * carried[1].geometry.voxel_volume / 1000)
    assert "needs a grid" in deepreg(*words).err


def test_fractional_segments_come_back_fractional(deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path) -> None:
    labels = small_pair()[3]
    shares = labels.with_array(np.where(labels.array == 2, 0.75, 0.0).astype(np.float32))
    write_fractions(Fractions((shares,), (Segment(1, "Région", (1.0, 0.5, 0.0), "a~b"),)), tmp_path / "plan.seg.nrrd")
    words = ("apply", saved / "transform.h5", tmp_path / "plan.seg.nrrd", "-o", tmp_path / "now.seg.nrrd")
    outcome = deepreg(*words, "--reference", files.fixed)
    assert outcome.code == 0, outcome.err
    assert "1 fractional segments" in outcome.out
    carried = read_fractions(tmp_path / "now.seg.nrrd")
    assert carried is not None
    assert carried.segments[0].name == "Région"
    result = small_registration()
    expected = apply_to_image(result.transform, shares, result.fixed.geometry, background=0.0)
    np.testing.assert_allclose(carried.images[0].array, expected.array, atol=0.02)
    assert expected.array.max() > 0.5


def test_surfaces_of_a_segmentation_move_and_have_no_grid(
    deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path
) -> None:
    points = "0 0 0 10 0 0 0 10 0"
    head = '<VTKFile type="PolyData" byte_order="LittleEndian"><PolyData><Piece NumberOfPoints="3"><Points>'
    array = '<DataArray type="Float64" Name="Points" NumberOfComponents="3" format="ascii">'
    (tmp_path / "plan.seg").mkdir()
    piece = f"{head}{array}{points}</DataArray></Points></Piece></PolyData></VTKFile>"
    (tmp_path / "plan.seg" / "plan.seg_0.vtp").write_text(piece, encoding="utf-8")
    table = '<VTKFile type="vtkMultiBlockDataSet"><DataSet index="0" file="plan.seg/plan.seg_0.vtp"/></VTKFile>'
    (tmp_path / "plan.seg.vtm").write_text(table, encoding="utf-8")
    words = ("apply", saved / "inverse.h5", tmp_path / "plan.seg.vtm", "-o", tmp_path / "now.seg.vtm")
    assert "no grid" in deepreg(*words, "--reference", files.fixed).err.replace("\n", " ")
    outcome = deepreg(*words, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["segments"] == 1
    text = (tmp_path / "now.seg" / "now.seg_0.vtp").read_text(encoding="utf-8")
    found = np.frombuffer(base64.b64decode(re.findall(r'format="binary">([^<]+)<', text)[0])[4:], "<f8").reshape(-1, 3)
    ras = np.array(points.split(), float).reshape(-1, 3)
    flip = np.array([-1.0, -1.0, 1.0])
    expected = read_transform(saved / "inverse.h5").apply_to_points(ras * flip) * flip
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".fcsv", ".mrk.json"])
def test_points_of_the_fixed_image_land_on_the_moving_one(
    deepreg: Deepreg, saved: Path, tmp_path: Path, suffix: str
) -> None:
    result = small_registration()
    points = points_in(result.fixed.geometry, 20, margin=4)
    write_points(points, tmp_path / f"fixed{suffix}")
    there = tmp_path / f"moving{suffix}"
    outcome = deepreg("apply", saved / "transform.h5", tmp_path / f"fixed{suffix}", "-o", there, "--json")
    assert outcome.code == 0, outcome.err
    np.testing.assert_allclose(read_points(there), result.transform.apply_to_points(points), atol=1e-4)
    np.testing.assert_allclose(json.loads(outcome.out)["points"], read_points(there), atol=1e-6)
    assert deepreg("apply", saved / "inverse.h5", there, "-o", tmp_path / f"back{suffix}").code == 0
    assert np.linalg.norm(read_points(tmp_path / f"back{suffix}") - points, axis=1).max() < 0.5


def test_a_curve_stays_a_curve_and_a_model_a_model(deepreg: Deepreg, saved: Path, tmp_path: Path) -> None:
    result = small_registration()
    points = points_in(result.fixed.geometry, 4, margin=4)
    write_points(points, tmp_path / "curve.mrk.json", ["a", "b", "c", "d"])
    content = json.loads((tmp_path / "curve.mrk.json").read_text(encoding="utf-8"))
    markup = content["markups"][0]
    markup |= {"type": "ClosedCurve", "display": {"color": [0.1, 0.2, 0.3]}, "coordinateSystem": "RAS"}
    for control in markup["controlPoints"]:
        control["position"] = [-control["position"][0], -control["position"][1], control["position"][2]]
    markup["controlPoints"][1] |= {"positionStatus": "undefined"}
    (tmp_path / "curve.mrk.json").write_text(json.dumps(content), encoding="utf-8")
    outcome = deepreg("apply", saved / "transform.h5", tmp_path / "curve.mrk.json", "-o", tmp_path / "now.mrk.json")
    assert outcome.code == 0, outcome.err
    moved = json.loads((tmp_path / "now.mrk.json").read_text(encoding="utf-8"))["markups"][0]
    assert (moved["type"], moved["display"], len(moved["controlPoints"])) == ("ClosedCurve", markup["display"], 4)
    expected = result.transform.apply_to_points(points)[[0, 2, 3]]
    np.testing.assert_allclose(read_points(tmp_path / "now.mrk.json"), expected, atol=1e-4)

    lines = "".join(f"v {x} {y} {z}\n" for x, y, z in points.tolist()) + "f 1 2 3\n"
    (tmp_path / "model.obj").write_text(lines, encoding="utf-8")
    outcome = deepreg("apply", saved / "transform.h5", tmp_path / "model.obj", "-o", tmp_path / "now.obj")
    assert outcome.code == 0, outcome.err
    written = (tmp_path / "now.obj").read_text(encoding="utf-8").splitlines()
    assert written[-1] == "f 1 2 3"
    there = np.array([[float(word) for word in line.split()[1:]] for line in written[:-1]])
    np.testing.assert_allclose(there, result.transform.apply_to_points(points), atol=1e-4)


def test_a_box_that_would_be_bent_is_refused(deepreg: Deepreg, saved: Path, tmp_path: Path) -> None:
    write_points([[1, 2, 3]], tmp_path / "box.mrk.json")
    text = (tmp_path / "box.mrk.json").read_text(encoding="utf-8").replace('"Fiducial"', '"ROI"')
    (tmp_path / "box.mrk.json").write_text(text, encoding="utf-8")
    outcome = deepreg("apply", saved / "transform.h5", tmp_path / "box.mrk.json", "-o", tmp_path / "now.mrk.json")
    assert "which may be bent" in outcome.err.replace("\n", " ")
    assert not (tmp_path / "now.mrk.json").exists()


@pytest.mark.parametrize("tool", ["ants/transform.mat", "fsl/transform.mat", "freesurfer/transform.lta"])
def test_a_transform_of_another_tool_brings_the_scans_together(deepreg: Deepreg, tmp_path: Path, tool: str) -> None:
    folder = Path(__file__).resolve().parents[1] / "transforms" / "tools" / "oblique"
    warped = tmp_path / "warped.nii.gz"
    fixed, moving = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    outcome = deepreg("apply", folder / tool, moving, "-o", warped, "--reference", fixed)
    assert outcome.code == 0, outcome.err
    ours = read_image(warped).array.astype(float)
    assert np.abs(ours - read_image(fixed).array)[ours > 0].mean() < 12


def test_the_help_says_which_way_points_go(deepreg: Deepreg) -> None:
    text = " ".join(deepreg("apply", "--help").out.split())
    assert "POINTS placed on the FIXED image land on the moving image" in text
    assert "inverse.h5" in text


def test_invert_and_compose_undo_each_other(deepreg: Deepreg, saved: Path, tmp_path: Path) -> None:
    inverse, both = tmp_path / "inverse.h5", tmp_path / "both.h5"
    outcome = deepreg("invert", saved / "transform.h5", "-o", inverse, "--json")
    errors = json.loads(outcome.out)["inverse_error_mm"]
    assert 0 <= errors["mean"] < 0.2
    assert errors["mean"] <= errors["p99"] <= errors["max"]
    assert "Inverse error: mean" in deepreg("invert", saved / "transform.h5", "-o", inverse).out
    assert deepreg("compose", saved / "transform.h5", inverse, "-o", both).code == 0
    points = points_in(small_registration().fixed.geometry, 50, margin=4)
    assert np.linalg.norm(read_transform(both).apply_to_points(points) - points, axis=1).mean() < 0.2


def test_compose_applies_the_first_first(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    first, second = random_linear(1, angle=30), random_linear(2, angle=40, shift=20)
    write_transform(first, tmp_path / "first.h5")
    write_transform(second, tmp_path / "second.tfm")
    words = ("compose", tmp_path / "first.h5", tmp_path / "second.tfm")
    outcome = deepreg(*words, "-o", tmp_path / "both.h5", "--json")
    assert json.loads(outcome.out) == {"output": "both.h5", "parts": 1}
    expected = second.matrix @ first.matrix
    np.testing.assert_allclose(read_transform(tmp_path / "both.h5").matrix, expected, atol=1e-8)
    assert deepreg(*words, "-o", tmp_path / "field.nrrd").code == 2
    assert deepreg(*words, "-o", tmp_path / "field.nrrd", "--reference", files.fixed).code == 0
    assert isinstance(read_transform(tmp_path / "field.nrrd"), DisplacementField)
    assert deepreg("compose", tmp_path / "first.h5", "-o", tmp_path / "x.h5").code == 2


def test_invert_is_exact_for_linear_transforms(deepreg: Deepreg, tmp_path: Path) -> None:
    write_transform(random_linear(1, angle=30, scale=0.2), tmp_path / "linear.tfm")
    outcome = deepreg("invert", tmp_path / "linear.tfm", "-o", tmp_path / "inverse.tfm", "--json")
    assert json.loads(outcome.out)["inverse_error_mm"]["max"] < 1e-9
    assert isinstance(read_transform(tmp_path / "inverse.tfm"), LinearTransform)


def test_jacobian_counts_folds(deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path) -> None:
    words = ("--reference", files.fixed, "-o", tmp_path / "jacobian.nii.gz")
    table = json.loads(deepreg("jacobian", saved / "transform.h5", *words, "--json").out)
    values = read_image(tmp_path / "jacobian.nii.gz").array
    assert table["folds"] == 0
    assert table["voxels"] == values.size
    assert table["determinant"]["min"] == pytest.approx(values.min(), rel=1e-5)
    grid = geometry_in("LPS", (20, 22, 18), 2.4)
    array = np.zeros((*grid.shape, 3), dtype=np.float32)
    array[8, 10, 10, 0] = 9.0
    write_transform(DisplacementField(array, grid), tmp_path / "folded.nrrd")
    outcome = deepreg("jacobian", tmp_path / "folded.nrrd", *words)
    assert outcome.code == 0
    assert "Folded voxels: 0 of" not in outcome.out


def test_evaluate_measures_everything(deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path) -> None:
    result = small_registration()
    points = points_in(result.fixed.geometry, 9, margin=4)
    write_points(points, tmp_path / "f.csv")
    write_points(result.transform.apply_to_points(points) + np.array([3.0, 0, 4.0]), tmp_path / "m.csv")
    words = (
        *("evaluate", "--fixed-labels", files.fixed_labels, "--moving-labels", files.moving_labels),
        *("--fixed-landmarks", tmp_path / "f.csv", "--moving-landmarks", tmp_path / "m.csv"),
        *("--transform", saved / "transform.h5"),
    )
    table = json.loads(deepreg(*words, "--json").out)
    expected = result.with_labels(small_pair()[3], small_pair()[2]).measures.dice_after
    assert {int(name): row["dice"] for name, row in table["labels"].items()} == pytest.approx(expected)
    assert table["mean"]["dice"] == pytest.approx(np.mean(list(expected.values())))
    assert 0 < table["mean"]["mean_surface_distance_mm"] < table["mean"]["hausdorff95_mm"] < 10
    for name in ("mean", "median", "max"):
        assert table["landmark_error_mm"][name] == pytest.approx(5, abs=0.01)
    assert table["folds"] == 0
    shown = deepreg(*words).out
    for text in ("Dice", "95 % Hausdorff", "mean", "Landmark error of 9 points: mean 5.00 mm", "Folded voxels: 0"):
        assert text in shown


def test_evaluate_without_a_transform_takes_things_as_they_lie(deepreg: Deepreg, files: Files) -> None:
    words = ("evaluate", "--fixed-labels", files.fixed_labels, "--moving-labels", files.fixed_labels, "--json")
    table = json.loads(deepreg(*words).out)
    ones = ("dice", "iou", "accuracy", "sensitivity", "specificity", "precision", "surface_dice")
    assert [table["mean"][name] for name in ones] == [1.0] * 7
    zeros = ("mean_surface_distance_mm", "hausdorff95_mm", "hausdorff_mm", "volume_difference_ml")
    assert [table["all"][name] for name in zeros] == [0.0] * 4
    assert table["confusion"] == []
    assert "folds" not in table


def test_evaluate_writes_the_measures_of_every_segment_as_a_table(
    deepreg: Deepreg, files: Files, tmp_path: Path
) -> None:
    words = ("evaluate", "--fixed-labels", files.fixed_labels, "--moving-labels", files.fixed_labels)
    outcome = deepreg(*words, "--csv", tmp_path / "measures.csv")
    assert outcome.code == 0, outcome.err
    lines = (tmp_path / "measures.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("label,name,dice,iou,accuracy,sensitivity,specificity,precision,mean_distance")
    assert lines[1].startswith("2,Label 2,1,1,1,1,1,1,0,0,0,1,")
    assert lines[-1].startswith(",all,1,1,1,1,1,1,0,0,0,1,")
    outcome = deepreg(*words, "--csv", tmp_path / "measures.txt")
    assert (outcome.code, "End it in one of .csv" in outcome.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["measures.csv"]


def test_bad_calls_are_told_in_one_line(deepreg: Deepreg, files: Files, saved: Path, tmp_path: Path) -> None:
    transform, points = saved / "transform.h5", tmp_path / "p.csv"
    write_points(np.eye(3), points)
    labels = ("--fixed-labels", files.fixed_labels, "--moving-labels", files.moving_labels)
    truth = ("--transform", transform, "--truth", transform, "--reference", files.fixed)
    cases = {
        ("apply", transform, files.moving, "-o", tmp_path / "x.nii.gz"): "--reference",
        ("apply", transform, files.moving, "-o", tmp_path / "x.jpg", "--reference", files.fixed): "End it in one of",
        ("apply", transform, files.moving, "-o", files.moving, "--reference", files.fixed): "one of the inputs",
        ("apply", transform, points, "-o", tmp_path / "x.csv", "--labels"): "holds points",
        ("apply", transform, points, "-o", tmp_path / "x.nii.gz"): "End it in one of",
        ("apply", transform, points, "-o", points): "one of the inputs",
        ("apply", files.fixed, points, "-o", tmp_path / "x.csv"): "displacement field",
        ("compose", transform, transform, "-o", files.fixed, "--reference", files.fixed): "one of the inputs",
        ("evaluate", *labels, "--fixed-landmarks", points, "--moving-landmarks", points, "--csv", points): "the inputs",
        ("evaluate", *truth, *labels, "--error-map", files.fixed_labels): "one of the inputs",
        ("invert", tmp_path / "none.h5", "-o", tmp_path / "x.h5"): "does not exist",
        ("invert", transform, "-o", tmp_path / "none" / "x.h5"): "folder does not exist",
        ("invert", transform, "-o", tmp_path): "End it in|folder",
        ("invert", transform, "-o", tmp_path / "x.h5", "--device", "cuda:77"): "no device",
        ("jacobian", transform, "--reference", tmp_path / "none.nii", "-o", tmp_path / "x.nii"): "does not exist",
        ("evaluate",): "nothing to evaluate",
        ("evaluate", "--transform", transform): "nothing to evaluate",
        ("evaluate", "--fixed-labels", files.fixed_labels): "--moving-labels",
        ("evaluate", "--fixed-landmarks", points): "--moving-landmarks",
        ("evaluate", "--transform", transform, "--reference", files.fixed, "--csv", tmp_path / "x.csv"): "no labels",
    }
    for words, told in cases.items():
        outcome = deepreg(*words, "--json")
        assert outcome.code == 2, words
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("\n") == 1
        assert re.search(told, outcome.err), outcome.err
        assert outcome.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


def test_the_background_of_a_warped_volume(deepreg: Deepreg, tmp_path: Path) -> None:
    """Air in a CT, 0 in a signed map and around a label map, and what --background says."""
    small, large = Geometry((6, 6, 6)), Geometry((12, 12, 12), origin=(-3.0, -3.0, -3.0))
    write_image(Image(np.zeros(large.shape, np.float32), large), tmp_path / "grid.nii.gz")
    write_transform(LinearTransform.identity(), tmp_path / "id.tfm")
    rng = np.random.default_rng(0)

    def outside(array: np.ndarray, *words: str) -> float:
        write_image(Image(array, small), tmp_path / "v.nii.gz")
        given = (tmp_path / "id.tfm", tmp_path / "v.nii.gz", "--reference", tmp_path / "grid.nii.gz")
        outcome = deepreg("apply", *given, "-o", tmp_path / "o.nii.gz", *words)
        assert outcome.code == 0, outcome.err
        return float(read_image(tmp_path / "o.nii.gz").array[0, 0, 0])

    scan = np.full(small.shape, -1000, np.int16)
    scan[2:4] = 40
    labels = rng.integers(1, 4, small.shape).astype(np.uint8)
    assert outside(scan) == outside(scan.astype(np.float32)) == -1000
    assert outside(rng.normal(0, 1, small.shape).astype(np.float32)) == 0
    assert outside(scan, "--background", "-2000") == -2000
    assert outside(labels, "--nearest") == outside(labels, "--labels") == 0
    refused = ("apply", tmp_path / "id.tfm", tmp_path / "v.nii.gz", "--reference", tmp_path / "grid.nii.gz", "--labels")
    assert deepreg(*refused, "-o", tmp_path / "o.nii.gz", "--background", "7").code == 2


def test_a_missing_label_leaves_no_mean_distance(deepreg: Deepreg, tmp_path: Path) -> None:
    one, two = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    one[1:4, 2:7, 2:7] = two[1:4, 2:7, 2:7] = 1
    one[6:8, 2:7, 2:7] = 2
    for name, array in (("one", one), ("two", two)):
        write_image(Image(array, Geometry((9, 9, 9))), tmp_path / f"{name}.nii.gz")
    words = ("evaluate", "--fixed-labels", tmp_path / "one.nii.gz", "--moving-labels", tmp_path / "two.nii.gz")
    table = json.loads(deepreg(*words, "--json").out)
    assert table["mean"]["dice"] == 0.5
    for name in ("mean_surface_distance_mm", "hausdorff95_mm", "hausdorff_mm", "specificity", "accuracy"):
        assert table["mean"][name] is None
        assert table["all"][name] is None
    assert table["missing_labels"] == [2]
    assert "Missing in one of the label maps" in deepreg(*words).out
