"""Templates and segmentations made by the workers of a cohort are those of one process; fields stay with workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")

from DeepRegLib import pipeline
from DeepRegLib.cli.cohort_place import where_of
from DeepRegLib.cohort import steps
from DeepRegLib.cohort.running_case import run_step
from DeepRegLib.cohort.steps import StepError, Steps
from DeepRegLib.cohort.work import DIED, Outcome, Work
from DeepRegLib.errors import InputError
from DeepRegLib.image import read_image, write_image
from DeepRegLib.judgement import Inherited
from DeepRegLib.recipes import recipe_to_toml
from DeepRegLib.series.members import NOT_COMPARED
from DeepRegLib.transforms import read_transform
from DeepRegLib.versions import versions
from Testing.cli.conftest import Deepreg, deepreg  # noqa: F401  # a fixture
from Testing.cohort.here import Here
from Testing.segmentation.atlases import write_atlases
from Testing.series.breathing import inner_points, quick_recipe
from Testing.series.test_template import AMOUNTS, halves, mean_of_two, visits
from Testing.small import small_pair, small_registration


def test_a_template_by_workers_is_that_of_one_process(
    deepreg: Deepreg,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("DeepRegLib.finishing.compare_start", lambda *_given, **_named: Inherited(NOT_COMPARED))
    monkeypatch.setattr(steps, "LEAF", 1)  # two members make a tree
    executor = Here(dies="member_0001 register")
    monkeypatch.setattr("DeepRegLib.cli.template.executor_at", executor.at)
    for name in ("visits", "labels"):
        (tmp_path / name).mkdir()
    for image, amount in zip(visits(), AMOUNTS, strict=True):
        write_image(image, tmp_path / "visits" / f"{image.name}.nii.gz")
        write_image(halves(amount), tmp_path / "labels" / f"{image.name}.nii.gz")
    (tmp_path / "quick.toml").write_text(recipe_to_toml(quick_recipe()), encoding="utf-8")
    output = tmp_path / "out"
    words = ("template", tmp_path / "visits", "-o", output, "--recipe", tmp_path / "quick.toml", "--passes", 1)
    words += ("--labels", tmp_path / "labels", "--device", "cpu")
    outcome = deepreg(*words, "--cohort", 2)
    assert outcome.code == 0, outcome.err
    alone = mean_of_two()
    for name, image in (("template", alone.image), ("shape_variability", alone.shape_variability)):
        made = read_image(output / f"{name}.nii.gz")
        assert np.abs(made.array - image.array).max() < 1e-4 * np.abs(image.array).max()
    assert (read_image(output / "labels.nii.gz").array == alone.labels.array).mean() > 0.999
    points = inner_points()
    for n, transform in enumerate(alone.transforms):
        made = read_transform(output / f"member_{n:04d}" / "transform.h5")
        assert np.abs(made.apply_to_points(points) - transform.apply_to_points(points)).max() < 1e-3
    table = json.loads((output / "template.json").read_text(encoding="utf-8"))
    assert [row["used"] for row in table["members"]] == [True, True]
    assert table["bias_mm"] == pytest.approx(alone.bias, abs=1e-4)
    assert {work.step for work in executor.done} >= {
        "register",
        "add_fields",
        "add",
        "common",
        "free",
        "mean",
        "finish",
    }
    assert sorted(path.name for path in (output / "member_0000").iterdir()) == ["inverse.h5", "transform.h5"]
    assert not [path for path in output.iterdir() if path.name.startswith(".")]


def test_a_step_that_cannot_be_done_ends_the_task_by_a_sentence(tmp_path: Path) -> None:
    class Dying(Here):
        def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
            done(Outcome(DIED, "Its process was killed."))

    with pytest.raises(StepError, match="The step look of a failed: Its process was killed"):
        Steps(Dying(), tmp_path, versions()).each("look", {"a": {"image": "a.nii"}})
    work = Work({"name": "a", "row": 0, "arguments": {}}, str(tmp_path), {"versions": {"torch": "9"}}, step="look")
    assert "in place of 9" in run_step(work, "none").reason


def test_where_steps_run_is_said_in_one_word(tmp_path: Path) -> None:
    assert where_of("3", tmp_path, print).local == 3
    assert where_of("tcp://head:8786", tmp_path, print).scheduler == "tcp://head:8786"
    queue = where_of("slurm,jobs=20,partition=long,time=240,cores=4,job-memory=8,gpus=1", tmp_path, print).queue
    assert queue is not None
    assert (queue.jobs, queue.partition, queue.minutes, queue.cores, queue.memory, queue.gpus) == (
        20,
        "long",
        240,
        4,
        8,
        1,
    )
    for wrong, told in (("condor", "--cohort is"), ("slurm,speed=9", "unknown"), ("slurm,jobs=many", "no number")):
        with pytest.raises(InputError, match=told):
            where_of(wrong, tmp_path, print)


def test_a_segmentation_by_workers_is_that_of_one_process(
    deepreg: Deepreg,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(pipeline, "align", lambda *_request, **_settings: small_registration())
    atlases, scan = write_atlases(tmp_path / "atlases"), tmp_path / "scan.nii.gz"
    write_image(small_pair()[0], scan)
    words = ("segment", scan, "--atlas", atlases, "--recipe", "fast", "--device", "cpu")
    assert deepreg(*words, "-o", tmp_path / "alone").code == 0
    executor = Here(dies="atlas 1")
    monkeypatch.setattr("DeepRegLib.cli.segmenting.executor_at", executor.at)
    outcome = deepreg(*words, "-o", tmp_path / "out", "--cohort", 2)
    assert outcome.code == 0, outcome.err
    assert {work.step for work in executor.done} == {"carry_atlas"}
    for name in ("segmentation.seg.nrrd", "agreement.nii.gz"):
        alone, made = (read_image(tmp_path / folder / name).array for folder in ("alone", "out"))
        assert np.array_equal(alone, made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "atlases", "out", "scan.nii.gz"]
