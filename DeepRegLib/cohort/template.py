"""A template made on a cluster: registrations and means are steps of its workers, and no member's field comes here.

The order of the steps is that of `DeepRegLib.series.walk`, as for a template made in one process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from DeepRegLib.cohort.steps import StepError, Steps
from DeepRegLib.cohort.work import DONE, Outcome
from DeepRegLib.naming import base_name, shown
from DeepRegLib.recipes import Recipe, recipe_to_dict
from DeepRegLib.result import FAILED, Verdict

if TYPE_CHECKING:
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.image import Image
    from DeepRegLib.series.template import Template
    from DeepRegLib.series.walk import Ends


@dataclass(frozen=True)
class TemplateJob:
    """What is asked for; as of `build_template`, all by files.

    Parameters
    ----------
    members, labels
        Volumes, and the label map of each or None.
    recipe, passes, sharpen, device, seed
        As there.
    initial
        A volume, or None for the mean of the members aligned linearly.
    folder, finals
        Of the result, and where its final transforms go before they come out; every worker sees them.
    """

    members: tuple[Path, ...]
    labels: tuple[Path, ...] | None
    recipe: Recipe
    passes: int
    sharpen: bool
    device: str | None
    seed: int
    initial: Path | None
    folder: Path
    finals: Path


@dataclass(frozen=True)
class Member:
    """What is known here of a member: never its voxels or its field.

    Parameters
    ----------
    verdict
        How far to trust its registration.
    path
        Of its present transform; "" where it could not be registered.
    matrix
        Of a linear transform, else None.
    grid
        Of the first field of another one, else None.
    found
        What the registration answered.
    """

    verdict: Verdict
    path: str
    matrix: Any
    grid: Any
    found: Mapping[str, Any]

    @property
    def registered(self) -> bool:
        """Whether there is a transform."""
        return bool(self.path)


def build_on(job: TemplateJob, steps: Steps) -> Template:
    """Build a template by steps of workers; return it as `build_template` does, its members' transforms in files.

    Raises
    ------
    RegistrationError
        If fewer than two members could be registered.
    StepError
        If a step failed, or nothing can run any more.
    CancelledError
        If the run was stopped.
    """
    from DeepRegLib.series.walk import made_by

    return made_by(_Workers(job, steps), job.passes)


@dataclass(frozen=True)
class _Space:
    path: str
    spread: str


class _Workers:
    """Have a template's steps done elsewhere: `DeepRegLib.series.walk.TemplateSteps`."""

    def __init__(self, job: TemplateJob, steps: Steps) -> None:
        from DeepRegLib.series.walk import member_folder

        self._job, self._steps = job, steps
        self._shared = {"device": job.device, "seed": job.seed, "folder": str(job.folder), "finals": str(job.finals)}
        self._folders = [member_folder(n) for n in range(len(job.members))]
        self.names = [base_name(shown(str(path))) for path in job.members]
        self.weights, self.recipe = [1.0] * len(job.members), job.recipe
        self.origin: Mapping[str, Any] = {
            "device": job.device or "chosen by each worker",
            "seed": job.seed,
            "sharpened": job.sharpen,
        }

    def order(self) -> list[int]:
        given = {name: {"image": str(path)} for name, path in zip(self._folders, self._job.members, strict=True)}
        hashes = self._steps.each("look", given)
        return sorted(range(len(self._folders)), key=lambda n: str(hashes[self._folders[n]]["sha256"]))

    def first(self, order: Sequence[int]) -> _Space:
        return _Space(str(self._job.initial or self._job.members[order[0]]), "")

    def registered(
        self, space: _Space, before: Sequence[Member] | None, known: Sequence[Member] | None, number: int
    ) -> list[Member]:
        """Register every member; one whose process fails is left out, as one that cannot be registered is."""
        from DeepRegLib.series.walk import LINEAR_PASS, linear_only

        linear = number == LINEAR_PASS
        table = recipe_to_dict(linear_only(self.recipe) if linear else self.recipe)
        given = dict[str, dict[str, Any]]()
        for n, (name, image) in enumerate(zip(self._folders, self._job.members, strict=True)):
            start = before[n].path if before is not None else ""
            given[name] = self._shared | {
                "recipe": table,
                "template": space.path,
                "image": str(image),
                "name": f"{name}/pass_{number}",
                "to": str(self._steps.work / f"{name}-found-{number}.npz"),
                "start": start,
                "near": number > LINEAR_PASS + 1 and bool(start),
                "known": "unjudged" if linear else None if known is None else dict(known[n].found),
            }
        ended = self._steps.all("register", given)
        return [_registered(ended[name]) for name in self._folders]

    def freed(
        self, members: Sequence[Member], used: Sequence[int], space: _Space, number: int
    ) -> tuple[list[Member], float]:
        changed = list(members)
        paths = {n: str(self._steps.work / f"{self._folders[n]}-freed-{number}.npz") for n in used}
        if all(members[n].matrix is not None for n in used):
            moved, matrices = _linear_freed(members, used, paths, _grid_of(space.path))
            for n in used:
                changed[n] = replace(members[n], path=paths[n], matrix=matrices[n], grid=None)
            return changed, moved
        grid = self._grid(members, used, space)
        total = self._steps.reduced("add_fields", f"shift-{number}", self._shares(members, used), {"grid": grid})
        back = str(self._steps.work / f"back-{number}.npz")
        asked = {"sum": total, "grid": grid, "device": self._job.device, "to": back}
        moved = float(self._steps.one("common", asked)["moved"])
        given = {
            self._folders[n]: {"back": back, "transform": members[n].path, "grid": grid, "to": paths[n]} for n in used
        }
        answers = self._steps.each("free", given)
        for n in used:
            answer = answers[self._folders[n]]
            changed[n] = replace(members[n], path=paths[n], matrix=answer["matrix"], grid=answer["grid"])
        return changed, moved

    def mean(self, members: Sequence[Member], used: Sequence[int], space: _Space, number: int) -> _Space:
        grid = asdict(_grid_of(space.path))
        summed = [{"image": str(self._job.members[n]), "transform": members[n].path, "weight": 1.0} for n in used]
        total = self._steps.reduced("add_images", f"mean-{number}", summed, {"grid": grid})
        made, spread = (str(self._steps.work / f"{name}-{number}.nii.gz") for name in ("template", "spread"))
        self._steps.one(
            "mean", {"sum": total, "grid": grid, "sharpen": self._job.sharpen, "to": made, "spread": spread}
        )
        return _Space(made, spread)

    def ends(self, members: Sequence[Member], used: Sequence[int], space: _Space) -> Ends:
        from DeepRegLib.series.walk import Ends

        given = {
            self._folders[n]: self._shared
            | {
                "recipe": recipe_to_dict(self.recipe),
                "template": space.path,
                "transform": members[n].path,
                "image": str(self._job.members[n]),
                "name": self._folders[n],
            }
            for n in used
        }
        found = self._steps.each("finish", given)
        measured = {}
        for n in used:
            answer = found[self._folders[n]]
            folds, inverse_folds = int(answer["folds"]), int(answer["inverse_folds"])
            measured[n] = float(answer["displacement"]), folds, inverse_folds, float(answer["inverse_error"])
        nowhere = [None] * len(members)
        return Ends(nowhere, nowhere, measured)

    def images(self, space: _Space) -> tuple[Image, Image]:
        from DeepRegLib.image import read_image

        return read_image(space.path), read_image(space.spread)

    def shape(self, members: Sequence[Member], used: Sequence[int], space: _Space) -> tuple[Image, float]:
        from DeepRegLib.image import read_image

        grid = self._grid(members, used, space)
        total = self._steps.reduced("add_fields", "shape", self._shares(members, used), {"grid": grid})
        path = str(self._steps.work / "shape.nii.gz")
        bias = float(self._steps.one("shape", {"sum": total, "grid": grid, "to": path})["bias"])
        return read_image(path), bias

    def labels(self, members: Sequence[Member], used: Sequence[int], space: _Space) -> Image | None:
        from DeepRegLib.image import read_image

        if self._job.labels is None:
            return None
        grid, made = asdict(_grid_of(space.path)), str(self._steps.work / "labels.nii.gz")
        votes = [{"labels": str(self._job.labels[n]), "transform": members[n].path, "weight": 1.0} for n in used]
        total = self._steps.reduced("add_labels", "labels", votes, {"grid": grid})
        self._steps.one("most_votes", {"sum": total, "grid": grid, "to": made})
        return read_image(made)

    def _grid(self, members: Sequence[Member], used: Sequence[int], space: _Space) -> Any:
        grids = [members[n].grid for n in used if members[n].grid is not None]
        finest = min(grids, key=lambda grid: float(np.prod(grid["spacing"])), default=None)
        return asdict(_grid_of(space.path)) if finest is None else finest

    def _shares(self, members: Sequence[Member], used: Sequence[int]) -> list[dict[str, Any]]:
        return [{"transform": members[n].path, "weight": 1 / len(used)} for n in used]


