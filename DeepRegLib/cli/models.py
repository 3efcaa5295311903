"""`deepreg models`: what models there are, what they are for, and whether they are whole. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.session import Json, Session, Verbose, printable, session

if TYPE_CHECKING:
    from DeepRegLib.models import KnownModel, Manifest

Named = Annotated[str, typer.Argument(metavar="NAME", help="Name of a model, or the folder of a bundle.")]

app = typer.Typer(help="List, check, add and remove models.")


@app.command("list")
def list_models(json_output: Json = False, verbose: Verbose = False) -> None:
    """List the models that come with DeepReg and your own."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import known_models, user_folder

        models = known_models()
        screen.emit({"models": [_entry(model) for model in models], "user_folder": str(user_folder())})
        if screen.json_output:
            return
        if models:
            screen.out.print(_table(models))
        else:
            screen.say("There are no models here.")
        screen.say(f"Your own are kept in {user_folder()}; deepreg models add FOLDER copies one there.")


@app.command()
def info(name: Named, json_output: Json = False, verbose: Verbose = False) -> None:
    """Print what a model says of itself: purpose, limits, licence, what it was trained on."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import find_model, read_manifest

        folder = find_model(name)
        manifest = read_manifest(folder)
        screen.emit({**_values(manifest), "folder": str(folder)})
        for key, value in {**_values(manifest), "folder": str(folder)}.items():
            screen.say(Text.assemble((f"{key:<16}", "bold"), " ", _one_value(value)))


@app.command()
def check(name: Named, json_output: Json = False, verbose: Verbose = False) -> None:
    """Make sure that a model is whole and can be used here: manifest, SHA-256 of the weights, network, tensors."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import check_bundle, find_model, load_bundle

        bundle = load_bundle(find_model(name))
        check_bundle(bundle)
        screen.emit({"name": bundle.manifest.name, "version": bundle.manifest.version, "ok": True})
        screen.say(f"{_title(bundle.manifest)} is whole and can be used here.")


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A bundle: model.json and weights.safetensors.")],
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check a bundle and copy it to your own models."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import add_model

        _tell_added(screen, add_model(folder))


@app.command("import-unigradicon")
def import_unigradicon(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="The file its authors publish, Step_2_final.trch.")
    ],
    multimodal: Annotated[
        bool, typer.Option("--multimodal", help="The file is that of multiGradICON, for two modalities.")
    ] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a model of your own of uniGradICON's weights. Its package must be installed: pip install unigradicon."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import add_unigradicon

        _tell_added(screen, add_unigradicon(weights, multimodal=multimodal))


@app.command("import-lapirn")
def import_lapirn(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS", help="LapIRN_disp_fea7.pth or LapIRN_diff_fea7.pth, as its authors publish them."
        ),
    ],
    velocity: Annotated[
        bool, typer.Option("--velocity", help="The network gives a velocity, as LapIRN_diff_fea7.pth.")
    ] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a model of your own of the weights of LapIRN, for brains without skull."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import add_lapirn

        _tell_added(screen, add_lapirn(weights, velocity=velocity))


@app.command("import-anatomix")
def import_anatomix(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="anatomix.pth, as its authors publish it.")],
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a model of your own of the weights of anatomix, whose features a recipe compares across modalities."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import add_anatomix

        _tell_added(screen, add_anatomix(weights))


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of one of your own models.")],
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Remove one of your own models; those that come with DeepReg stay."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.models import remove_model

        folder = remove_model(name)
        screen.emit({"name": name, "folder": str(folder)})
        screen.say(f"Removed {name} from {folder.parent}.")


def _tell_added(screen: Session, added: KnownModel) -> None:
    from DeepRegLib.models import read_manifest

    screen.emit({"name": added.name, "folder": str(added.folder)})
    screen.say(f"Added {_title(read_manifest(added.folder))}; use it with --model {added.name}.")


def _values(manifest: Manifest) -> dict[str, Any]:
    from DeepRegLib.models.manifest import manifest_to_dict

    return manifest_to_dict(manifest)


def _entry(model: KnownModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "place": model.place,
        "folder": str(model.folder),
        "problem": model.problem,
        "manifest": None if model.manifest is None else _values(model.manifest),
    }


def _table(models: list[KnownModel]) -> Table:
    table = Table.grid(padding=(0, 2))
    for model in models:
        known = model.manifest
        version, task, purpose = ("", "", "") if known is None else (known.version, known.task, known.intended_use)
        last = Text(printable(model.problem), style="red") if model.problem else Text(printable(purpose))
        name = Text(printable(model.name), style="bold")
        table.add_row(name, Text(printable(version)), task, model.place, last)
    return table


def _title(manifest: Manifest) -> str:
    return f"{manifest.name} {manifest.version}"


def _one_value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_one_value(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return str(value)
