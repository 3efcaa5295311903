"""`deepreg register`: what it writes and prints, its exit codes, and how it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from DeepRegLib.cli.progress import interruptible, reporter
from DeepRegLib.cli.session import Session
from DeepRegLib.errors import CancelledError, MemoryShortageError, RegistrationError
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.landmarks import write_points
from DeepRegLib.request import Request
from DeepRegLib.result import CHECK, FAILED, Registration, Verdict
from DeepRegLib.transforms import write_transform
from Testing.cli.conftest import Deepreg, Files
from Testing.engine.fakes import alive
from Testing.small import TRUTH, small_pair, small_registration
from Testing.synthetic import CENTRE, write_dicom_series

ROOT = Path(__file__).resolve().parents[2]
ALWAYS = {"transform.h5", "inverse.h5", "warped.nii.gz", "trust.nii.gz", "result.json", "report.html"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("no_report")
def test_a_pair_with_labels_landmarks_and_masks(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    points = CENTRE + np.array([[5.0, 0, 0], [0, 6, 0], [0, 0, 7], [-4, -5, 3]])
    write_points(points, tmp_path / "fixed.fcsv")
    write_points(TRUTH.apply_to_points(points), tmp_path / "moving.mrk.json")
    for which, path in (("fixed", files.fixed), ("moving", files.moving)):
        image = read_image(path)
        mask = np.zeros(image.array.shape, dtype=np.uint8)
        mask[1:-1, 1:-1, 1:-1] = 1
        write_image(Image(mask, image.geometry), tmp_path / f"{which}_mask.nii.gz")
    out = tmp_path / "deep" / "out"
    outcome = deepreg(
        *("register", files.fixed, files.moving, "-o", out, "--recipe", files.recipe, "--device", "cpu", "--seed", 3),
        *("--fixed-mask", tmp_path / "fixed_mask.nii.gz", "--moving-mask", tmp_path / "moving_mask.nii.gz"),
        *("--sliding-mask", files.fixed_labels, "--background", -7),
        *("--fixed-landmarks", tmp_path / "fixed.fcsv", "--moving-landmarks", tmp_path / "moving.mrk.json"),
        *("--fixed-labels", files.fixed_labels, "--moving-labels", files.moving_labels),
    )
    assert outcome.code in (0, 1), outcome.err
    assert set(names(out)) == ALWAYS | {"warped_labels.nii.gz"}
    table = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert outcome.code == (1 if table["verdict"]["level"] == "failed" else 0)
    assert table["recipe"]["name"] == "small"
    assert (table["provenance"]["seed"], table["provenance"]["background"]) == (3, -7)
    assert read_image(out / "warped.nii.gz").array.min() == -7 < read_image(files.moving).array.min()
    assert table["measures"]["tre_after"] < table["measures"]["tre_before"]
    assert set(table["measures"]["dice_after"]) == {"2", "7", "250"}
    for text in ("before", "after", "mean Dice", "landmark error", str(out), table["verdict"]["level"].upper()):
        assert text in outcome.out
    for stage in ("reading", "preparing", "linear", "deformable", "inverting", "measuring", "writing"):
        assert stage in outcome.err
    assert "\x1b" not in outcome.out + outcome.err  # no colours in a file


@pytest.mark.usefixtures("no_report")
def test_labels_pull_as_hard_as_the_recipe_says(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    off = tmp_path / "off.toml"
    off.write_text(files.recipe.read_text(encoding="utf-8").replace("label_pull = 1.0", "label_pull = 0.0"), "utf-8")
    labels = ("--fixed-labels", files.fixed_labels, "--moving-labels", files.moving_labels)
    tables = []
    for recipe in (files.recipe, off):
        out = tmp_path / recipe.stem
        outcome = deepreg("register", files.fixed, files.moving, "-o", out, "--recipe", recipe, *labels, "--json")
        assert outcome.code in (0, 1), outcome.err
        tables.append(json.loads(outcome.out))
    pulled, measured = tables
    assert [any("that pull on the field: 2, 7, 250." in d for d in t["decisions"]) for t in tables] == [True, False]
    assert sum(pulled["measures"]["dice_after"].values()) > sum(measured["measures"]["dice_after"].values())
    assert pulled["measures"]["folds"] == 0


@pytest.mark.usefixtures("no_report")
def test_an_initial_transform_replaces_the_search(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    write_transform(TRUTH, tmp_path / "start.tfm")
    recipe = tmp_path / "none.toml"
    recipe.write_text('[linear]\nmodel = "none"\n[deformable]\nenabled = false\n', encoding="utf-8")
    outcome = deepreg(
        *("register", files.fixed, files.moving, "-o", tmp_path / "out", "--recipe", recipe, "--json"),
        *("--initial-transform", tmp_path / "start.tfm"),
    )
    assert outcome.code == 0, outcome.err
    np.testing.assert_allclose(json.loads(outcome.out)["transform"]["linear_part"], TRUTH.matrix, atol=1e-6)


@pytest.mark.usefixtures("no_run")
def test_json_is_all_there_is_on_standard_output(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out == (tmp_path / "out" / "result.json").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_run")
def test_an_earlier_result_is_replaced_when_told(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    words = ("register", files.fixed, files.moving, "-o", tmp_path / "out")
    assert deepreg(*words).code == 0
    assert deepreg(*words).code == 2
    assert deepreg(*words, "--overwrite").code == 0


@pytest.mark.parametrize(("level", "code"), [(CHECK, 0), (FAILED, 1)])
def test_a_verdict_is_said_and_decides_the_exit_code(
    deepreg: Deepreg,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_report: None,
    level: str,
    code: int,
) -> None:
    judged = replace(
        small_registration(), verdict=Verdict(level, ("The edges [do not] agree.",)), warnings=("Half of it is noise.",)
    )
    monkeypatch.setattr("DeepRegLib.pipeline.run_request", lambda *_request, **_settings: judged)
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out")
    assert outcome.code == code
    assert f"{level.upper()}:" in outcome.out
    assert "The edges [do not] agree." in outcome.out
    assert "warning: Half of it is noise." in outcome.err
    assert set(names(tmp_path / "out")) == ALWAYS


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RegistrationError("No pose was found.", "Give landmarks."), 1, "error: No pose was found. Give landmarks.\n"),
        (MemoryShortageError("Out of memory on cpu.", "Use fast."), 1, "error: Out of memory on cpu. Use fast.\n"),
        (MemoryError(), 1, "error: Out of memory. Close other programs, or resample the images to larger voxels.\n"),
        (
            ImportError("libx.so: failed to map segment from shared object"),
            1,
            "error: Out of memory. Close other programs, or resample the images to larger voxels.\n",
        ),
        (CancelledError(), 130, "error: Interrupted; nothing was written.\n"),
        (KeyboardInterrupt(), 130, "error: Interrupted; nothing was written.\n"),
        (ValueError("bad\nthing"), 1, "error: Unexpected ValueError: bad thing. Run again with --verbose"),
    ],
)
def test_an_error_is_one_line(
    deepreg: Deepreg,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    told: str,
) -> None:
    def fail(*images: object, **settings: object) -> None:
        raise error

    monkeypatch.setattr("DeepRegLib.pipeline.run_request", fail)
    words = ("register", files.fixed, files.moving, "-o", tmp_path / "out")
    outcome = deepreg(*words, "--json")
    assert outcome.code == code
    assert outcome.err.startswith(told)
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert names(tmp_path) == []
    if code == 1:
        verbose = deepreg(*words, "--json", "--verbose")
        assert verbose.code == 1
        assert "Traceback" in verbose.err


def test_where_no_memory_is_left_nothing_is_imported_to_say_so(
    deepreg: Deepreg, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*images: object, **settings: object) -> None:
        monkeypatch.setitem(sys.modules, "DeepRegLib.engine.protocol", None)  # an import of it raises from now on
        raise MemoryError

    monkeypatch.setattr("DeepRegLib.pipeline.run_request", fail)
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out")
    assert (outcome.code, outcome.err.count("Out of memory")) == (1, 1)


def test_a_wrong_call_is_one_line(deepreg: Deepreg) -> None:
    for words in (("register",), ("register", "a", "b"), ("nonsense",), ("recipes", "--nonsense"), ("apply", "a")):
        outcome = deepreg(*words)
        assert outcome.code == 2
        assert outcome.err.startswith("error: ")
        assert outcome.err.endswith("--help.\n")
        assert outcome.err.count("\n") == 1
        assert outcome.out == ""


def test_help_names_every_command_and_option(deepreg: Deepreg) -> None:
    top = deepreg()
    assert top.code == 0
    for command in ("register", "apply", "invert", "compose", "jacobian", "evaluate", "recipes", "doctor", "models"):
        assert command in top.out
        assert deepreg(command, "--help").code == 0
    text = deepreg("register", "--help").out
    for option in ("recipe", "fixed-mask", "moving-mask", "fixed-landmarks", "moving-landmarks", "initial-transform"):
        assert f"--{option}" in text
    for option in (
        "moving-labels",
        "fixed-labels",
        "device",
        "seed",
        "engine",
        "overwrite",
        "json",
        "verbose",
        "output",
    ):
        assert f"--{option}" in text
    assert deepreg("--version").out.startswith("deepreg ")


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, owner in pairs if int(owner) == parent]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process only")
@pytest.mark.parametrize("engine", [(), ("--engine", "local")], ids=["here", "engine"])
def test_ctrl_c_in_mid_run_leaves_nothing(files: Files, tmp_path: Path, engine: tuple[str, ...]) -> None:
    endless = tmp_path / "endless.toml"
    endless.write_text(
        "[search]\nenabled = false\n[linear]\niterations = 10000\nvoxels = 8000\n[deformable]\nenabled = false\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "DeepRegLib", "register", files.fixed, files.moving),
            *("-o", tmp_path / "out", "--recipe", endless, *engine),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = ""
    for line in process.stderr:
        seen += line
        if "linear" in line:
            break
    time.sleep(0.5)
    begun = time.monotonic()
    workers = children(process.pid)
    assert len(workers) == len(engine) // 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, seen + err
    assert time.monotonic() - begun < 10
    assert "Stopping" in err
    assert err.endswith("error: Interrupted; nothing was written.\n")
    assert "Traceback" not in err
    assert out == ""
    assert names(tmp_path) == ["endless.toml"]
    assert not any(alive(pid) for pid in workers)


def test_the_second_ctrl_c_stops_hard_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    screen = Session(json_output=True, verbose=False)
    with interruptible(screen) as cancel:
        assert not cancel()
        signal.raise_signal(signal.SIGINT)
        assert cancel()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_bar_shows_stage_similarity_and_time_left(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Console(stderr=True, force_terminal=True, width=120)
    screen = Session(json_output=False, verbose=False, err=terminal)
    with reporter(screen) as report:
        report("deformable", 0.5, 0.8125, 75.0)
        time.sleep(0.3)  # the bar is drawn ten times a second
        report("inverse", 0.9, None, 3.0)
    shown = capfd.readouterr().err
    for text in ("deformable", "50%", "similarity 0.812", "1 min 15 s left", "inverting", "3 s left"):
        assert text in shown


def test_the_program_as_a_process(files: Files, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "DeepRegLib",
        "register",
        files.fixed,
        tmp_path / "none.nii.gz",
        "-o",
        tmp_path / "o",
    ]
    finished = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1] == f"error: {tmp_path / 'none.nii.gz'} does not exist. Check the path."
    assert finished.stdout == ""


def test_without_its_packages_the_program_says_what_to_install() -> None:
    script = "import sys; sys.modules['typer'] = None; from DeepRegLib.cli import main; sys.exit(main(['recipes']))"
    finished = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert 'pip install "slicer-deepreg[cli]"' in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_the_small_pair_is_what_its_name_says() -> None:
    assert max(image.array.size for image in small_pair()) < 10_000


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), ("fixed DICOM series", "moving.nii.gz")),
        (("--name", "study 17"), ("study 17 (fixed)", "study 17 (moving)")),
    ],
)
def test_a_result_does_not_bear_the_name_of_a_dicom_folder_and_bears_that_which_is_given(
    options: tuple[str, ...],
    told: tuple[str, str],
    deepreg: Deepreg,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registration = small_registration()  # before what computes it is replaced

    def answer(request: Request, **_settings: object) -> Registration:
        warned = f"{request.fixed.name} is odd."
        return replace(registration, fixed=request.fixed, moving=request.moving, warnings=(warned,))

    monkeypatch.setattr("DeepRegLib.pipeline.run_request", answer)
    write_dicom_series(tmp_path / "SMITH JOHN", small_pair()[0])
    outcome = deepreg("register", tmp_path / "SMITH JOHN", files.moving, "-o", tmp_path / "out", *options)
    assert outcome.code in (0, 1), outcome.err
    text = (tmp_path / "out" / "result.json").read_text(encoding="utf-8")
    assert "SMITH" not in text
    assert (json.loads(text)["fixed"]["name"], json.loads(text)["moving"]["name"]) == told
    assert json.loads(text)["warnings"] == [f"{told[0]} is odd."]
