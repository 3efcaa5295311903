"""`deepreg recipes` and `deepreg doctor`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from DeepRegLib.cli import about, benchmarking, hardware
from DeepRegLib.cli.app import COMMANDS
from DeepRegLib.recipes import load_recipe, recipe_names, recipe_to_dict
from Testing.cli.conftest import Deepreg
from Testing.simulated_card import simulated_card
from Testing.small import shortest_recipe, small_pair

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"PIL", "SimpleITK", "jinja2", "matplotlib", "numpy", "safetensors", "scipy", "torch"}


def test_recipes_are_listed_with_their_purpose(deepreg: Deepreg) -> None:
    shown = " ".join(deepreg("recipes").out.split())
    purposes = json.loads(deepreg("recipes", "--json").out)
    assert list(purposes) == recipe_names()
    for name, purpose in purposes.items():
        assert f"{name} {purpose}" in shown


@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_recipe_is_a_recipe(deepreg: Deepreg, tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(deepreg("recipes", name).out, encoding="utf-8")
    assert load_recipe(path) == load_recipe(name)
    assert json.loads(deepreg("recipes", path, "--json").out) == json.loads(
        json.dumps(recipe_to_dict(load_recipe(name)))
    )


def test_an_unknown_recipe_is_told(deepreg: Deepreg) -> None:
    outcome = deepreg("recipes", "nonsense")
    assert outcome.code == 2
    assert outcome.err.startswith("error: There is no recipe named 'nonsense'")


def test_the_doctor_finds_this_machine_well(deepreg: Deepreg) -> None:
    outcome = deepreg("doctor")
    assert outcome.code == 0, outcome.out
    for text in ("torch", "SimpleITK", "ok      recipes", "ok      cpu", "free memory"):
        assert text in outcome.out
    table = json.loads(deepreg("doctor", "--json").out)
    assert table["ok"]
    assert table["devices"]["cpu"]["ok"]
    assert table["devices"]["cpu"]["difference_mm"] == 0
    assert set(table["recipes"]) == set(recipe_names())
    assert table["extras"]["typer"]["ok"]


def test_the_doctor_times_each_stage_on_each_device_and_compares(
    deepreg: Deepreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarking, "benchmark_pair", lambda: small_pair()[:2])
    monkeypatch.setattr(benchmarking, "benchmark_recipe", shortest_recipe)
    with simulated_card():
        outcome = deepreg("doctor", "--benchmark")
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in outcome.out.splitlines() if "|" in line]
    assert rows[0] == ["stage", "cuda:0 (simulated card)", f"cpu ({hardware.device_name('cpu')})"]
    assert {"prepare", "linear", "deformable", "inverse", "judge", "all"} <= {row[0] for row in rows}
    network = {row[0]: row[1:] for row in rows if "network" in row[0] or "field" in row[0]}
    assert [cell.count("x as fast") for cell in network["an answer of the network"]] == [1, 0]
    assert network["its field differs, mean"][1] == "0.0e+00 mm"
    assert 0 < float(network["its field differs, mean"][0].removesuffix(" mm")) < 0.5, "half precision"
    assert rows[-1] == ["agrees", "yes", "yes"]
    assert outcome.code == 0, outcome.out


def test_the_processor_is_called_by_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n", encoding="utf-8")
    monkeypatch.setattr(hardware, "CPUINFO", path)
    assert hardware.device_name("cpu").startswith("Some CPU @ 2.00GHz, threads: ")
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "none")
    assert hardware.device_name("cpu").count(", threads: ")


def test_a_device_that_computes_something_else_does_not_agree() -> None:
    assert benchmarking.Timed({}, 0.01, 3.0).agrees
    assert not benchmarking.Timed({}, 0.05, 0.06).agrees


def test_the_doctor_finds_what_is_broken(deepreg: Deepreg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DeepRegLib.devices.available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    monkeypatch.setattr(hardware, "device_name", lambda device: "a device")
    monkeypatch.setattr("DeepRegLib.devices.free_memory", lambda device: None)

    def differ(device: str) -> float:
        if device == "cuda:0":
            raise RuntimeError("no kernel image is available\nfor execution")
        return 0.5 if device == "cuda:1" else 0.0

    monkeypatch.setattr(hardware, "kernel_difference", differ)
    monkeypatch.setattr(about, "EXTRAS", {"a-package-that-is-not-there": "report"})
    outcome = deepreg("doctor")
    assert outcome.code == 1
    assert re.search(r"failed +cuda:0 .*no kernel image is available for execution", outcome.out)
    assert re.search(r"failed +cuda:1 .*differs from the CPU by 5\.0e-01 mm", outcome.out)
    assert re.search(r"ok +cpu .*free memory unknown", outcome.out)
    assert re.search(r'missing +a-package-that-is-not-there +pip install "slicer-deepreg\[report\]"', outcome.out)


def test_the_probe_moves_and_the_cpu_agrees_with_itself() -> None:
    assert hardware.kernel_difference("cpu") == 0


@pytest.mark.parametrize("words", [["--help"], ["recipes"], ["recipes", "auto"]])
def test_what_needs_no_torch_imports_nothing_heavy(words: list[str]) -> None:
    loaded = _imported(words)
    assert "DeepRegLib.cli.app" in loaded
    assert not {name.split(".")[0] for name in loaded} & HEAVY


@pytest.mark.parametrize(("words", "module"), [(["--version"], "about"), (["recipes"], "about")])
def test_a_run_imports_no_other_command(words: list[str], module: str) -> None:
    commands = {f"DeepRegLib.cli.{name}" for name in COMMANDS.values()}
    assert _imported(words) & commands == {f"DeepRegLib.cli.{module}"}


def _imported(words: list[str]) -> set[str]:
    """Return the modules that a `deepreg` of its own process has imported when it ends."""
    script = "import sys; from DeepRegLib.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", script, *words]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return set(finished.stderr.split())
