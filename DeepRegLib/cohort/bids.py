"""Pairs out of a BIDS data set, and what BIDS and fMRIPrep call their results.

Only the names of files are needed: entities such as `sub-01` and `ses-2`, and a suffix. pybids reads the whole data
set into a data base first, by a dozen packages that nothing else here needs (docs/decisions/cohorts.md).

Gorgolewski et al., The brain imaging data structure, Scientific Data 3 (2016) 160044.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.cohort.cases import Case, Problem
from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.errors import InputError
from DeepRegLib.naming import shown

MAKER = "DeepReg"
DESCRIPTION = "dataset_description.json"
ENTITY = re.compile(r"([a-z]+)-([A-Za-z0-9+]+)")
IMAGE = re.compile(r"((?:[a-z]+-[A-Za-z0-9+]+_)+)([A-Za-z0-9]+)\.nii(?:\.gz)?")
NOT_ALPHANUMERIC = re.compile(r"[^A-Za-z0-9]")
SUBJECT, SESSION = "sub", "ses"


@dataclass(frozen=True)
class Scan:
    """An image of the data set: its path relative to the root, its entities in their order, its suffix."""

    path: str
    entities: tuple[tuple[str, str], ...]
    suffix: str

    @property
    def all(self) -> dict[str, str]:
        """The entities, and the suffix under `suffix`."""
        return {**dict(self.entities), "suffix": self.suffix}


def cases_in_bids(root: str | Path, fixed: str, moving: str, defaults: Mapping[str, str]) -> Manifest:
    """Return the pairs of a BIDS data set: images of one subject that differ in what the two selections say only.

    Parameters
    ----------
    root
        Folder of the data set. Images are looked for in `sub-*/anat` and `sub-*/ses-*/anat`.
    fixed, moving
        What picks the images, as it stands in their names: ``ses-1``, ``ses-2_acq-fast``, ``T1w``, ``ses-1_T2w``.
    defaults
        Values of the other columns for every case.

    Raises
    ------
    InputError
        If it is no BIDS data set, a selection is not one, or nothing fits it.
    """
    place = Path(root).absolute()
    if not (place / DESCRIPTION).is_file():
        raise InputError(f"{shown(place)} holds no {DESCRIPTION}.", "Give the root of a BIDS data set.")
    chosen = [_selection(text) for text in (fixed, moving)]
    scans = _scans(place)
    first, second = ([s for s in scans if wanted.items() <= s.all.items()] for wanted in chosen)
    for text, found in ((fixed, first), (moving, second)):
        if not found:
            raise InputError(f"No image in {shown(place)} is named with {text}.", "Check the entities.")
    free = frozenset(chosen[0]) | frozenset(chosen[1])
    cases: list[Case] = []
    problems: list[Problem] = []
    for number, scan in enumerate(first, start=1):
        partners = [other for other in second if other.path != scan.path and _rest(other, free) == _rest(scan, free)]
        if len(partners) != 1:
            count = "no partner" if not partners else f"{len(partners)} partners"
            problems.append(
                Problem(number, "", f"{scan.path} has {count} among {moving}. Say more in --fixed and --moving.")
            )
            continue
        values = {**defaults, "fixed": str(place / scan.path), "moving": str(place / partners[0].path)}
        names = result_names(scan, partners[0])
        cases.append(Case(_case_name(names), number, "register", values, names))
    return Manifest("register", tuple(cases), tuple(problems))


def result_names(fixed: Scan, moving: Scan) -> dict[str, str]:
    """Return what a result's files are called below the folder of derivatives, by the name they have in a case.

    A transform `from-A_to-B` brings images from A onto B, as fMRIPrep names them; A and B are what tells the scans
    apart. fMRIPrep documentation, Outputs: "Transforms", https://fmriprep.org/en/stable/outputs.html
    """
    shared = [f"{key}-{value}" for key, value in fixed.entities if dict(moving.entities).get(key) == value]
    source, target = _label(moving, fixed), _label(fixed, moving)
    folder = "/".join([*(part for part in shared if part.startswith((f"{SUBJECT}-", f"{SESSION}-"))), "anat"])
    stem = "_".join(shared)
    of_moving = "_".join(f"{key}-{value}" for key, value in moving.entities if key != "space")
    return {
        "transform.h5": f"{folder}/{stem}_from-{source}_to-{target}_mode-image_xfm.h5",
        "inverse.h5": f"{folder}/{stem}_from-{target}_to-{source}_mode-image_xfm.h5",
        "warped.nii.gz": f"{folder}/{of_moving}_space-{target}_{moving.suffix}.nii.gz",
        "warped_labels.nii.gz": f"{folder}/{of_moving}_space-{target}_dseg.nii.gz",
    }


def description(source: str, version: str) -> dict[str, object]:
    """Return what `dataset_description.json` of the derivatives holds."""
    return {
        "Name": "DeepReg registrations",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": MAKER, "Version": version}],
        "SourceDatasets": [{"URL": Path(source).absolute().as_uri()}],
    }


def _case_name(names: Mapping[str, str]) -> str:
    return names["transform.h5"].rpartition("/")[2].removesuffix("_mode-image_xfm.h5")


def _label(scan: Scan, other: Scan) -> str:
    """Return what tells a scan from another, as BIDS allows labels: `ses2`, `T1w`."""
    own = [f"{key}{value}" for key, value in scan.entities if dict(other.entities).get(key) != value]
    if scan.suffix != other.suffix:
        own.append(scan.suffix)
    return NOT_ALPHANUMERIC.sub("", "".join(own)) or scan.suffix


def _selection(text: str) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for part in text.split("_"):
        entity = ENTITY.fullmatch(part)
        if entity is not None:
            wanted[entity.group(1)] = entity.group(2)
        elif part.isalnum():
            wanted["suffix"] = part
        else:
            raise InputError(f"{text!r} picks no images.", "Write it as in their names: ses-1, T1w, ses-1_acq-fast.")
    return wanted


def _scans(root: Path) -> list[Scan]:
    found = []
    for pattern in ("sub-*/anat/*.nii*", "sub-*/ses-*/anat/*.nii*"):
        for path in root.glob(pattern):
            match = IMAGE.fullmatch(path.name)
            if match is not None:
                entities = tuple(ENTITY.fullmatch(part).groups() for part in match.group(1).strip("_").split("_"))  # type: ignore[union-attr]  # IMAGE is made of them
                found.append(Scan(path.relative_to(root).as_posix(), entities, match.group(2)))  # type: ignore[arg-type]  # two groups
    return sorted(found, key=lambda scan: scan.path)


def _rest(scan: Scan, free: frozenset[str]) -> dict[str, str]:
    return {key: value for key, value in scan.all.items() if key not in free}
