"""Label maps and what their labels are called: from structure sets and back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from DeepRegLib.dicom.structures import LARGEST_LABEL, Structure, StructureSet, colour_of
from DeepRegLib.errors import InputError
from DeepRegLib.image import Image

logger = logging.getLogger(__name__)


def label_images(structures: StructureSet, name: str) -> tuple[Image, ...]:
    """Return the layers of a structure set as label maps; the first holds all structures that do not overlap."""
    return tuple(Image(layer, structures.geometry, name) for layer in structures.layers)


def numbered_like(structures: StructureSet, other: StructureSet) -> StructureSet:
    """Return structures with the labels of those of another set that are called the same; case and spaces aside.

    What has no namesake gets a label that the other set does not use.
    """
    labels = {_key(structure.name): structure.label for structure in other.structures}
    free = iter(sorted(set(range(1, LARGEST_LABEL + 1)) - set(labels.values())))
    new = {s.label: labels[_key(s.name)] if _key(s.name) in labels else next(free) for s in structures.structures}
    if len(set(new.values())) < len(new):
        raise InputError("Two structures of one set have the same name.", "Rename one of them.")
    lookup = np.arange(LARGEST_LABEL + 1, dtype=np.uint16)
    for label, changed in new.items():
        lookup[label] = changed
    return replace(
        structures,
        layers=tuple(lookup[layer] for layer in structures.layers),
        structures=tuple(replace(s, label=new[s.label]) for s in structures.structures),
    )


def structure_set(layers: Sequence[Image], known: Sequence[Structure]) -> StructureSet:
    """Return label maps on one grid as a structure set; those of its labels that have voxels.

    Parameters
    ----------
    layers
        At least one, all on one grid.
    known
        What labels are called; others are called by their number.

    Raises
    ------
    InputError
        If a label is negative or too large for a DICOM structure, or there is none.
    """
    found = sorted({int(label) for layer in layers for label in np.unique(layer.array)} - {0})
    if not found or found[0] < 0 or found[-1] > LARGEST_LABEL:
        raise InputError(
            f"{layers[0].name} has {'no labels' if not found else f'the labels {found[0]} to {found[-1]}'}.",
            f"DICOM structures need labels from 1 to {LARGEST_LABEL}.",
        )
    names = {structure.label: structure for structure in known}
    structures = tuple(
        names.get(label, Structure(label, f"Label {label}", colour_of(order))) for order, label in enumerate(found)
    )
    return StructureSet(tuple(layer.array.astype(np.uint16) for layer in layers), layers[0].geometry, structures)


def _key(name: str) -> str:
    return " ".join(name.lower().split())
