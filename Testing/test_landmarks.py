"""Point lists survive the trip through every format, and damaged ones are explained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.landmark_alignment import check_landmarks
from DeepRegLib.landmarks import (
    MARKUPS_SCHEMA,
    SUFFIXES,
    Pairs,
    PointList,
    outside_message,
    paired,
    points_outside,
    read_point_list,
    read_points,
    write_points,
)

POINTS = np.array([[1.5, -2.25, 3.0], [-40.0, 0.0, 1e-3]])


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(points=arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-1e6, 1e6)))
def test_points_come_back_exactly(tmp_path: Path, suffix: str, points: np.ndarray) -> None:
    path = tmp_path / f"points{suffix}"
    write_points(points, path)
    np.testing.assert_array_equal(read_points(path), points)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_with_commas_and_quotes_do_not_disturb_the_points(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"points{suffix}"
    write_points(POINTS, path, names=['a, "b"', "7"])
    np.testing.assert_array_equal(read_points(path), POINTS)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "text",
    [
        "x,y,z\n1.5,-2.25,3\n-40,0,1e-3\n",
        "1.5,-2.25,3\n-40,0,1e-3\n",
        "\ufeffX, Y, Z\r\n1.5, -2.25, 3\r\n\r\n-40, 0, 1e-3\r\n",
        "label,z,y,x\nA,3,-2.25,1.5\nB,1e-3,0,-40\n",
        "A,1.5,-2.25,3\nB,-40,0,1e-3\n",
        "1,1.5,-2.25,3\n2,-40,0,1e-3\n",
        "1.5,-2.25,3,A\n-40,0,1e-3,B\n",
        "x;y;z\n1.5;-2.25;3\n-40;0;1e-3\n",
        "# LPS\nx\ty\tz\n1.5\t-2.25\t3\n-40\t0\t1e-3\n",
        "label,r,a,s\nF-1,-1.5,2.25,3\nF-2,40,0,1e-3\n",
        "label,l,p,s,defined,selected,visible,locked,description\nA,1.5,-2.25,3,1,1,1,0,\nB,-40,0,1e-3,1,1,1,0,\n"
        "C,0,0,0,0,1,1,0,\n",
        "1,1.5,-2.25,3,7\n2,-40,0,1e-3,5\n",
        "1.5,-2.25,3,0\n-40,0,1e-3,0\n",
        "x,y,z,t,label,comment\n1.5,-2.25,3,0,1,\n-40,0,1e-3,0,2,\n",
    ],
)
def test_csv_dialects(tmp_path: Path, text: str) -> None:
    np.testing.assert_array_equal(read_points(written(tmp_path, "p.csv", text)), POINTS)


@pytest.mark.parametrize(
    ("header", "sign"),
    [
        ("# Markups fiducial file version = 4.10\n# CoordinateSystem = 0\n", -1),
        ("# Markups fiducial file version = 4.11\n# CoordinateSystem = 1\n", 1),
        ("# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n", 1),
        ("# Markups fiducial file version = 5.6\n# CoordinateSystem = RAS\n", -1),
        ("# Markups fiducial file version = 4.5\n", -1),
        ("", -1),
    ],
)
def test_fcsv_frames(tmp_path: Path, header: str, sign: int) -> None:
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    row = 'vtkMRMLMarkupsFiducialNode_0,10,20,30,0,0,0,1,1,1,0,"F, 1",,vtkMRMLScalarVolumeNode1\n'
    points = read_points(written(tmp_path, "p.fcsv", header + columns + row))
    np.testing.assert_array_equal(points, [[sign * 10, sign * 20, 30]])


def test_markups_in_ras_and_micrometres_without_the_unplaced_points(tmp_path: Path) -> None:
    control_points = [
        {"label": "F-1", "position": [1000, 2000, 3000], "positionStatus": "defined"},
        {"label": "F-2", "position": [0, 0, 0], "positionStatus": "undefined"},
        {"label": "F-3", "positionStatus": "undefined"},
        {"label": "F-4", "position": [4000, 5000, 6000]},
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "RAS",
        "coordinateUnits": ["um", "UCUM", "micrometer"],
        "controlPoints": control_points,
    }
    path = written(tmp_path, "p.mrk.json", json.dumps({"@schema": MARKUPS_SCHEMA, "markups": [markup]}))
    np.testing.assert_allclose(read_points(path), [[-1, -2, 3], [-4, -5, 6]])


def test_markups_have_what_slicer_reads(tmp_path: Path) -> None:
    path = tmp_path / "p.mrk.json"
    write_points(POINTS, path, names=["nasion", "inion"])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["@schema"].endswith("markups-schema-v1.0.3.json#")
    (markup,) = content["markups"]
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == ("Fiducial", "LPS", "mm")
    assert [p["label"] for p in markup["controlPoints"]] == ["nasion", "inion"]
    assert markup["controlPoints"][0]["position"] == [1.5, -2.25, 3.0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.csv", "", "no points"),
        ("p.csv", "x,y,z\n", "no points"),
        ("p.csv", "x,y,z\n1,2,3\n1,nan,3\n", "line 3: y is 'nan'"),
        ("p.csv", "x,y,z\n1,2\n", "line 2: there are fewer than three"),
        ("p.csv", "x,y,z\n1,2,three\n", "line 2: z is 'three'"),
        ("p.csv", "u,v,w\n1,2,3\n", "does not name the columns"),
        ("p.csv", "5,10,20,30,5,7\n", "not clear"),
        ("p.csv", "1,2,3\n4,5,6,7\n", "line 2: it has 4 numbers, the first 3"),
        ("p.csv", "x,x,y,z\n1,2,3,4\n", "called x"),
        ("p.csv", "x,y,z\n1_0,2,3\n", "x is '1_0'"),
        ("p.fcsv", "# CoordinateSystem = 1\n# CoordinateSystem = RAS\na,1,2,3\n", "both LPS and RAS"),
        ("p.fcsv", "# CoordinateSystem = 2\na,1,2,3\n", "line 1: the coordinate system is '2'"),
        ("p.fcsv", "# CoordinateSystem = 1\na,1,inf,3\n", "line 2: y is 'inf'"),
        ("p.mrk.json", '{"markups":\n [', "line 2"),
        ("p.mrk.json", "[]", "0 point lists"),
        ("p.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, 2]}]}]}', "control point 1"),
        ("p.mrk.json", '{"markups": [{"controlPoints": [{"position": [1, 2, NaN]}]}]}', "control point 1: z is nan"),
        ("p.mrk.json", '{"markups": [{"coordinateSystem": "IJK"}]}', "coordinate system is 'IJK'"),
        ("p.mrk.json", '{"markups": [{"coordinateUnits": "inch"}]}', "unit of the coordinates is 'inch'"),
        ("p.txt", "1,2,3", ".csv, .fcsv, .mrk.json"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_a_remedy(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(InputError) as caught:
        read_points(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.hint


def test_binary_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        read_points(tmp_path / "p.csv")
    with pytest.raises(InputError, match="does not exist"):
        read_points(tmp_path / "none.csv")


def test_writing_refuses_what_could_not_be_read_back(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite"):
        write_points([[1, 2, np.nan]], tmp_path / "p.csv")
    with pytest.raises(InputError, match="shape"):
        write_points([1, 2, 3], tmp_path / "p.csv")
    with pytest.raises(InputError, match="1 names for 2 points"):
        write_points(POINTS, tmp_path / "p.csv", names=["a"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_shared_landmarks_pair_up(shared_data: Path) -> None:
    for fixed in shared_data.glob("*/fixed_landmarks.csv"):
        check_landmarks(read_points(fixed), read_points(fixed.with_name("moving_landmarks.csv")))


# Pairs

PLACES = np.random.default_rng(0).uniform(-60, 60, (8, 3))
FURTHER = np.add(PLACES, (10.0, 0.0, 0.0))
NAMES = tuple(f"L{n}" for n in range(8))


def listed(points: np.ndarray, labels: tuple[str, ...], missing: tuple[int, ...] = ()) -> PointList:
    points = points.copy()
    points[list(missing)] = np.nan
    return PointList(points, labels, "a list")


def distances(pairs: Pairs) -> np.ndarray:
    return np.linalg.norm(pairs.fixed - pairs.moving, axis=1)


@pytest.mark.parametrize("labels", [NAMES, ("",) * 8, ("F",) * 8], ids=["labels", "no labels", "one label"])
def test_a_point_that_was_not_placed_shifts_no_pair(labels: tuple[str, ...]) -> None:
    pairs = paired(listed(PLACES, labels, (1,)), listed(FURTHER, labels, (5,)))
    np.testing.assert_allclose(distances(pairs), [10] * 6)
    assert len(pairs.remarks) == 2


def test_points_in_another_order_are_paired_by_label() -> None:
    order = [3, 1, 2, 0, 7, 5, 6, 4]
    shuffled = listed(FURTHER[order], tuple(NAMES[n] for n in order))
    pairs = paired(listed(PLACES, NAMES), shuffled)
    np.testing.assert_allclose(distances(pairs), [10] * 8)
    assert pairs.remarks == ()


def test_foreign_labels_pair_row_by_row_and_few_common_ones_are_refused() -> None:
    others = tuple(f"M{n}" for n in range(8))
    np.testing.assert_allclose(distances(paired(listed(PLACES, NAMES), listed(PLACES, others))), 0)
    with pytest.raises(InputError, match="Only 1 labels"):
        paired(listed(PLACES, NAMES), listed(PLACES, ("L3", *others[1:])))
    with pytest.raises(InputError, match="8 points and a list 7"):
        paired(listed(PLACES, NAMES), listed(PLACES[:7], others[:7]))


@pytest.mark.parametrize(
    ("fixed", "moving"),
    [(("a", "", "c"), ("a", "c", "")), (("a", "a", "b"), ("b", "a", "a"))],
    ids=["one without a label", "one label twice"],
)
def test_rows_are_not_paired_against_labels(fixed: tuple[str, ...], moving: tuple[str, ...]) -> None:
    points = np.arange(9.0).reshape(3, 3)
    with pytest.raises(InputError, match="another one in the other list"):
        paired(listed(points, fixed), listed(points, moving))


def test_labels_are_the_same_in_small_letters_and_large_ones() -> None:
    points = np.arange(9.0).reshape(3, 3)
    pairs = paired(listed(points, ("Tip", "Base", "Left  edge")), listed(points[::-1], ("left edge", "BASE", "tip")))
    np.testing.assert_array_equal(pairs.fixed, pairs.moving)
    assert not pairs.remarks


@pytest.mark.parametrize(
    ("moving", "told"),
    [(("M-1", "M-2", "M-3"), False), (("M-3", "M-1", "M-2"), True), (("x", "y", "z"), True), (("", "", ""), False)],
)
def test_labels_that_do_not_fit_together_are_told(moving: tuple[str, ...], told: bool) -> None:
    points = np.arange(9.0).reshape(3, 3)
    remarks = paired(listed(points, ("F-1", "F-2", "F-3")), listed(points, moving)).remarks
    assert any("paired in order" in remark for remark in remarks) == told


def test_a_label_of_one_list_alone_is_told() -> None:
    pairs = paired(listed(PLACES, NAMES), listed(PLACES[:6], NAMES[:6]))
    assert len(pairs.fixed) == 6
    assert "L6, L7" in pairs.remarks[0]


@pytest.mark.parametrize(("status", "placed"), [("2", True), ("3", False), ("1", False), ("0", False)])
def test_a_skipped_row_of_slicer_5_is_no_point_at_the_origin(status: str, placed: bool, tmp_path: Path) -> None:
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    rows = f"1,1,2,3,0,0,0,1,1,1,0,A,,,2,0\n2,0,0,0,0,0,0,1,1,1,0,B,,,{status},0\n"
    path = written(tmp_path, "p.fcsv", "# CoordinateSystem = LPS\n" + columns + rows)
    points = read_point_list(path)
    assert points.labels == ("A", "B")
    assert points.placed.tolist() == [True, placed]


def test_points_outside_their_scan_are_told_and_the_other_frame_is_suggested() -> None:
    scan = Geometry((50, 50, 50), origin=(20.0, 20.0, 20.0))
    inside = np.array([[30.0, 30.0, 30.0], [60.0, 60.0, 60.0]])
    assert outside_message(inside, scan, "points", "scan") == ()
    assert points_outside([[20 - 0.4, 20, 20], [20 - 0.6, 20, 20]], scan).tolist() == [False, True]
    (told,) = outside_message(inside * (-1, -1, 1), scan, "points", "scan")
    assert told.startswith("2 of 2 points")
    assert "RAS" in told


def test_json_nested_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "p.mrk.json", '{"markups": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match=r"p\.mrk\.json"):
        read_points(path)
