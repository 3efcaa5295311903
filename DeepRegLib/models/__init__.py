"""Model bundles: what a trained network is, where bundles are found, how one predicts. No torch until one is used."""

from __future__ import annotations

from DeepRegLib.models.anatomix import add_anatomix
from DeepRegLib.models.bundle import ModelBundle, check_bundle, load_bundle, load_network, save_bundle
from DeepRegLib.models.manifest import Manifest, ModelInput, read_manifest
from DeepRegLib.models.registry import (
    KnownModel,
    add_model,
    find_model,
    known_models,
    look_up,
    remove_model,
    usable_bundle,
    user_folder,
)
from DeepRegLib.models.third_party import add_lapirn, add_unigradicon

__all__ = [
    "KnownModel",
    "Manifest",
    "ModelBundle",
    "ModelInput",
    "add_anatomix",
    "add_lapirn",
    "add_model",
    "add_unigradicon",
    "check_bundle",
    "find_model",
    "known_models",
    "load_bundle",
    "load_network",
    "look_up",
    "read_manifest",
    "remove_model",
    "save_bundle",
    "usable_bundle",
    "user_folder",
]
