"""Writing: whole files or none, and a plain sentence when the disk or the folder does not allow it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import DeepRegError, OutputError
from DeepRegLib.files import make_folder, output_error, write_atomically, write_folder, write_text
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.transforms import LinearTransform, write_transform

IMAGE = Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), Geometry((4, 3, 2)))
WRITERS: dict[str, Callable[[Path], None]] = {
    "v.nii.gz": lambda path: write_image(IMAGE, path),
    "v.nii": lambda path: write_image(IMAGE, path),
    "v.nrrd": lambda path: write_image(IMAGE, path),
    "v.mha": lambda path: write_image(IMAGE, path),
    "v.mhd": lambda path: write_image(IMAGE, path),
    "t.h5": lambda path: write_transform(LinearTransform.identity(), path),
    "t.tfm": lambda path: write_transform(LinearTransform.identity(), path),
    "t.nrrd": lambda path: write_transform(LinearTransform.identity(), path, IMAGE.geometry),
    "r.json": lambda path: write_text(path, "{}"),
}


def complaint(action: Callable[[], object]) -> str:
    with pytest.raises(OutputError) as caught:
        action()
    assert isinstance(caught.value, DeepRegError)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_text_is_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "µm\nzwei\n")
    assert (tmp_path / "a.txt").read_bytes() == "µm\nzwei\n".encode()


def test_the_temporary_file_has_the_ending_and_lies_on_the_disk_of_the_file(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write(path: Path) -> None:
        seen.append(path)
        assert not (tmp_path / "scan.nii.gz").exists()
        path.write_text("x")

    write_atomically(tmp_path / "scan.nii.gz", write)
    assert seen[0].name.endswith(".nii.gz")
    assert tmp_path in seen[0].parents
    assert [p.name for p in tmp_path.iterdir()] == ["scan.nii.gz"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError, ValueError, OSError, RuntimeError])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    interruption: type[BaseException], tmp_path: Path
) -> None:
    (tmp_path / "r.json").write_text("old")

    def write(path: Path) -> None:
        path.write_text("ha")
        raise interruption

    expected = OutputError if issubclass(interruption, OSError | RuntimeError) else interruption
    with pytest.raises(expected):
        write_atomically(tmp_path / "r.json", write)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"r.json": "old"}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_may_not_be_written(name: str, number: int, tmp_path: Path, monkeypatch) -> None:
    """Simulated at the rename, since root, who runs many test machines, may write anywhere."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refuse)
    message = complaint(lambda: WRITERS[name](tmp_path / name))
    assert "no permission" in message
    assert str(tmp_path / Path(name).stem) in message
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("name", WRITERS)
def test_a_really_read_only_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        assert "no permission" in complaint(lambda: WRITERS[name](folder / name))
        assert not list(folder.iterdir())
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_fills_up_during_the_write(name: str, tmp_path: Path, monkeypatch) -> None:
    """Some of ITK's writers (.nii, .tfm) return from a full disk without an error, so the disk is asked."""
    free = iter([10**9])
    usage = lambda _: SimpleNamespace(total=10**9, free=next(free, 0))  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    message = complaint(lambda: WRITERS[name](tmp_path / name))
    assert "full" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_nifti_writer_that_stops_half_way_without_a_word(name: str, tmp_path: Path, monkeypatch) -> None:
    """What ITK does over a disk quota, where the disk itself still has room."""
    whole = sitk.WriteImage

    def write_half(picture: sitk.Image, path: str, **options: bool) -> None:
        whole(picture, path, **options)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])

    monkeypatch.setattr(sitk, "WriteImage", write_half)
    assert "part of the voxels" in complaint(lambda: write_image(IMAGE, tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_reported_by_the_system(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    message = complaint(lambda: write_atomically(tmp_path / "a.json", write))
    assert "full" in message
    assert str(tmp_path / "a.json") in message
    assert not list(tmp_path.iterdir())


def test_a_drive_that_reports_no_size_is_not_called_full(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, free=0))
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_does_not_exist(name: str, tmp_path: Path) -> None:
    message = complaint(lambda: WRITERS[name](tmp_path / "no" / "such" / name))
    assert "folder does not exist" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_in_the_place_of_the_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    assert "folder" in complaint(lambda: WRITERS[name](tmp_path / name))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_mhd_file_does_not_replace_the_voxels_of_another(tmp_path: Path) -> None:
    (tmp_path / "scan.raw").write_bytes(b"somebody's")
    assert "scan.raw" in complaint(lambda: write_image(IMAGE, tmp_path / "scan.mhd"))
    (tmp_path / "other.mhd").write_text("ElementDataFile = scan.raw\n")
    complaint(lambda: write_image(IMAGE, tmp_path / "scan.mhd"))
    assert (tmp_path / "scan.raw").read_bytes() == b"somebody's"
    write_image(IMAGE, tmp_path / "mine.mhd")
    write_image(IMAGE.with_array(IMAGE.array + 1), tmp_path / "mine.mhd")  # both of its files are its own
    np.testing.assert_array_equal(read_image(tmp_path / "mine.mhd").array, IMAGE.array + 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.mhd", "mine.raw", "other.mhd", "scan.raw"]


@pytest.mark.parametrize("name", ["o.nii.gz.nii.gz", "O.NII.GZ", "a.b.c.mha", "n" * 248 + ".nii.gz"])
def test_odd_names_are_written_as_they_are(name: str, tmp_path: Path) -> None:
    write_image(IMAGE, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(read_image(tmp_path / name).array, IMAGE.array)


def test_a_name_that_cannot_be_is_told_in_a_sentence(tmp_path: Path) -> None:
    assert "not UTF-8" in complaint(lambda: write_image(IMAGE, tmp_path / "fran\udce7ois.nii.gz"))
    assert "too long" in complaint(lambda: write_image(IMAGE, tmp_path / ("n" * 300 + ".nii.gz")))
    assert not list(tmp_path.iterdir())


def test_make_folder(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file") in complaint(lambda: make_folder(tmp_path / "file"))
    complaint(lambda: make_folder(tmp_path / "file" / "below"))


def test_make_folder_on_a_full_or_locked_disk(tmp_path: Path, monkeypatch) -> None:
    for number, word in ((errno.ENOSPC, "full"), (errno.EACCES, "no permission"), (errno.EROFS, "no permission")):

        def refuse(*_: object, code: int = number, **__: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(Path, "mkdir", refuse)
        assert word in complaint(lambda: make_folder(tmp_path / "new"))


def test_a_long_library_message_becomes_one_short_line(tmp_path: Path) -> None:
    error = output_error(tmp_path / "v.nrrd", RuntimeError("ITK ERROR:\n" + "deep\n\tinside " * 200))
    assert "\n" not in str(error)
    assert len(str(error)) < 500


def test_a_folder_appears_whole_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"

    def write(folder: Path) -> None:
        (folder / "a.txt").write_text("a")
        assert not target.exists()

    assert write_folder(target, write) == target
    assert [path.name for path in target.iterdir()] == ["a.txt"]
    assert [path.name for path in target.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OutputError("x"), ValueError("x")])
def test_a_folder_that_fails_on_its_way_is_not_there(tmp_path: Path, error: Exception) -> None:
    def fail(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise error

    with pytest.raises(ValueError if isinstance(error, ValueError) else OutputError) as caught:
        write_folder(tmp_path / "out", fail)
    assert "partial" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_written_over_anything_but_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "empty", lambda folder: (folder / "a.txt").touch())
    for name in ("empty", "empty/a.txt"):
        with pytest.raises(OutputError, match="exists already"):
            write_folder(tmp_path / name, lambda folder: (folder / "b.txt").touch())
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["a.txt"]
