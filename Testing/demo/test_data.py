"""The demo data: verified, fetched once, used offline. No test here touches the network."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.demo import data, registry


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def probability_map(path: Path, value: np.ndarray) -> bytes:
    image = sitk.GetImageFromArray(np.round(value * 255).astype(np.uint8))
    image.SetOrigin((98.0, 134.0, -72.0))
    image.SetDirection((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, str(path))
    return path.read_bytes()


class FakeRegistry:
    """Two small archives in place of the registry, and a count of how often they were asked for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        grey = np.zeros((2, 3, 4))
        grey[0, 0] = (0.2, 0.6, 0.5, 0.0)
        white = np.zeros((2, 3, 4))
        white[0, 0] = (0.7, 0.4, 0.5, 0.51)
        contents = {
            data.HEAD: b"head",
            data.HEAD_SCAN_SETTINGS: b"{}",
            data.TEMPLATE: b"template",
            data.GREY_MATTER: probability_map(folder / "grey.nii.gz", grey),
            data.WHITE_MATTER: probability_map(folder / "white.nii.gz", white),
        }
        self.files: dict[str, bytes] = {}
        self.archives = []
        for archive in data.ARCHIVES:
            packed = self.pack(archive, contents)
            self.files[archive.name] = packed
            members = tuple(data.Member(m.path, m.name, digest(contents[m])) for m in archive.members)
            self.archives.append(data.Archive(archive.project, archive.name, digest(packed), members))
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.stated: str | None = None

    @staticmethod
    def pack(archive: data.Archive, contents: dict[data.Member, bytes]) -> bytes:
        buffer = io.BytesIO()
        if archive.name.endswith(".whl"):
            with zipfile.ZipFile(buffer, "w") as wheel:
                for member in archive.members:
                    wheel.writestr(member.path, contents[member])
        else:
            with tarfile.open(fileobj=buffer, mode="w:gz") as sources:
                for member in archive.members:
                    entry = tarfile.TarInfo(member.path)
                    entry.size = len(contents[member])
                    sources.addfile(entry, io.BytesIO(contents[member]))
        return buffer.getvalue()

    def download(self, project: str, filename: str, target: Path) -> str:
        self.asked.append(filename)
        content = self.files[filename]
        if self.failure:
            target.write_bytes(content[: len(content) // 2])
            raise self.failure
        target.write_bytes(content)
        return digest(content) if self.stated is None else self.stated


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    result = FakeRegistry(tmp_path / "registry")
    monkeypatch.setattr(data, "ARCHIVES", tuple(result.archives))
    monkeypatch.setattr(registry, "download", result.download)
    return result


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def names(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_everything_is_fetched_and_named(fake: FakeRegistry, cache: Path) -> None:
    pair = data.demo_pair(cache)
    assert pair.fixed.read_bytes() == b"head"
    assert pair.moving.read_bytes() == b"template"
    assert pair.moving_labels.is_file()
    assert fake.asked == [archive.name for archive in data.ARCHIVES]
    assert not [name for name in names(cache) if "part" in name]


def test_a_second_run_needs_no_registry(fake: FakeRegistry, cache: Path) -> None:
    first = data.demo_pair(cache)
    fake.asked.clear()
    assert data.demo_pair(cache) == first
    assert fake.asked == []


def test_a_damaged_file_is_taken_from_the_kept_archive_again(fake: FakeRegistry, cache: Path) -> None:
    pair = data.demo_pair(cache)
    pair.fixed.write_bytes(b"hea")
    fake.failure = registry.RegistryError(registry.UNREACHABLE, "no network")
    assert data.demo_pair(cache).fixed.read_bytes() == b"head"


def test_an_archive_put_there_by_hand_is_used(fake: FakeRegistry, cache: Path) -> None:
    cache.mkdir()
    for name, content in fake.files.items():
        (cache / name).write_bytes(content)
    data.demo_pair(cache)
    assert fake.asked == []


def test_a_registry_out_of_reach_is_said_in_one_sentence(fake: FakeRegistry, cache: Path) -> None:
    fake.failure = registry.RegistryError(registry.UNREACHABLE, "connection refused")
    with pytest.raises(data.DemoDataError) as caught:
        data.demo_pair(cache)
    text = str(caught.value)
    assert "cannot be reached" in text
    assert "connection refused" in text
    assert data.ARCHIVES[0].name in text
    assert "\n" not in text
    assert names(cache) == set()


@pytest.mark.parametrize("kind", [registry.UNREACHABLE, registry.NOT_OFFERED, registry.OTHER_PIP, registry.NO_PIP])
def test_every_failure_of_the_registry_has_a_sentence(fake: FakeRegistry, cache: Path, kind: str) -> None:
    fake.failure = registry.RegistryError(kind)
    with pytest.raises(data.DemoDataError, match="by hand"):
        data.demo_pair(cache)


def test_another_file_than_expected_is_refused(fake: FakeRegistry, cache: Path) -> None:
    name = data.ARCHIVES[0].name
    fake.files[name] = fake.files[name] + b"more"
    with pytest.raises(data.DemoDataError, match="not the file this demo was made with"):
        data.demo_pair(cache)
    assert names(cache) == set()


def test_another_hash_stated_by_the_registry_is_refused(fake: FakeRegistry, cache: Path) -> None:
    fake.stated = "0" * 64
    with pytest.raises(data.DemoDataError, match="not the file this demo was made with"):
        data.demo_pair(cache)
    assert names(cache) == set()


def test_a_registry_that_states_no_hash_is_accepted(fake: FakeRegistry, cache: Path) -> None:
    fake.stated = ""
    assert data.demo_pair(cache).fixed.is_file()


def test_another_member_than_expected_is_refused(
    fake: FakeRegistry, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = fake.archives[0]
    members = tuple(data.Member(member.path, member.name, "0" * 64) for member in archive.members)
    changed = data.Archive(archive.project, archive.name, archive.sha256, members)
    monkeypatch.setattr(data, "ARCHIVES", (changed, *fake.archives[1:]))
    with pytest.raises(data.DemoDataError, match="delete"):
        data.demo_pair(cache)
    assert names(cache) == {archive.name}


def test_an_interrupted_download_leaves_nothing_and_the_next_run_completes(fake: FakeRegistry, cache: Path) -> None:
    fake.failure = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        data.demo_pair(cache)
    assert names(cache) == set()
    fake.failure = None
    assert data.demo_pair(cache).fixed.read_bytes() == b"head"


def test_half_an_archive_from_a_killed_run_is_fetched_again(fake: FakeRegistry, cache: Path) -> None:
    cache.mkdir()
    name = data.ARCHIVES[0].name
    (cache / name).write_bytes(fake.files[name][:20])
    assert data.demo_pair(cache).fixed.read_bytes() == b"head"
    assert name in fake.asked


def test_a_full_disk_is_said(fake: FakeRegistry, cache: Path) -> None:
    fake.failure = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(data.DemoDataError, match=r"disk is full.*DEEPREG_CACHE"):
        data.demo_pair(cache)


def test_a_cache_that_cannot_be_a_folder_is_said(fake: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(data.DemoDataError, match="DEEPREG_CACHE"):
        data.demo_pair(tmp_path / "file" / "cache")


def test_labels_take_the_likelier_tissue_above_one_half(fake: FakeRegistry, cache: Path) -> None:
    pair = data.demo_pair(cache)
    labels = sitk.ReadImage(str(pair.moving_labels))
    grey = sitk.ReadImage(str(cache / data.GREY_MATTER.name))
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert labels.GetOrigin() == pytest.approx(grey.GetOrigin())
    assert labels.GetDirection() == pytest.approx(grey.GetDirection())
    values = sitk.GetArrayFromImage(labels)
    np.testing.assert_array_equal(values[0, 0], (2, 1, 1, 2))  # 0.5 is stored as 128 of 255, just above one half
    assert not values[1:].any()


def test_the_environment_chooses_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEEPREG_CACHE", str(tmp_path / "here"))
    assert data.cache_folder() == tmp_path / "here"
    monkeypatch.delenv("DEEPREG_CACHE")
    assert "deepreg" in data.cache_folder().parts


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (json.dumps({"error": registry.UNREACHABLE, "said": "no route"}), registry.UNREACHABLE),
        ("", registry.OTHER_PIP),
        ("not json", registry.OTHER_PIP),
    ],
)
def test_the_answer_of_the_process_that_asks_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, kind: str
) -> None:
    finished = subprocess.CompletedProcess([], 0, stdout=output, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: finished)
    with pytest.raises(registry.RegistryError) as caught:
        registry.download("project", "file.whl", tmp_path / "file.whl")
    assert caught.value.kind == kind


def test_a_write_error_of_that_process_stays_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = json.dumps({"errno": errno.ENOSPC, "said": "No space left on device"})
    finished = subprocess.CompletedProcess([], 0, stdout="noise\n" + output, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: finished)
    with pytest.raises(OSError, match="No space") as caught:
        registry.download("project", "file.whl", tmp_path / "file.whl")
    assert caught.value.errno == errno.ENOSPC
