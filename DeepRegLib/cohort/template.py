"""A template made on a cluster: registrations and means are steps of its workers, and no member's field comes here.

The steps are those of `DeepRegLib.series.building.build_template`, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from DeepRegLib.cohort.steps import StepError, Steps
from DeepRegLib.cohort.work import DONE
from DeepRegLib.errors import RegistrationError
from DeepRegLib.recipes import Recipe, recipe_to_dict
from DeepRegLib.result import CHECK, FAILED, Verdict

if TYPE_CHECKING:
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.series.template import MemberRow, Template

LEAST_MEMBERS = 2


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
    path
        Of its present transform; "" where it could not be registered.
    matrix
        Of a linear transform, else None.
    grid
        Of the first field of another one, else None.
    found
        What the registration answered.
    """

    path: str
    matrix: Any
    grid: Any
    found: Mapping[str, Any]

    @property
    def used(self) -> bool:
        """Whether it is part of the template."""
        return bool(self.path) and self.found["level"] != FAILED


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
    from DeepRegLib.series.building import linear_only

    run = _Run(job, steps)
    order = run.order()
    template = run.first(order)
    members = run.registered(template, linear_only(job.recipe), None, ["unjudged"] * len(job.members), 0)
    if sum(member.used for member in members) < LEAST_MEMBERS:
        # A linear alignment of members that differ much may look wrong, and is all there is to begin with.
        members = [
            Member(m.path, m.matrix, m.grid, {**m.found, "level": CHECK} if m.path else m.found) for m in members
        ]
    known: Sequence[Any] = [None] * len(members)
    shifts = []
    for number in range(job.passes + 1):
        _require_enough(members)
        used = [n for n in order if members[n].used]
        members, shift = run.freed(members, used, template, number)
        shifts.append(shift)
        template, spread = run.mean(members, used, template, number)
        if number < job.passes:
            members = run.registered(template, job.recipe, members, known, number + 1)
            known = [dict(member.found) for member in members] if number == 0 else known
    return run.finished(members, order, template, spread, tuple(shifts))


