"""The typed form of a training configuration: what each key means, its unit and its allowed values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from DeepRegLib.errors import InputError
from DeepRegLib.motion.traces import Traces
from DeepRegLib.networks import ARCHITECTURES, DENOISES, PREDICTS, SEGMENTS, TRANSLATES
from DeepRegLib.tables import from_table, read_toml, require
from DeepRegLib.training.appearance import Appearance
from DeepRegLib.training.deformation import Deformation
from DeepRegLib.training.denoising import Denoising
from DeepRegLib.training.losses import Losses
from DeepRegLib.training.segmenting import Segmenting
from DeepRegLib.training.shapes import Shapes
from DeepRegLib.training.translating import Translating

SHIPPED = Path(__file__).parent / "configs"
PAIRS, SEGMENTATION, DENOISE, TRANSLATE, MOTION = "pairs", "segmentation", "denoise", "translate", "motion"
# The architectures that each task trains, and the sources of `Sources` it can draw from.
TRAINED = {
    PAIRS: tuple(name for name in ARCHITECTURES if name not in (*SEGMENTS, *DENOISES, *TRANSLATES, *PREDICTS)),
    SEGMENTATION: SEGMENTS,
    DENOISE: DENOISES,
    TRANSLATE: TRANSLATES,
    MOTION: PREDICTS,
}
DRAWN = {
    PAIRS: ("shapes", "maps", "images", "pairs"),
    SEGMENTATION: ("maps", "images"),
    DENOISE: ("shapes", "maps", "images"),
    TRANSLATE: ("images",),
    MOTION: ("traces", "series"),
}
# What may differ from the run that is resumed; everything else would make it another run.
FREE_ON_RESUME = ("record", "validation", "bundle", "purpose")


@dataclass(frozen=True)
class Network:
    """The network that is trained.

    Parameters
    ----------
    architecture
        One of `DeepRegLib.networks.ARCHITECTURES`.
    arguments
        What it is built with.
    start
        Name of a model, or folder of its bundle, to begin with its weights; the network may leave out levels of that
        one. "" begins at random.
    teacher
        Name of a model, or folder of its bundle, whose fields are the goal of the loss ``teacher``; "" for none.
    """

    architecture: str = "pyramid"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    start: str = ""
    teacher: str = ""


@dataclass(frozen=True)
class Images:
    """The grid that the network is trained on.

    Parameters
    ----------
    size
        Voxels along i, j and k.
    spacing
        Width of a voxel in mm; the model will see its images like that.
    margin
        How far anatomy reaches past the grid in voxels, so that what moves in has come from somewhere.
    early
        Share of the steps that are taken on a smaller part of the grid first: in the same time there are several times
        as many of them, and what is near is learned there as well.
    early_size
        Voxels of that part along i, j and k.
    """

    size: tuple[int, int, int] = (96, 96, 96)
    spacing: float = 2.5
    margin: int = 8
    early: float = 0.0
    early_size: tuple[int, int, int] = (64, 64, 64)

    def __post_init__(self) -> None:
        require(min(self.size) >= 16 and max(self.size) <= 512, "images.size", self.size, "three sizes from 16 to 512")
        require(0 < self.spacing <= 100, "images.spacing", self.spacing, "above 0, at most 100 mm")
        require(0 <= self.margin <= 64, "images.margin", self.margin, "0 to 64 voxels")
        require(0 <= self.early <= 1, "images.early", self.early, "0 to 1")
        fits = self.early == 0 or all(16 <= a <= b for a, b in zip(self.early_size, self.size, strict=True))
        require(fits, "images.early_size", self.early_size, "three sizes from 16 to those of images.size")


@dataclass(frozen=True)
class Sources:
    """Where pairs come from, by how often relative to each other.

    Parameters
    ----------
    shapes
        Random shapes in random contrasts; needs no data.
    maps
        Label maps of the folder, deformed, in random contrasts.
    images
        Images of the folder, deformed; each with the contrast it has, or another.
    pairs
        Two images of the folder, as they are: the field between them is not known, so labels, lncc or mind must teach.
    traces
        Breathing and heartbeat over time, made at random, for the task ``motion``; needs no data.
    series
        The motion of the series in the folder, for the same task.
    folder
        Has ``images/NAME.nii.gz``, ``labels/NAME.nii.gz`` or both; for series the folders that ``deepreg series``
        wrote. Relative to the file of the configuration.
    """

    shapes: float = 1.0
    maps: float = 0.0
    images: float = 0.0
    pairs: float = 0.0
    traces: float = 0.0
    series: float = 0.0
    folder: str = ""

    def __post_init__(self) -> None:
        for name, share in self.shares.items():
            require(share >= 0, f"sources.{name}", share, "0 or more")
        require(sum(self.shares.values()) > 0, "sources.shapes", self.shapes, "at least one source a share above 0")
        needs = bool(self.folder) or self.maps + self.images + self.pairs + self.series == 0
        require(needs, "sources.folder", self.folder, "the folder that maps, images, pairs and series are taken from")

    @property
    def shares(self) -> dict[str, float]:
        """How often each source is drawn, by name."""
        return {name: getattr(self, name) for name in ("shapes", "maps", "images", "pairs", "traces", "series")}


@dataclass(frozen=True)
class Optimisation:
    """How the weights are found.

    Parameters
    ----------
    iterations
        Steps.
    batch
        Pairs at a time on each device.
    accumulate
        Batches a step.
    rate
        Learning rate (AdamW) at its highest.
    warmup
        Steps in which it rises to that; then it falls along a cosine to 1 % of it.
    weight_decay
        Of AdamW.
    clip
        Largest norm of the gradient.
    average
        Decay of the moving average of the weights, which is what is validated and exported.
    mixed_precision
        Compute the network in bfloat16 on CUDA devices that can; elsewhere it makes no difference.
    seed
        Of everything that is random.
    """

    iterations: int = 10_000
    batch: int = 1
    accumulate: int = 1
    rate: float = 4e-4
    warmup: int = 200
    weight_decay: float = 1e-5
    clip: float = 1.0
    average: float = 0.999
    mixed_precision: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "accumulate"):
            require(getattr(self, name) >= 1, f"optimisation.{name}", getattr(self, name), "1 or more")
        require(0 < self.rate <= 1, "optimisation.rate", self.rate, "above 0, at most 1")
        require(self.warmup >= 0, "optimisation.warmup", self.warmup, "0 or more")
        require(0 <= self.weight_decay <= 1, "optimisation.weight_decay", self.weight_decay, "0 to 1")
        require(self.clip > 0, "optimisation.clip", self.clip, "above 0")
        require(0 <= self.average < 1, "optimisation.average", self.average, "0 or more, below 1")
        require(self.seed >= 0, "optimisation.seed", self.seed, "0 or more")


@dataclass(frozen=True)
class Validation:
    """How progress is measured.

    Parameters
    ----------
    every
        Steps from one measurement to the next.
    pairs
        Synthetic pairs that are never trained on.
    folder
        Has folders with ``fixed.nii.gz`` and ``moving.nii.gz``, aligned linearly, and ``fixed_labels.nii.gz`` and
        ``moving_labels.nii.gz``; "" for none. Relative to the file of the configuration.
    """

    every: int = 500
    pairs: int = 8
    folder: str = ""

    def __post_init__(self) -> None:
        require(self.every >= 1, "validation.every", self.every, "1 or more")
        require(self.pairs >= 0, "validation.pairs", self.pairs, "0 or more")


@dataclass(frozen=True)
class Record:
    """What is written while training.

    Parameters
    ----------
    log_every
        Steps from one line of the log to the next.
    checkpoint_every
        Steps from one checkpoint to the next.
    keep
        Checkpoints that stay; older ones are removed.
    """

    log_every: int = 20
    checkpoint_every: int = 200
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("log_every", "checkpoint_every", "keep"):
            require(getattr(self, name) >= 1, f"record.{name}", getattr(self, name), "1 or more")


@dataclass(frozen=True)
class Bundle:
    """What the manifest of the exported model says.

    Parameters
    ----------
    version
        Of the model.
    trained_on
        Data, with their sources and licences.
    licence
        Of the weights.
    intended_use, limits
        What it is for, and what it is known not to do.
    any_scale
        Whether the model is to see any anatomy as large as its own grid, a hand as a trunk, instead of in voxels of
        `Images.spacing`. That is right for shapes without a scale, not for scans.
    """

    version: str = "0.1"
    trained_on: str = "Synthetic images of random shapes only; no data of people."
    licence: str = "Apache-2.0"
    intended_use: str = "A first displacement, to be refined by the deformable stage."
    limits: str = "Not validated for clinical use."
    any_scale: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a training run is told.

    Parameters
    ----------
    name
        Of the model: lower-case letters, digits, dots, dashes and underscores.
    purpose
        One line on what it is for.
    task
        What it learns: ``"pairs"`` to register two images, ``"segmentation"`` to label the voxels of one, ``"denoise"``
        to take noise out of one, ``"translate"`` to show one as another modality would, ``"motion"`` to predict where a
        motion goes.
    network, images, sources, shapes, deformation, appearance, losses, segmentation, denoise, translate, motion,
    optimisation, validation, record, bundle
        The sections; `losses` is for pairs, `segmentation`, `denoise`, `translate` and `motion` are for their tasks
        alone.
    """

    name: str
    purpose: str = ""
    task: str = PAIRS
    network: Network = field(default_factory=Network)
    images: Images = field(default_factory=Images)
    sources: Sources = field(default_factory=Sources)
    shapes: Shapes = field(default_factory=Shapes)
    deformation: Deformation = field(default_factory=Deformation)
    appearance: Appearance = field(default_factory=Appearance)
    losses: Losses = field(default_factory=Losses)
    segmentation: Segmenting = field(default_factory=Segmenting)
    denoise: Denoising = field(default_factory=Denoising)
    translate: Translating = field(default_factory=Translating)
    motion: Traces = field(default_factory=Traces)
    optimisation: Optimisation = field(default_factory=Optimisation)
    validation: Validation = field(default_factory=Validation)
    record: Record = field(default_factory=Record)
    bundle: Bundle = field(default_factory=Bundle)

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "name", self.name, "the model a short name")
        require(self.task in TRAINED, "task", self.task, f"one of {', '.join(TRAINED)}")
        fits = self.network.architecture in TRAINED[self.task] or self.network.architecture not in ARCHITECTURES
        wanted = f"one of {', '.join(TRAINED[self.task])} for the task {self.task}"
        require(fits, "network.architecture", self.network.architecture, wanted)
        for name, share in self.sources.shares.items():
            right = share == 0 or name in DRAWN[self.task]
            require(right, f"sources.{name}", share, f"0 for the task {self.task}")
        if self.task == PAIRS:
            self._check_pairs()
        if self.task == SEGMENTATION:
            self._check_segmentation()

    def _check_pairs(self) -> None:
        taught, teacher = self.losses.teacher > 0, self.network.teacher
        require(taught == bool(teacher), "network.teacher", teacher, "a model if losses.teacher is above 0")

    def _check_segmentation(self) -> None:
        names = self.segmentation.names
        require(bool(names), "segmentation.names", dict(names), "each label of the label maps a name")
        stated = self.network.arguments.get("out", len(names) + 1)
        require(stated == len(names) + 1, "network.arguments.out", stated, "nothing: the labels named say it")

    @property
    def network_arguments(self) -> dict[str, Any]:
        """What the network is built with: the arguments given, and for a segmentation the number of its classes."""
        classes = {"out": len(self.segmentation.names) + 1} if self.task == SEGMENTATION else {}
        return {**self.network.arguments, **classes}

    def size_at(self, step: int) -> tuple[int, int, int]:
        """Return the size of the images at a step of the training."""
        early = step < self.images.early * self.optimisation.iterations
        return self.images.early_size if early else self.images.size


