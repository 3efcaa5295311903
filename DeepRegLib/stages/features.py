"""What a network says of each voxel of both images, where the recipe compares that."""

from __future__ import annotations

from dataclasses import replace

from DeepRegLib.errors import ModelError
from DeepRegLib.keeping import made_once
from DeepRegLib.models import ModelBundle, load_network, usable_bundle
from DeepRegLib.models.inference import described
from DeepRegLib.networks import Anatomix
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.recipes import FEATURES, Recipe
from DeepRegLib.stages.run import Run


def features_of(recipe: Recipe) -> ModelBundle | None:
    """Return the model whose features a recipe compares, checked, before anything is computed; None if it does not.

    Raises
    ------
    ModelError
        If there is no such model, or it is damaged or for another task.
    """
    if not recipe.deformable.enabled or recipe.deformable.similarity != FEATURES:
        return None
    return usable_bundle(recipe.deformable.features, "features")


def with_features(run: Run, bundle: ModelBundle) -> Run:
    """Return a run that knows the network of a model, whose name and hash it notes.

    Raises
    ------
    ModelError
        If it is of another architecture than its task needs.
    """
    network, manifest = load_network(bundle, run.device), bundle.manifest
    if not isinstance(network, Anatomix):
        raise ModelError(
            f"The model {manifest.name} has the architecture {manifest.architecture}, which describes no voxels.",
            "Choose another; deepreg models list shows them.",
        )
    run.log.add_provenance("features", bundle.identity)
    run.log.add_decision(f"Features: those of {manifest.name} {manifest.version}.")
    return replace(run, describing=network)


def described_where_wanted(run: Run, level: Level) -> Level:
    """Return a level with the features of both images if they are compared, else as it is."""
    network = run.describing
    if network is None:
        return level
    poll, keeping = run.monitor.poll, run.pair.fixed.keeping
    moving = described(network, level.moving, poll=poll)
    what = ("features", run.recipe.deformable.features, level.fixed.geometry)
    fixed = made_once(keeping, what, (level.fixed.intensity,), lambda: described(network, level.fixed, poll=poll))
    return replace(level, fixed=fixed, moving=moving)
