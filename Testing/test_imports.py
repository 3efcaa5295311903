"""The rooms: which module may import which, and that nothing heavy or Slicer's comes in where it must not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "DeepRegLib"

# Imports run from a higher number to a lower one, or stay inside a room.
HEIGHT = {
    "errors": 0,
    "keeping": 0,
    "naming": 0,
    "mesh_files": 3,
    "process_setup": 0,
    "version": 0,
    "devices": 1,
    "files": 1,
    "geometry": 1,
    "guarding": 1,
    "monitoring": 1,
    "formats": 2,
    "tables": 2,
    "dicom": 3,
    "image": 4,
    "orientation": 5,
    "recipes": 4,
    "transforms": 5,
    "labels": 5,
    "landmarks": 6,
    "structures": 6,
    "masks": 5,
    "landmark_alignment": 6,
    "preprocessing": 7,
    "request": 7,
    "correction": 10,
    "similarity": 7,
    "networks": 8,
    "optimization": 8,
    "provenance": 8,
    "evaluation": 9,
    "models": 9,
    "motion": 10,
    "preparation": 10,
    "label_preparation": 11,
    "result": 9,
    "trust_map": 10,
    "verdict": 10,
    "judgement": 11,
    "carried": 10,
    "grading": 10,
    "change": 10,
    "propagation": 11,
    "phantom": 11,
    "stages": 12,
    "report": 11,
    "viewer": 12,
    "training": 11,
    "saving": 12,
    "quality": 13,
    "record": 11,
    "saved_result": 12,
    "exporting": 13,
    "registration": 13,
    "planning": 12,
    "extras": 13,
    "finishing": 14,
    "improving": 15,
    "restoring": 16,
    "pipeline": 15,
    "segmentation": 16,
    "translation": 16,
    "series": 16,
    "tracking": 16,
    "segments": 1,
    "engine": 17,
    "cohort": 17,
    "versions": 1,
    "cli": 18,
    "scene": 18,
    "panel": 19,
}

# These are imported by Slicer's own process, or before torch is there.
WITHOUT_TORCH = (
    "change",
    "correction",
    "dicom",
    "errors",
    "files",
    "formats",
    "geometry",
    "guarding",
    "image",
    "labels",
    "landmarks",
    "masks",
    "segments",
    "naming",
    "process_setup",
    "preprocessing",
    "provenance",
    "recipes",
    "record",
    "request",
    "result",
    "saved_result",
    "saving",
    "landmark_alignment",
    "tables",
    "verdict",
)
WITHOUT_TORCH_MODULES = (
    "DeepRegLib",
    "DeepRegLib.engine",
    "DeepRegLib.engine.client",
    "DeepRegLib.engine.errors",
    "DeepRegLib.engine.files",
    "DeepRegLib.engine.improvement",
    "DeepRegLib.engine.model_segmentation",
    "DeepRegLib.engine.packing",
    "DeepRegLib.engine.protocol",
    "DeepRegLib.engine.registration",
    "DeepRegLib.engine.restoring",
    "DeepRegLib.engine.segmentation",
    "DeepRegLib.engine.task",
    "DeepRegLib.engine.tasks",
    "DeepRegLib.engine.tracking",
    "DeepRegLib.engine.transport",
    "DeepRegLib.models",
    "DeepRegLib.models.bundle",
    "DeepRegLib.models.manifest",
    "DeepRegLib.models.registry",
    "DeepRegLib.segmentation",
    "DeepRegLib.segmentation.saving",
    "DeepRegLib.tracking",
    "DeepRegLib.tracking.request",
    "DeepRegLib.transforms",
)
SLICER = ("slicer", "qt", "ctk", "vtk", "mrml")
# The rooms that live in Slicer's process, and what of Slicer they may know.
SLICER_ROOMS = {"scene": ("slicer", "vtk"), "panel": ("slicer", "vtk", "qt", "ctk")}
# The core needs numpy, SimpleITK and torch; everything else is an extra.
EXTRAS = (
    *("PIL", "highdicom", "jinja2", "matplotlib", "monai", "nibabel", "nilearn", "pandas", "psutil", "pydicom", "rich"),
    *("safetensors", "scipy", "skimage", "typer", "bokeh", "cryptography", "dask", "dask_jobqueue", "distributed"),
)
# What is made of Dask, and imported by nothing but functions that need it.
DASK_MODULES = ("DeepRegLib.cohort.clusters", "DeepRegLib.cohort.dask_executor", "DeepRegLib.cohort.queues")
ROOMS_WITH_EXTRAS = ("cli", "cohort", "dicom", "report", "training", "viewer")

IMPORTER = """
import importlib, json, sys, traceback, warnings
warnings.simplefilter("ignore")
blocked = set(json.loads(sys.argv[1]))
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Guard())
failed = {}
for module in json.loads(sys.argv[2]):
    try:
        importlib.import_module(module)
    except Exception:
        failed[module] = traceback.format_exc(limit=-4)
