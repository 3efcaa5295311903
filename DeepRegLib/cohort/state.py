"""What stands in the folders is all that is known: which cases are done, from what, and which failed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.cases import Case
from DeepRegLib.cohort.columns import COMMANDS
from DeepRegLib.cohort.files import changed_file
from DeepRegLib.errors import DeepRegError, OutputError
from DeepRegLib.files import make_folder, write_text
from DeepRegLib.files.output_folder import RESULT
from DeepRegLib.models import look_up
from DeepRegLib.recipes import Recipe, load_recipe, recipe_to_dict, with_model
from DeepRegLib.saving import is_output, json_text
from DeepRegLib.segmentation.request import DEFAULT_RECIPE
from DeepRegLib.segmentation.saving import is_segmentation_file

SCHEMA = 1
CASES, FAILURES = "cases", "failures"
RECORD, LOG, THUMBNAIL = "case.json", "log.txt", "thumbnail.jpg"
LARGEST_RECORD = 100_000_000


@dataclass(frozen=True)
class Wanted:
    """What a case's result must have been made from.

    Parameters
    ----------
    command
        Of `deepreg`.
    settings
        Values of the table that are neither files, recipe nor model.
    recipe
        SHA-256 of the recipe as it will run, its model with it.
    models
        SHA-256 of the weights by the model's name.
    versions
        Of DeepReg and the libraries that decide a result.
    """

    command: str
    settings: Mapping[str, str]
    recipe: str
    models: Mapping[str, str]
    versions: Mapping[str, str]


def wanted_of(case: Case, versions: Mapping[str, str]) -> Wanted:
    """Return what a result of the case must have been made from, but for its files.

    Raises
    ------
    DeepRegError
        If its recipe or model cannot be used.
    """
    recipe = with_model(_recipe(case), case.values.get("model"), uncertainty=bool(case.values.get("uncertainty")))
    models = {}
    for name in (recipe.model.name, recipe.deformable.features):
        if name:
            known = look_up(name)
            if known.manifest is not None:
                models[known.name] = known.manifest.weights_sha256
    text = json.dumps(recipe_to_dict(recipe), sort_keys=True)
    return Wanted(case.command, case.settings, hashlib.sha256(text.encode()).hexdigest(), models, versions)


def _recipe(case: Case) -> Recipe:
    default = DEFAULT_RECIPE if "atlas" in COMMANDS[case.command].options else "auto"
    return load_recipe(case.values.get("recipe") or default)


def folder_of(output: str | Path, name: str) -> Path:
    """Return the folder of a case's result."""
    return Path(output) / CASES / name


def failure_file(output: str | Path, name: str) -> Path:
    """Return the file that tells why a case has no result."""
    return Path(output) / FAILURES / f"{name}.json"


def is_case_file(name: str) -> bool:
    """Tell whether a file of this name may lie in a case's folder because it was put there by a run."""
    return name in (RECORD, LOG, THUMBNAIL) or is_output(name) or is_segmentation_file(name)


def record_of(folder: Path) -> dict[str, Any] | None:
    """Return what a case's folder says of itself; None if there is no whole result in it."""
    if not (folder / RESULT).is_file():
        return None
    return read_json(folder / RECORD)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the table in a JSON file; None if there is none that can be read."""
    try:
        if path.stat().st_size > LARGEST_RECORD:
            return None
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return table if isinstance(table, dict) else None


def difference(record: Mapping[str, Any], wanted: Wanted, files: Mapping[str, str]) -> str:
    """Return what has changed since a result was made, in some words; "" if it is what is wanted.

    A result that was made with another recipe on purpose (`--only-failed --recipe`) also counts if the recipe it
    stands in for is the wanted one.
    """
    made, new = record.get("wanted"), asdict(wanted)
    if not isinstance(made, dict) or record.get("schema") != SCHEMA or not isinstance(record.get("inputs"), dict):
        return "its record is of another kind"
    if made.get("command") != new["command"] or made.get("settings") != new["settings"]:
        return "its options have changed"
    # A model belongs to its recipe: those of the other one are compared by the worker that used them.
    stands_in = new["recipe"] in record.get("stands_in_for", [])
    if made.get("recipe") != new["recipe"] and not stands_in:
        return "its recipe has changed"
    if made.get("models") != new["models"] and not stands_in:
        return "its model has changed"
    if made.get("versions") != new["versions"]:
        return f"versions have changed: {_version_words(made.get('versions'), wanted.versions)}"
    try:
        column = changed_file(files, record["inputs"])
    except (AttributeError, TypeError):
        return "its record is of another kind"
    return f"its {column} has changed" if column else ""


def _version_words(made: Any, wanted: Mapping[str, str]) -> str:
    if not isinstance(made, dict):
        return "they were not noted"
    return ", ".join(f"{k} {made.get(k)} to {v}" for k, v in wanted.items() if made.get(k) != v)


def write_failure(output: str | Path, name: str, table: Mapping[str, Any]) -> None:
    """Write why a case has no result; that even this cannot be written costs the reason, not the run."""
    path = failure_file(output, name)
    try:
        make_folder(path.parent)
        write_text(path, json_text(table))
    except OutputError:
        return


def clear_failure(output: str | Path, name: str) -> None:
    """Forget why a case had no result, now that it has one."""
    try:
        failure_file(output, name).unlink(missing_ok=True)
    except OSError:
        return


def recipe_problem(case: Case) -> str:
    """Return why a case's recipe or model cannot be used; "" if they can."""
    try:
        wanted_of(case, {})
    except DeepRegError as error:
        return str(error)
    return ""
