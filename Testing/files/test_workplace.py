"""Old files or new ones, never both, whenever the process is killed; and nothing of the dead is left lying about."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from DeepRegLib.errors import OutputError
from DeepRegLib.files import write_text
from DeepRegLib.files.workplace import LOCK, NEW, OLD, PLAN, exchange, remove_abandoned, workplace

NAMES = ("a.txt", "frame_0/b.txt", "result.json")
GONE = ("labels.txt", "frame_1/b.txt")
MOST_STEPS = 100
# Dies, as of kill -9, before the n-th thing it asks of the file system; without an n, a child at each until one lives.
CHILD = f"""
import os, signal, sys
from pathlib import Path
from DeepRegLib.files import workplace as w
def run(folder, step):
    left = [step]
    def counted(function):
        def call(*arguments, **settings):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            return function(*arguments, **settings)
        return call
    for name in ("mkdir", "replace", "unlink", "rename", "write_text"):
        setattr(Path, name, counted(getattr(Path, name)))
    for name in ("fsync", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    with w.workplace(folder, "key") as work:
        (work / "new" / "frame_0").mkdir()
        for name in {NAMES}:
            (work / "new" / name).write_text("new")
        w.exchange(work, folder, {NAMES}, {GONE})
above = Path(sys.argv[1])
if len(sys.argv) > 2:
    run(above / sys.argv[2], int(sys.argv[2]))
    sys.exit()
for step in range({MOST_STEPS}):
    child = os.fork()
    if child == 0:
        run(above / str(step), step)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(step)
        break
"""


def old_files(folder: Path) -> None:
    folder.mkdir()
    for name in (*NAMES, *GONE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("old")
    (folder / "notes.txt").write_text("mine")


def content(folder: Path) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_text() for name, path in found.items() if not name.startswith(".")}


def exchange_with(replace_file: Callable[..., Path], folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Exchange the files of a folder, with another function for moving them."""
    with workplace(folder) as work:
        (work / NEW / "frame_0").mkdir()
        for name in NAMES:
            (work / NEW / name).write_text("new")
        patch.setattr(Path, "replace", replace_file)
        exchange(work, folder, NAMES, GONE)


OLD_STATE = dict.fromkeys((*NAMES, *GONE), "old") | {"notes.txt": "mine"}
NEW_STATE = dict.fromkeys(NAMES, "new") | {"notes.txt": "mine"}


def killed_runs(above: Path) -> Iterator[Path]:
    """Yield a folder after each child that died, one step later each time, until one lives."""
    for step in range(MOST_STEPS):
        old_files(above / str(step))
    command = [sys.executable, "-c", CHILD, str(above)]
    if hasattr(os, "fork"):
        lived = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    else:
        tried = (subprocess.run([*command, str(step)], check=False).returncode for step in range(MOST_STEPS))
        lived = next(step for step, code in enumerate(tried) if code == 0)
    assert content(above / str(lived)) == NEW_STATE
    yield from (above / str(step) for step in range(lived))


def test_whenever_it_is_killed_old_or_new_files_are_whole_after_the_next_run(tmp_path: Path) -> None:
    moments = 0
    seen = set()
    for folder in killed_runs(tmp_path):
        moments += 1
        values = set(content(folder).values()) - {"mine"}
        assert len(values) <= 1, f"old and new files together at step {folder.name}: {content(folder)}"
        remove_abandoned(folder)
        found = content(folder)
        assert found in (OLD_STATE, NEW_STATE), f"neither old nor new at step {folder.name}: {found}"
        seen.add(found["result.json"])
        for path in folder.glob(".partial-*"):  # killed between making the folder and its lock
            assert not list(path.iterdir())
            os.utime(path, (0, 0))
        remove_abandoned(folder)
        assert not list(folder.glob(".*"))
    assert moments > 20
    assert seen == {"old", "new"}


@pytest.mark.parametrize("step", range(8))
def test_an_error_on_the_way_puts_everything_back(step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_files(tmp_path / "out")
    replace_file, left = Path.replace, [step + 1]  # the plan is the first

    def failing(path: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0 and OLD not in path.parts and NEW not in target.parts:
            raise KeyboardInterrupt if step % 2 else PermissionError(13, "in use")
        return replace_file(path, target)

    with pytest.raises((KeyboardInterrupt, PermissionError)):
        exchange_with(failing, tmp_path / "out", monkeypatch)
    assert content(tmp_path / "out") == OLD_STATE
    assert not list((tmp_path / "out").glob(".*"))


def test_what_cannot_be_put_back_now_is_put_back_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    old_files(folder)
    replace_file = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if {NEW, OLD} & set(path.parts):
            raise OSError(5, "the drive went away")
        return replace_file(path, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="went away"):
        exchange_with(failing, folder, patch)
    write_text(folder / "another.txt", "a run beside it")
    assert content(folder) == {**OLD_STATE, "another.txt": "a run beside it"}
    assert not list(folder.glob(".*"))


def test_what_lives_is_left_alone(tmp_path: Path) -> None:
    with workplace(tmp_path) as work:
        (work / NEW / "a.txt").write_text("half")
        remove_abandoned(tmp_path)
        write_text(tmp_path / "b.txt", "b")
        assert (work / NEW / "a.txt").exists()
        with pytest.raises(OutputError, match="Another run"), workplace(tmp_path, "key"), workplace(tmp_path, "key"):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_what_is_not_known_to_be_ours_is_left_alone(tmp_path: Path) -> None:
    named_like_ours = tmp_path / ".partial-01234567"
    named_like_ours.mkdir()
    (named_like_ours / "thesis.txt").write_text("mine")
    os.utime(named_like_ours, (0, 0))
    (tmp_path / ".partial-notes").mkdir()
    young = tmp_path / ".partial-89abcdef"
    young.mkdir()
    remove_abandoned(tmp_path)
    assert (named_like_ours / "thesis.txt").exists()
    assert (tmp_path / ".partial-notes").exists()
    assert young.exists(), "another process may be about to lock it"
    os.utime(young, (0, time.time() - 7200))
    remove_abandoned(tmp_path)
    assert not young.exists()


@pytest.mark.parametrize("plan", ['["../mine.txt"]', '[".."]', "[]", "{}", "[1]", "half", "[" * 100_000])
def test_a_plan_from_elsewhere_moves_nothing(plan: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    work = folder / ".partial-01234567"
    for part in (NEW, OLD):
        (work / part).mkdir(parents=True)
    (work / LOCK).touch()
    (work / OLD / "kept.txt").write_text("old")
    (work / PLAN).write_text(plan)
    (tmp_path / "mine.txt").write_text("mine")
    remove_abandoned(folder)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert (work / OLD / "kept.txt").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == [work.name]


def strangers_workplace(folder: Path, plan: str) -> Path:
    """Make a workplace as it may come with somebody's folder: a run in it was killed while files were exchanged."""
    work = folder / ".partial-01234567"
    (work / NEW).mkdir(parents=True)
    (work / LOCK).touch()
    (work / PLAN).write_text(plan)
    (work / NEW / "a.txt").write_text("new")
    return work


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("linked", ["old", "below old", "where it goes", "what is planned", "plan"])
def test_a_link_in_a_strangers_workplace_is_not_followed(linked: str, tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    work = strangers_workplace(folder, '["a.txt", "frames/mine.txt"]' if linked == "what is planned" else '["a.txt"]')
    if linked == "old":
        (work / OLD).symlink_to(elsewhere)
    elif linked == "below old":
        (work / OLD).mkdir()
        (work / OLD / "frames").symlink_to(elsewhere)
    else:
        (work / OLD / "frames").mkdir(parents=True)
        (work / OLD / "frames" / "theirs.txt").write_text("theirs")
        (folder / "frames").symlink_to(elsewhere)
    if linked == "plan":
        (work / PLAN).unlink()
        (work / PLAN).symlink_to("/dev/zero")
    remove_abandoned(folder)
    assert content(elsewhere) == {"mine.txt": "mine"}


def test_an_endless_plan_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegLib.files.workplace.LARGEST_PLAN", 100)
    work = strangers_workplace(tmp_path / "out", '["a.txt"]' + " " * 200)
    remove_abandoned(tmp_path / "out")
    assert (work / PLAN).exists()