print(json.dumps(failed))
"""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def is_light(module: str) -> bool:
    return room(module) in WITHOUT_TORCH or module in WITHOUT_TORCH_MODULES


def import_with(blocked: tuple[str, ...], names: list[str]) -> dict[str, str]:
    """Import modules in one fresh process in which some packages cannot be imported; return what failed."""
    finished = subprocess.run(
        [sys.executable, "-c", IMPORTER, json.dumps(blocked), json.dumps(names)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def report(failed: dict[str, str]) -> str:
    return "\n\n".join(f"{name}:\n{text}" for name, text in failed.items())


def test_the_light_rooms_need_no_torch_and_no_slicer() -> None:
    light = [name for name in modules() if is_light(name)]
    assert {"DeepRegLib.geometry", "DeepRegLib.recipes", "DeepRegLib.transforms"} <= set(light)
    failed = import_with((*SLICER, "torch", *EXTRAS), light)
    assert not failed, report(failed)


def test_nothing_below_the_scene_needs_slicer() -> None:
    names = [name for name in modules() if room(name) not in (*ROOMS_WITH_EXTRAS, *SLICER_ROOMS)]
    failed = import_with((*SLICER, *EXTRAS), names)
    assert not failed, report(failed)


def test_the_scene_needs_neither_torch_nor_qt() -> None:
    pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
    names = [name for name in modules() if room(name) == "scene"]
    # Not without all the extras: VTK itself tries to import matplotlib.
    failed = import_with(("qt", "ctk", "torch", "jinja2", "rich", "scipy", "typer"), names)
    assert not failed, report(failed)


@pytest.mark.skipif(
    not any(room(name) in ROOMS_WITH_EXTRAS for name in modules()), reason="no module with extra packages yet"
)
def test_the_rooms_with_extra_packages_need_no_slicer() -> None:
    names = [name for name in modules() if room(name) in ROOMS_WITH_EXTRAS and name not in DASK_MODULES]
    failed = import_with((*SLICER, "dask", "distributed"), names)
    assert not failed, report(failed)


def test_the_cluster_needs_no_slicer_and_its_coordinator_no_torch() -> None:
    pytest.importorskip("distributed", reason="the extra cohort is not installed", exc_type=ImportError)
    failed = import_with((*SLICER, "torch"), [name for name in modules() if room(name) == "cohort"])
    assert not failed, report(failed)


def test_every_room_has_its_place() -> None:
    unplaced = {room(name) for name in modules() if room(name)} - HEIGHT.keys()
    assert not unplaced, f"give {sorted(unplaced)} a height in HEIGHT, as DESIGN section 2 has it"


def imported(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything of the library a file imports, inside functions as well."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).strip(".")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("module", modules())
def test_imports_run_downward(module: str) -> None:
    here = room(module)
    wrong = []
    for line, name in imported(modules()[module], module):
        there = room(name) if name.split(".")[0] == "DeepRegLib" else ""
        # The package itself is the face, above every room; constants such as its version are no room.
        if here == "" or there in ("", here) or there not in HEIGHT:
            continue
        if HEIGHT[there] >= HEIGHT.get(here, 99):
            wrong.append(f"line {line}: {here} imports {there}")
    assert not wrong, wrong


def test_no_module_leads_back_to_itself_even_by_imports_inside_functions() -> None:
    known = modules()

    def file_of(name: str) -> str:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name

    # A package that is named to reach a file inside it is no import of its own; the face stands above everything.
    leads_to = {
        module: {file_of(name) for _, name in imported(path, module) if name.startswith("DeepRegLib.")}
        - {module, "DeepRegLib"}
        for module, path in known.items()
    }
    ends = {module for module, others in leads_to.items() if not others}
    while ends:  # take away what leads nowhere, again and again: a circle is what is left
        leads_to = {module: others - ends for module, others in leads_to.items() if module not in ends}
        ends = {module for module, others in leads_to.items() if not others}
    assert leads_to == {}


@pytest.mark.parametrize("module", modules())
def test_no_module_imports_what_its_room_must_not_know_or_unpickles(module: str) -> None:
    forbidden = {"pickle", "cPickle", "dill", "joblib"} | set(SLICER) - set(SLICER_ROOMS.get(room(module), ()))
    if room(module) in SLICER_ROOMS:
        forbidden |= {"torch"}
    names = {name.split(".")[0] for _, name in imported(modules()[module], module)}
    assert not names & forbidden