class _Run:
    def __init__(self, job: TemplateJob, steps: Steps) -> None:
        self.job, self.steps = job, steps
        self.shared = {"device": job.device, "seed": job.seed, "folder": str(job.folder), "finals": str(job.finals)}
        self.names = [f"member_{n:04d}" for n in range(len(job.members))]

    def order(self) -> list[int]:
        """Return the members by what is in them, so that the order they are given in changes nothing."""
        given = {name: {"image": str(path)} for name, path in zip(self.names, self.job.members, strict=True)}
        hashes = self.steps.each("look", given)
        return sorted(range(len(self.names)), key=lambda n: str(hashes[self.names[n]]["sha256"]))

    def first(self, order: Sequence[int]) -> str:
        return str(self.job.initial or self.job.members[order[0]])

    def registered(
        self, template: str, recipe: Recipe, before: Sequence[Member] | None, known: Sequence[Any], number: int
    ) -> list[Member]:
        """Register every member; one whose process fails is left out, as one that cannot be registered is."""
        table = recipe_to_dict(recipe)
        given = {}
        for n, (name, image) in enumerate(zip(self.names, self.job.members, strict=True)):
            start = before[n].path if before is not None else ""
            given[name] = self.shared | {
                "recipe": table,
                "template": template,
                "image": str(image),
                "name": f"{name}/pass_{number}",
                "to": str(self.steps.work / f"{name}-found-{number}.npz"),
                "start": start,
                "near": number > 1 and bool(start),
                "known": known[n],
            }
        ended = self.steps.all("register", given)
        members = []
        for name in self.names:
            if ended[name].kind == DONE:
                answer = ended[name].answer
                members.append(Member(answer["path"], answer.get("matrix"), answer.get("grid"), answer))
            else:
                lost = {"level": FAILED, "reasons": [ended[name].reason], "seconds": ended[name].seconds}
                members.append(Member("", None, None, lost | {"start": None, "structure": None}))
        return members

    def freed(
        self, members: Sequence[Member], used: Sequence[int], template: str, number: int
    ) -> tuple[list[Member], float]:
        """Compose the mean displacement back."""
        changed = list(members)
        paths = {n: str(self.steps.work / f"{self.names[n]}-freed-{number}.npz") for n in used}
        if all(members[n].matrix is not None for n in used):
            shift = _linear_freed(members, used, paths, _grid_of(template))
            for n in used:
                changed[n] = Member(paths[n], *shift[1][n], members[n].found)
            return changed, shift[0]
        grid = self._grid(members, used, template)
        total = self.steps.reduced("add_fields", f"shift-{number}", self._shares(members, used), {"grid": grid})
        back = str(self.steps.work / f"back-{number}.npz")
        moved = self.steps.one("common", {"sum": total, "grid": grid, "device": self.job.device, "to": back})["moved"]
        given = {
            self.names[n]: {"back": back, "transform": members[n].path, "grid": grid, "to": paths[n]} for n in used
        }
        answers = self.steps.each("free", given)
        for n in used:
            answer = answers[self.names[n]]
            changed[n] = Member(paths[n], answer["matrix"], answer["grid"], members[n].found)
        return changed, float(moved)

    def mean(self, members: Sequence[Member], used: Sequence[int], template: str, number: int) -> tuple[str, str]:
        """Make the next template."""
        grid = asdict(_grid_of(template))
        summed = [{"image": str(self.job.members[n]), "transform": members[n].path, "weight": 1.0} for n in used]
        total = self.steps.reduced("add_images", f"mean-{number}", summed, {"grid": grid})
        made, spread = (str(self.steps.work / f"{name}-{number}.nii.gz") for name in ("template", "spread"))
        self.steps.one("mean", {"sum": total, "grid": grid, "sharpen": self.job.sharpen, "to": made, "spread": spread})
        return made, spread

    def finished(
        self, members: Sequence[Member], order: Sequence[int], template: str, spread: str, shifts: tuple[float, ...]
    ) -> Template:
        """Make what belongs to the result."""
        from DeepRegLib.image import read_image
        from DeepRegLib.series.building import judged_members
        from DeepRegLib.series.template import Template
        from DeepRegLib.versions import versions

        used = [n for n in range(len(members)) if members[n].used]
        given = {
            self.names[n]: self.shared
            | {
                "recipe": recipe_to_dict(self.job.recipe),
                "template": template,
                "transform": members[n].path,
                "name": self.names[n],
            }
            for n in used
        }
        measured = self.steps.each("finish", given)
        rows = tuple(self._row(n, member, measured.get(self.names[n])) for n, member in enumerate(members))
        grid = self._grid(members, used, template)
        total = self.steps.reduced("add_fields", "shape", self._shares(members, used), {"grid": grid})
        shape = str(self.steps.work / "shape.nii.gz")
        bias = float(self.steps.one("shape", {"sum": total, "grid": grid, "to": shape})["bias"])
        labels = self._labels(members, [n for n in order if n in used], template)
        verdict, warnings = judged_members(rows)
        return Template(
            image=read_image(template),
            variability=read_image(spread),
            shape_variability=read_image(shape),
            labels=None if labels is None else read_image(labels),
            transforms=[None] * len(members),
            inverses=[None] * len(members),
            rows=rows,
            bias=bias,
            shifts=shifts,
            verdict=verdict,
            recipe=self.job.recipe,
            warnings=warnings,
            provenance={
                "versions": versions(),
                "device": self.job.device or "chosen by each worker",
                "seed": self.job.seed,
                "sharpened": self.job.sharpen,
            },
        )

    def _labels(self, members: Sequence[Member], used: Sequence[int], template: str) -> str | None:
        if self.job.labels is None:
            return None
        grid, made = asdict(_grid_of(template)), str(self.steps.work / "labels.nii.gz")
        votes = [{"labels": str(self.job.labels[n]), "transform": members[n].path, "weight": 1.0} for n in used]
        total = self.steps.reduced("add_labels", "labels", votes, {"grid": grid})
        self.steps.one("most_votes", {"sum": total, "grid": grid, "to": made})
        return made

    def _grid(self, members: Sequence[Member], used: Sequence[int], template: str) -> Any:
        grids = [members[n].grid for n in used if members[n].grid is not None]
        finest = min(grids, key=lambda grid: float(np.prod(grid["spacing"])), default=None)
        return asdict(_grid_of(template)) if finest is None else finest

    def _shares(self, members: Sequence[Member], used: Sequence[int]) -> list[dict[str, Any]]:
        return [{"transform": members[n].path, "weight": 1 / len(used)} for n in used]

    def _row(self, n: int, member: Member, measured: Mapping[str, Any] | None) -> MemberRow:
        from DeepRegLib.naming import base_name, shown
        from DeepRegLib.series.template import MemberRow

        verdict = Verdict(member.found["level"], tuple(member.found["reasons"]))
        name = base_name(shown(str(self.job.members[n])))
        return MemberRow(n, name, verdict, measured is not None, 1.0, **(measured or {}))


def _grid_of(template: str) -> Geometry:
    from DeepRegLib.image import read_image

    return read_image(template).geometry


def _linear_freed(
    members: Sequence[Member], used: Sequence[int], paths: Mapping[int, str], grid: Geometry
) -> tuple[float, dict[int, tuple[Any, None]]]:
    """Free linear transforms, of which twelve numbers each came here, and write them."""
    from DeepRegLib.monitoring import never_cancel
    from DeepRegLib.series.fields import centred
    from DeepRegLib.series.passing import keep_transform
    from DeepRegLib.transforms import LinearTransform

    given = [LinearTransform(np.array(members[n].matrix)) for n in used]
    freed, moved = centred(given, [1.0] * len(used), grid, "cpu", never_cancel)
    matrices = {}
    for n, transform in zip(used, freed, strict=True):
        if not isinstance(transform, LinearTransform):
            raise StepError("A linear transform is none any more.", "Report it.")
        keep_transform(transform, paths[n])
        matrices[n] = (transform.matrix.tolist(), None)
    return moved, matrices


def _require_enough(members: Sequence[Member]) -> None:
    count = sum(member.used for member in members)
    if count < LEAST_MEMBERS:
        reasons = next((member.found["reasons"] for member in members if member.found["reasons"]), [""])
        raise RegistrationError(
            f"{count} of {len(members)} members could be registered ({reasons[0]}).",
            "Check that all show the same anatomy.",
        )
