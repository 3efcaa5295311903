"""segment(): from atlases to labels on a scan, to files, through the engine's packing, and what goes wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib import pipeline
from DeepRegLib.engine.packing import Arrays
from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.engine.segmentation import SEGMENT
from DeepRegLib.errors import CancelledError, InputError, RegistrationError
from DeepRegLib.evaluation import measure_segments
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.result import FAILED, Verdict
from DeepRegLib.segmentation import Atlas, Segmentation, SegmentRequest, read_atlases, segment
from DeepRegLib.segmentation.request import FUSIONS
from DeepRegLib.segmentation.saving import save_segmentation
from DeepRegLib.segmentation.seg_nrrd import read_segmentation
from DeepRegLib.transforms import apply_to_labels
from Testing.segmentation.atlases import SEGMENTS, small_atlases, write_atlases
from Testing.small import MOVING_GRID, TRUTH, small_pair, small_recipe, small_registration


@pytest.fixture(scope="module")
def small_segmentation() -> Segmentation:
    return segment(small_pair()[0], small_atlases(), small_recipe(), device="cpu")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer each registration of an atlas with the small one; return the names of what was registered."""
    asked: list[str] = []

    def answer(request, fixed, *, progress=None, cancel=None):
        asked.append(request.moving.name)
        if progress is not None:
            for fraction in (0.0, 0.5, 1.0):
                progress("linear", fraction, None, None)
        return small_registration()

    monkeypatch.setattr(pipeline, "align", answer)
    return asked


def test_fused_labels_are_better_than_those_of_the_atlases(small_segmentation: Segmentation) -> None:
    truth = small_pair()[2]
    found = small_segmentation
    assert found.segments == SEGMENTS
    assert found.labels.geometry == found.scan.geometry
    assert [row.used for row in found.atlases] == [True, True, True]
    fused = measure_segments(truth, found.labels).overall.dice
    drawn = [apply_to_labels(TRUTH, atlas.labels, truth.geometry) for atlas in small_atlases()]
    assert fused > 0.01 + np.mean([measure_segments(truth, labels).overall.dice for labels in drawn])
    assert all(row.dice is not None and 0.4 < row.dice < 1 for row in found.atlases)
    for row in found.rows:
        inside = found.labels.array == row.label
        ml = found.labels.geometry.voxel_volume / 1000
        assert row.volume == pytest.approx(inside.sum() * ml)
        expected = float(found.agreement.array[inside].mean()) if inside.any() else None
        assert row.agreement == (expected if expected is None else pytest.approx(expected, abs=1e-5))
    assert 0 <= found.agreement.array.min() <= found.agreement.array.max() <= 1
    assert np.count_nonzero(found.agreement.array == 1) > found.agreement.array.size / 2


def test_the_transform_of_a_group_member_is_that_of_a_registration_and_the_scan_is_prepared_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from DeepRegLib import preparation
    from Testing.requests import request_of

    fixed = small_pair()[0]
    prepared: list[str] = []
    prepare = preparation._prepare
    monkeypatch.setattr(
        preparation, "_prepare", lambda image, *rest: prepared.append(image.name) or prepare(image, *rest)
    )
    segment(fixed, small_atlases()[:2], small_recipe(), device="cpu")
    assert prepared == [fixed.name, *(atlas.image.name for atlas in small_atlases()[:2])]
    request = request_of(fixed, small_atlases()[0].image, small_recipe(), device="cpu")
    points = fixed.geometry.corners()
    alone, member = pipeline.run_request(request), pipeline.align(request)
    np.testing.assert_allclose(
        member.transform.apply_to_points(points), alone.transform.apply_to_points(points), atol=1e-6
    )
    assert member.verdict.level == alone.verdict.level


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_runs(fusion: str, quick: list[str]) -> None:
    steps: list[tuple[str, float]] = []

    def progress(stage: str, fraction: float, similarity: float | None, left: float | None) -> None:
        steps.append((stage, fraction))

    found = segment(small_pair()[0], small_atlases(), small_recipe(), fusion=fusion, device="cpu", progress=progress)
    assert (found.fusion, len(quick)) == (fusion, 3)
    assert measure_segments(small_pair()[2], found.labels).overall.dice > 0.8
    assert [fraction for _, fraction in steps] == sorted(fraction for _, fraction in steps)
    assert {"prepare", "atlas 1 of 3", "fuse"} <= {stage for stage, _ in steps}