def config_names() -> list[str]:
    """Return the names of the configurations that come with the library."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_config(source: str | Path) -> TrainingConfig:
    """Read a configuration: a shipped one by name, or a TOML file.

    Raises
    ------
    InputError
        If there is no such configuration, the file is not TOML, or a key or value is wrong (the message names it).
    """
    if str(source) in config_names():
        return load_config(SHIPPED / f"{source}.toml")
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"There is no configuration named {str(source)!r}, nor such a file.",
            f"Give one of {', '.join(config_names())}, or the path of a TOML file.",
        )
    config = config_from_dict({"name": path.stem} | read_toml(path, "docs/training.md"), path.name)
    home = path.absolute().parent
    return replace(
        config,
        network=replace(
            config.network,
            start=_named_or_beside(home, config.network.start),
            teacher=_named_or_beside(home, config.network.teacher),
        ),
        sources=replace(config.sources, folder=_beside(home, config.sources.folder)),
        validation=replace(config.validation, folder=_beside(home, config.validation.folder)),
    )


def config_from_dict(table: Mapping[str, Any], origin: str = "configuration") -> TrainingConfig:
    """Build a configuration from plain values and check every key.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    try:
        require("name" in table, "name", None, "the model a short name")
        return from_table(TrainingConfig, table)
    except InputError as error:
        raise InputError(f"{origin}: {error.message}", error.hint) from error


def config_to_dict(config: TrainingConfig) -> dict[str, Any]:
    """Return a configuration as plain values."""
    return asdict(config)


def check_resumable(config: TrainingConfig, earlier: TrainingConfig) -> None:
    """Make sure that a run can go on under a configuration.

    Raises
    ------
    InputError
        If anything differs that would make it another run.
    """
    new, old = (json.loads(json.dumps(config_to_dict(one))) for one in (config, earlier))  # lists, not tuples
    changed = [
        f"{section}.{key}" if isinstance(value, dict) else section
        for section, value in new.items()
        if section not in FREE_ON_RESUME
        for key in (value if isinstance(value, dict) else [section])
        if (value[key] != old[section][key] if isinstance(value, dict) else value != old[section])
    ]
    if changed:
        raise InputError(
            f"The run was begun with other values of {', '.join(changed)}.",
            "Change them back, or train into another folder.",
        )


def _named_or_beside(home: Path, model: str) -> str:
    """Return the folder of a model beside a file, where there is one, and otherwise its name as it is."""
    return _beside(home, model) if (home / model).is_dir() else model


def _beside(home: Path, folder: str) -> str:
    return str(home / folder) if folder else ""