def _registered(ended: Outcome) -> Member:
    if ended.kind == DONE:
        answer = ended.answer
        verdict = Verdict(answer["level"], tuple(answer["reasons"]))
        return Member(verdict, answer["path"], answer.get("matrix"), answer.get("grid"), answer)
    lost = {"level": FAILED, "reasons": [ended.reason], "seconds": ended.seconds, "start": None, "structure": None}
    return Member(Verdict(FAILED, (ended.reason,)), "", None, None, lost)


def _grid_of(template: str) -> Geometry:
    from DeepRegLib.image import read_image

    return read_image(template).geometry


def _linear_freed(
    members: Sequence[Member], used: Sequence[int], paths: Mapping[int, str], grid: Geometry
) -> tuple[float, dict[int, Any]]:
    """Free linear transforms, of which twelve numbers each came here, and write them."""
    from DeepRegLib.monitoring import never_cancel
    from DeepRegLib.series.fields import centred
    from DeepRegLib.series.passing import store_transform
    from DeepRegLib.transforms import LinearTransform

    given = [LinearTransform(np.array(members[n].matrix)) for n in used]
    freed, moved = centred(given, [1.0] * len(used), grid, "cpu", never_cancel)
    matrices = {}
    for n, transform in zip(used, freed, strict=True):
        if not isinstance(transform, LinearTransform):
            raise StepError("A linear transform is none any more.", "Report it.")
        store_transform(transform, paths[n])
        matrices[n] = transform.matrix.tolist()
    return moved, matrices
