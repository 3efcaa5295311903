"""Which cases run again: what was made from the same is kept, what has changed is done anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from DeepRegLib.cohort.coordinating import run_all
from DeepRegLib.cohort.estimating import estimate
from DeepRegLib.cohort.local_executor import LocalExecutor
from DeepRegLib.cohort.manifest import read_manifest
from DeepRegLib.cohort.plan import Choice, Plan, plan_of
from DeepRegLib.cohort.record import folder_of, write_failure
from DeepRegLib.recipes import load_recipe, recipe_to_toml
from DeepRegLib.versions import versions
from Testing.cohort.conftest import Table


def planned(table: Path, output: Path, choice: Choice | None = None, **given: str) -> Plan:
    return plan_of(read_manifest(table, given), output, versions(), choice or Choice())


def reasons(plan: Plan) -> dict[str, str]:
    return {case.work.name: case.why for case in plan.todo}


def test_a_second_call_does_what_is_missing_or_has_changed(table: Table, quick: list[str], tmp_path: Path) -> None:
    path, output = table("a", "b"), tmp_path / "out"
    recipe = tmp_path / "own.toml"
    recipe.write_text(recipe_to_toml(load_recipe("fast")), encoding="utf-8")
    first = planned(path, output, recipe=str(recipe))
    assert reasons(first) == {"a": "it is new", "b": "it is new"}
    with LocalExecutor(1, {}) as executor:
        run_all((case.work for case in first.todo), executor, output)
    again = planned(path, output, recipe=str(recipe))
    assert (reasons(again), sorted(known.name for known in again.done)) == ({}, ["a", "b"])
    assert estimate(again.todo, again.done) is not None

    fixed = path.parent / "a.nii.gz"
    os.utime(fixed, ns=(1, 1))  # another time, the same bytes
    assert reasons(planned(path, output, recipe=str(recipe))) == {}
    whole = fixed.read_bytes()
    fixed.write_bytes(whole + b"\0")
    assert reasons(planned(path, output, recipe=str(recipe))) == {"a": "its fixed has changed"}
    fixed.write_bytes(whole)
    slower = replace(load_recipe("fast"), search=replace(load_recipe("fast").search, enabled=False))
    recipe.write_text(recipe_to_toml(slower), encoding="utf-8")
    assert set(reasons(planned(path, output, recipe=str(recipe))).values()) == {"its recipe has changed"}
    recipe.write_text(recipe_to_toml(load_recipe("fast")), encoding="utf-8")
    assert set(reasons(planned(path, output, recipe=str(recipe), device="cpu")).values()) == {
        "its options have changed"
    }
    other = plan_of(read_manifest(path, {"recipe": str(recipe)}), output, versions() | {"torch": "9"}, Choice())
    assert all(why.startswith("versions have changed: torch") for why in reasons(other).values())
    (folder_of(output, "b") / "result.json").unlink()
    assert reasons(planned(path, output, recipe=str(recipe))) == {"b": "it is new"}
    (folder_of(output, "a") / "case.json").write_text("{", encoding="utf-8")
    assert set(reasons(planned(path, output, recipe=str(recipe)))) == {"a", "b"}


def test_only_failed_takes_those_and_another_recipe_stands_in_for_their_own(
    table: Table, quick: list[str], tmp_path: Path
) -> None:
    path, output = table("good", "wrong", "lost"), tmp_path / "out"
    plan = planned(path, output)
    with LocalExecutor(1, {}) as executor:
        run_all((case.work for case in plan.todo if case.work.name != "lost"), executor, output)
        write_failure(output, "lost", {"reason": "It died."})
        again = planned(path, output, Choice(only_failed=True, instead="fast"))
        assert reasons(again) == {"wrong": "its verdict is failed", "lost": "it failed before"}
        assert {case.work.case["values"]["recipe"] for case in again.todo} == {"fast"}
        run_all((case.work for case in again.todo), executor, output)
    assert reasons(planned(path, output)) == {}


def test_a_recipe_or_model_that_cannot_be_used_is_told_by_row(table: Table, tmp_path: Path) -> None:
    plan = planned(table("a", header="case,fixed,moving,recipe", more=",nothing"), tmp_path / "out")
    assert plan.todo == ()
    assert (plan.problems[0].row, "nothing" in plan.problems[0].message) == (2, True)
