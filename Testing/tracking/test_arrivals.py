"""Which scans of a folder are complete."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.tracking.arrivals import FolderState, look, result_name


def test_a_file_that_still_grows_waits_until_it_has_not_changed_for_a_while(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(b"half")
    looked = look(tmp_path, FolderState(), 0.0)
    assert looked.settled(1.0, 2.0) == []
    scan.write_bytes(b"half and more")
    looked = look(tmp_path, looked, 1.5)
    assert looked.settled(3.0, 2.0) == []  # it changed at 1.5
    looked = look(tmp_path, looked, 3.6)
    assert looked.settled(3.6, 2.0) == ["scan.nii.gz"]
    looked = looked.with_handled("scan.nii.gz")
    assert (looked.settled(9.0, 2.0), looked.waiting()) == ([], [])


def test_a_scan_that_changes_after_it_was_handed_out_is_handed_out_again(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nrrd"
    scan.write_bytes(b"one")
    looked = look(tmp_path, FolderState(), 0.0).with_handled("scan.nrrd")
    scan.write_bytes(b"two, longer")
    looked = look(tmp_path, looked, 1.0)
    assert looked.waiting() == ["scan.nrrd"]
    assert looked.settled(4.0, 2.0) == ["scan.nrrd"]


def test_hidden_and_empty_files_and_those_of_other_kinds_are_no_scans(tmp_path: Path) -> None:
    for name in (".scan.nii.gz.part", "~scan.nii", "notes.txt", "scan.raw"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty.nii").touch()
    (tmp_path / "empty").mkdir()
    assert look(tmp_path, FolderState(), 0.0).waiting() == []


def test_a_folder_is_one_scan_that_changes_with_each_of_its_slices_and_a_header_with_its_voxels(tmp_path: Path) -> None:
    series = tmp_path / "Smith^John"
    series.mkdir()
    (series / "1").write_bytes(b"slice")
    (tmp_path / "a.mhd").write_bytes(b"header")
    looked = look(tmp_path, FolderState(), 0.0)
    assert looked.settled(5.0, 2.0) == ["Smith^John", "a.mhd"]
    (series / "2").write_bytes(b"slice")
    (tmp_path / "a.raw").write_bytes(b"voxels")
    looked = look(tmp_path, looked, 5.0)
    assert looked.settled(6.0, 2.0) == []
    assert "Smith" not in result_name(series)
    assert result_name(tmp_path / "a.mhd") == "a.mhd"


def test_the_oldest_scan_comes_first(tmp_path: Path) -> None:
    import os

    for second, name in enumerate(("z.nii", "a.nii", "m.nii")):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (second, second))
    assert look(tmp_path, FolderState(), 0.0).settled(3.0, 2.0) == ["z.nii", "a.nii", "m.nii"]