def test_an_atlas_that_cannot_be_registered_is_left_out_and_named(
    quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = pipeline.align

    def refuse(request, fixed, *, progress=None, cancel=None):
        found = answer(request, fixed, progress=progress, cancel=cancel)
        if request.moving.name.endswith("B.nii.gz"):
            raise RegistrationError("No pose was found.")
        if request.moving.name.endswith("C.nii.gz"):
            return replace(found, verdict=Verdict(FAILED, ("The edges do not agree.",)))
        return found

    monkeypatch.setattr(pipeline, "align", refuse)
    found = segment(small_pair()[0], small_atlases(), small_recipe(), device="cpu")
    assert [row.used for row in found.atlases] == [True, False, False]
    assert found.verdict.level == "check"
    assert "2 of 3 atlases could not be registered: B, C." in found.verdict.reasons
    assert any("B was left out" in warning and "No pose was found." in warning for warning in found.warnings)
    assert any("C was left out" in warning and "The edges" in warning for warning in found.warnings)
    only = [atlas for atlas in small_atlases() if atlas.name != "A"]
    with pytest.raises(RegistrationError, match=r"None of the 2 atlases .*B: No pose was found.*C: The edges"):
        segment(small_pair()[0], only, small_recipe(), device="cpu")


def test_a_segment_that_no_atlas_brings_onto_the_scan_is_told(quick: list[str]) -> None:
    atlases = []
    for atlas in small_atlases():
        labels = atlas.labels.array.copy()
        labels[0, 0, 0] = 77  # in the corner, off the scan
        atlases.append(Atlas(atlas.name, atlas.image, atlas.labels.with_array(labels)))
    found = segment(small_pair()[0], atlases, small_recipe(), device="cpu")
    row = next(row for row in found.rows if row.label == 77)
    assert (row.volume, row.agreement, row.name) == (0, None, "Label 77")
    assert any("Label 77" in warning for warning in found.warnings)
    assert found.verdict.level == "check"


def test_a_run_stops_when_it_is_told_to() -> None:
    with pytest.raises(CancelledError):
        segment(small_pair()[0], small_atlases(), small_recipe(), device="cpu", cancel=lambda: True)


def test_a_saved_segmentation_is_whole(small_segmentation: Segmentation, tmp_path: Path) -> None:
    folder = save_segmentation(small_segmentation, tmp_path / "out")
    labels, segments = read_segmentation(folder / "segmentation.seg.nrrd")
    assert segments == SEGMENTS
    np.testing.assert_array_equal(labels.array, small_segmentation.labels.array)
    np.testing.assert_allclose(read_image(folder / "agreement.nii.gz").array, small_segmentation.agreement.array)
    text = (folder / "result.json").read_text(encoding="utf-8")
    assert "clinic" not in text
    result = json.loads(text)
    assert [each["name"] for each in result["segments"]] == [segment.name for segment in SEGMENTS]
    assert [each["name"] for each in result["atlases"]] == ["A", "B", "C"]
    assert sorted(result["files"].values()) == sorted(path.name for path in folder.iterdir())
    with (folder / "atlases.csv").open(encoding="utf-8") as stream:
        assert [row["used"] for row in csv.DictReader(stream)] == ["yes"] * 3
    with pytest.raises(InputError, match="holds"):
        save_segmentation(small_segmentation, folder)
    save_segmentation(small_segmentation, folder, overwrite=True)


def test_it_travels_through_the_engine(small_segmentation: Segmentation) -> None:
    request = SegmentRequest(small_pair()[0], small_atlases(), small_recipe(), "staple")
    arrays: Arrays = {}
    asked = SEGMENT.unpack_request(SEGMENT.pack_request(request, arrays), arrays)
    assert (asked.fusion, [atlas.name for atlas in asked.atlases]) == ("staple", ["A", "B", "C"])
    assert asked.atlases[1].segments == SEGMENTS
    back: Arrays = {}
    content = SEGMENT.pack_result(small_segmentation, back)
    assert "result.scan.array" not in back
    found = SEGMENT.unpack_result(content, back, request)
    assert (found.segments, found.rows, found.atlases) == (
        small_segmentation.segments,
        small_segmentation.rows,
        small_segmentation.atlases,
    )
    np.testing.assert_array_equal(found.labels.array, small_segmentation.labels.array)
    other = replace(request, scan=Image(np.zeros(MOVING_GRID.shape), MOVING_GRID))
    with pytest.raises(ProtocolError, match="another grid"):
        SEGMENT.unpack_result(content, back, other)


def test_a_folder_of_atlases_is_read_and_what_is_wrong_with_it_is_told(tmp_path: Path) -> None:
    folder = write_atlases(tmp_path / "atlases")
    atlases = read_atlases(folder)
    assert [(atlas.name, atlas.segments) for atlas in atlases] == [(name, SEGMENTS) for name in "ABC"]
    (folder / ".hidden").mkdir()
    assert len(read_atlases(folder)) == 3
    (folder / "D").mkdir()
    with pytest.raises(InputError, match=r"atlas D has no file image"):
        read_atlases(folder)
    write_image(small_pair()[0], folder / "D" / "image.nii.gz")
    with pytest.raises(InputError, match=r"atlas D has no file labels"):
        read_atlases(folder)
    write_image(small_pair()[3], folder / "D" / "labels.nii.gz")
    with pytest.raises(InputError, match="do not lie on the grid"):
        read_atlases(folder)
    write_image(small_pair()[2], folder / "D" / "labels.nrrd")
    with pytest.raises(InputError, match=r"2 files labels"):
        read_atlases(folder)
    for place in (tmp_path / "none", folder / "D"):
        with pytest.raises(InputError, match=r"folder|no atlas"):
            read_atlases(place)


def test_a_request_that_cannot_be_met_is_refused() -> None:
    scan, atlases, recipe = small_pair()[0], small_atlases(), small_recipe()
    with pytest.raises(InputError, match="no atlas"):
        SegmentRequest(scan, (), recipe)
    with pytest.raises(InputError, match="Two atlases are called A"):
        SegmentRequest(scan, (atlases[0], atlases[0]), recipe)
    with pytest.raises(InputError, match="majority, local, joint, staple"):
        SegmentRequest(scan, atlases, recipe, "vote")
