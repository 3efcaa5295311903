"""What is said of results whose error is known: sensitivity and specificity by kind, as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from DeepRegLib import verdict
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.verdict import prominence, verdict_on
from Testing.benchmarks.tables import Table
from Testing.benchmarks.verdict.made import FOLDING, LOCAL, MIRRORED
from Testing.benchmarks.verdict.scans import FIGURES, LIMITS

RIGHT_MM, WRONG_MM = 3.0, 10.0
IN_ONE_PLACE = (LOCAL, FOLDING)
MOST_WRONG_OK, MOST_RIGHT_DOUBTED = 0.02, 0.05
INTRODUCTION = """# How far the verdict can be believed

Results were made on purpose from public pairs of scans, listed below: right ones, and wrong ones of each kind, refined
as the recipe does and measured as in every run. The pairs are shared out into two halves, to set limits on one and
give figures of the other. The limits of information and edges were first set with poses of scans of both halves, so
the second half is not wholly new to them.
A result is *right* within {right:g} mm, on average in the anatomy, of the pose that the recipe finds from landmarks or
by its search, and *wrong* from {wrong:g} mm on; between them it is neither, and counted apart. Sensitivity is the share
of the wrong results that are not `ok`, specificity the share of the right ones that are.

Whole runs by every recipe were made on two pairs of hippocampi and two of hearts, by `fast` on more; each from the
right pose and from a wrong one, and the right result was then moved to wrong poses with its field, and given a wrong
bump and a fold. Of recipes that go by labels or a mask, the pose is right where it is on those. Another person's
scan of the same anatomy is right where it is aligned: a verdict is on the alignment, not on whose scan it is. The spine
in two contrasts is left out: on voxels so coarse the search that gives its reference leaves the cord 40 mm apart. Of
the other pairs without landmarks the reference has not been looked at otherwise.

