"""What a case's result must have been made from, and whether a result that lies there was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from DeepRegLib.cohort.cases import Case
from DeepRegLib.cohort.files import changed_file
from DeepRegLib.errors import DeepRegError
from DeepRegLib.models import look_up
from DeepRegLib.recipes import load_recipe, models_of, recipe_to_dict, with_model
from DeepRegLib.segmentation.request import DEFAULT_RECIPE

SCHEMA = 1
DEFAULT_RECIPES = {"register": "auto", "segment": DEFAULT_RECIPE, "series": "auto"}


@dataclass(frozen=True)
class Fingerprint:
    """What a case's result must have been made from.

    Parameters
    ----------
    command
        Of `deepreg`.
    settings
        Values of the table that are neither files, recipe nor model.
    recipe
        SHA-256 of the recipe as it will run, its model with it; "" where a model is asked instead.
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


def fingerprint_of(case: Case, versions: Mapping[str, str]) -> Fingerprint:
    """Return what a result of the case must have been made from, but for its files.

    Raises
    ------
    DeepRegError
        If its recipe or model cannot be used.
    """
    return Fingerprint(case.command, case.settings, *_recipe_and_models(case), versions)


def fingerprint_by_case(cases: Iterable[Case], versions: Mapping[str, str]) -> dict[str, Fingerprint | str]:
    """Return `fingerprint_of` by the cases' names, or in its place why a recipe or model cannot be used."""
    known: dict[tuple[str, ...], tuple[str, dict[str, str]] | str] = {}
    found: dict[str, Fingerprint | str] = {}
    for case in cases:
        key = (case.command, *(case.values.get(column, "") for column in ("recipe", "model", "uncertainty", "explain")))
        if key not in known:  # thousands of rows share a recipe
            try:
                known[key] = _recipe_and_models(case)
            except DeepRegError as error:
                known[key] = str(error)
        parts = known[key]
        whole = parts if isinstance(parts, str) else Fingerprint(case.command, case.settings, *parts, versions)
        found[case.name] = whole
    return found


def difference(record: Mapping[str, Any], wanted: Fingerprint, files: Mapping[str, str]) -> str:
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
    stands_in = new["recipe"] in (record.get("stands_in_for") or ())
    if made.get("recipe") != new["recipe"] and not stands_in:
        return "its recipe has changed"
    if made.get("models") != new["models"] and not stands_in:
        return "its model has changed"
    if made.get("versions") != new["versions"]:
        return f"versions have changed: {_version_words(made.get('versions'), wanted.versions)}"
    # A recipe that is a file counts by what is in it.
    counted = {column: path for column, path in files.items() if column != "recipe"}
    recorded = {column: entry for column, entry in record["inputs"].items() if column != "recipe"}
    try:
        column = changed_file(counted, recorded)
    except (AttributeError, TypeError):
        return "its record is of another kind"
    return f"its {column} has changed" if column else ""


def _recipe_and_models(case: Case) -> tuple[str, dict[str, str]]:
    model = case.values.get("model")
    recipe = load_recipe(case.values.get("recipe") or DEFAULT_RECIPES[case.command])
    if case.command == "segment":
        return ("", _weights([model])) if model else (_digest(recipe_to_dict(recipe)), {})
    uncertainty, explanation = (bool(case.values.get(column)) for column in ("uncertainty", "explain"))
    recipe = with_model(recipe, model, uncertainty=uncertainty, explanation=explanation)
    return _digest(recipe_to_dict(recipe)), _weights(models_of(recipe))


def _weights(names: Iterable[str]) -> dict[str, str]:
    models = {}
    for name in names:
        manifest = look_up(name).manifest
        if manifest is not None:
            models[manifest.name] = manifest.weights_sha256
    return models


def _digest(table: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _version_words(made: Any, wanted: Mapping[str, str]) -> str:
    if not isinstance(made, dict):
        return "they were not noted"
    return ", ".join(f"{k} {made.get(k)} to {v}" for k, v in wanted.items() if made.get(k) != v)