What decides most is how much information the scans share at the pose, over the most that they share at another: at
displacements of the pose, and at the best poses of a search of the whole space. Below {failed:g} a result is `failed`,
below {doubted:g} it is to be checked; so it is where a small displacement shares more or edges agree more elsewhere."""


@dataclass(frozen=True)
class Verdicts:
    """Rows of results with their measures, and the verdicts of today's limits."""

    rows: Sequence[Mapping[str, Any]]

    @property
    def passed(self) -> bool | None:
        """Whether the figures of the second half keep the limits."""
        figures = [row for row in self._whole() if row["half"] == FIGURES]
        if not figures:
            return None
        counts = Counts.of(figures)
        return (
            counts.wrong_ok <= MOST_WRONG_OK * counts.wrong
            and counts.right_doubted <= MOST_RIGHT_DOUBTED * counts.right
            and counts.right_failed == 0
        )

    def markdown(self) -> str:
        """Return the page."""
        text = INTRODUCTION.format(
            right=RIGHT_MM,
            wrong=WRONG_MM,
            failed=verdict.WORSE_THAN_OTHERS,
            doubted=verdict.NO_BETTER_THAN_OTHERS,
        )
        if not self.rows:
            return f"{text}\n\n(no case)"
        halves = [self._half(half) for half in (FIGURES, LIMITS)]
        by = [self._by(key) for key in ("recipe", "voxel", "deformed")]
        return "\n\n".join([text, self._made_of(), *halves, *by, self._local(), self._missed()])

    def _local(self) -> str:
        """Return what is said of results that are right but in one place."""
        rows = [
            {
                "kind": kind,
                "half": half,
                "results": len(found),
                "ok": sum(level_of(row) == OK for row in found),
                "check": sum(level_of(row) == CHECK for row in found),
                "failed": sum(level_of(row) == FAILED for row in found),
                "told among the worst places": sum(bool(row.get("told")) for row in found),
            }
            for kind in IN_ONE_PLACE
            for half in (FIGURES, LIMITS)
            if (found := [row for row in self.rows if row["kind"] == kind and row["half"] == half])
        ]
        columns = ("kind", "half", "results", "ok", "check", "failed", "told among the worst places")
        about = (
            "A bump of 10 mm, of a third of the radius of small anatomy, leads one place of a right result astray.",
            f"It is `check` where the motion of its surroundings, more than {verdict.LED_ASTRAY_MM:g} mm apart, fits "
            "clearly better (a limit that the half for limits bears out); the map of trust names the place among the "
            "three worst.",
        )
        return Table("Wrong in one place", columns, rows, about).markdown()

    def _whole(self) -> list[Mapping[str, Any]]:
        """Return the results that are right or wrong as a whole."""
        return [row for row in self.rows if row["kind"] not in IN_ONE_PLACE]

    def _made_of(self) -> str:
        voxels = ", ".join(f"{voxel:g}" for voxel in sorted({row["voxel"] for row in self.rows}))
        deformed = sum(bool(row["deformed"]) for row in self.rows)
        pairs = {half: {row["pair"] for row in self.rows if row["half"] == half} for half in (FIGURES, LIMITS)}
        return (
            f"{len(self.rows)} results with voxels of {voxels} mm, {deformed} of them deformed; "
            f"{len(pairs[FIGURES])} pairs in the half for the figures ({_listed(pairs[FIGURES])}), "
            f"{len(pairs[LIMITS])} in the other ({_listed(pairs[LIMITS])})."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain values; the measures stay in the file they were kept in."""
        return {"title": "verdict", "passed": self.passed, "summary": [], "rows": list(self._kinds(FIGURES))}

    def _half(self, half: str) -> str:
        title = "Figures: the half that did not set the limits" if half == FIGURES else "The half that set the limits"
        return Table(title, COLUMNS, list(self._kinds(half))).markdown()

    def _kinds(self, half: str) -> Iterator[dict[str, Any]]:
        rows = [row for row in self._whole() if row["half"] == half]
        for kind in dict.fromkeys(row["kind"] for row in rows):
            yield {"kind": kind, **Counts.of([row for row in rows if row["kind"] == kind]).cells()}
        yield {"kind": "all", **Counts.of(rows).cells()}
        yield {"kind": "all but mirrored", **Counts.of([row for row in rows if row["kind"] != MIRRORED]).cells()}

    def _by(self, key: str) -> str:
        rows = [row for row in self._whole() if row["half"] == FIGURES]
        found = [
            {"kind": value, **Counts.of([row for row in rows if row[key] == value]).cells()}
            for value in sorted({row[key] for row in rows}, key=str)
        ]
        return Table(f"The same by {key}", COLUMNS, found).markdown()

    def _missed(self) -> str:
        missed = [
            {**row, "verdict": level_of(row), "prominence": prominence(row["measures"]), "reason": reason_of(row)}
            for row in self._whole()
            if row["half"] == FIGURES
            and (
                (row["error"] > WRONG_MM and level_of(row) == OK) or (row["error"] <= RIGHT_MM and level_of(row) != OK)
            )
        ]
        columns = ("pair", "kind", "recipe", "voxel", "error", "verdict", "prominence", "reason")
        return Table("Where the verdict was wrong", columns, missed).markdown()


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


COLUMNS = (
    "kind",
    "wrong",
    "wrong but ok",
    "sensitivity",
    "right",
    "right but check",
    "right but failed",
    "specificity",
    "between",
)


@dataclass(frozen=True)
class Counts:
    """How many results there are, and how they were judged."""

    wrong: int
    wrong_ok: int
    right: int
    right_check: int
    right_failed: int
    between: int

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Counts:
        """Count rows."""
        wrong = [level_of(row) for row in rows if row["error"] > WRONG_MM]
        right = [level_of(row) for row in rows if row["error"] <= RIGHT_MM]
        between = len(rows) - len(wrong) - len(right)
        return cls(len(wrong), wrong.count(OK), len(right), right.count(CHECK), right.count(FAILED), between)

    @property
    def right_doubted(self) -> int:
        """How many right results are not called ok."""
        return self.right_check + self.right_failed

    def cells(self) -> dict[str, Any]:
        """Return the cells of a row."""
        return {
            "wrong": self.wrong,
            "wrong but ok": self.wrong_ok,
            "sensitivity": f"{1 - self.wrong_ok / self.wrong:.1%}" if self.wrong else None,
            "right": self.right,
            "right but check": self.right_check,
            "right but failed": self.right_failed,
            "specificity": f"{1 - self.right_doubted / self.right:.1%}" if self.right else None,
            "between": self.between,
        }


def level_of(row: Mapping[str, Any]) -> str:
    """Return the verdict of today's limits on a row."""
    return verdict_on(row["measures"], deformed=row["deformed"]).level


def reason_of(row: Mapping[str, Any]) -> str:
    """Return the first reason of the verdict on a row, empty where there is none."""
    return next(iter(verdict_on(row["measures"], deformed=row["deformed"]).reasons), "")
