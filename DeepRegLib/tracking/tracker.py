"""Tracker: a fixed scan prepared once, and one scan after another registered to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, as_image
from DeepRegLib.monitoring import Cancel, Progress, poll_of
from DeepRegLib.pipeline import prepare_fixed, run_request
from DeepRegLib.preparation import PreparedScan
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.registration import Registration
from DeepRegLib.request import Drivers, Request
from DeepRegLib.result import FAILED
from DeepRegLib.tracking.following import follow
from DeepRegLib.tracking.foresight import FORESEEN, Foresight
from DeepRegLib.tracking.request import FOLLOWED, Following, Last, last_of
from DeepRegLib.transforms import Transform, has_field

NOTHING_KNOWN = Drivers()


class Tracker:
    """Registers one scan after another to a fixed one, each from the last result.

    Parameters
    ----------
    fixed
        The scan that stays, or the path to read it from. It is prepared once, at the first scan.
    recipe
        Name of a shipped recipe, path of a TOML file, or a `Recipe`.
    drivers
        What is known of every scan that comes; landmarks or labels of the moving side hold for the first alone and are
        better left out. An initial transform, the pre-operative plan, replaces the search for the first scan.
    foresight
        Moves the last result on to where the anatomy is expected when the next scan is taken; None starts from where it
        was.
    device, seed
        As in `DeepRegLib.register`.

    Raises
    ------
    InputError
        If the fixed scan or the recipe cannot be used.
    """

    def __init__(
        self,
        fixed: Image | str | Path,
        recipe: str | Path | Recipe = AUTO,
        drivers: Drivers = NOTHING_KNOWN,
        *,
        foresight: Foresight | None = None,
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self._fixed = as_image(fixed)
        self._recipe = load_recipe(recipe)
        self._drivers = drivers
        self._foresight = foresight
        self._device, self._seed = device, seed
        self._prepared: PreparedScan | None = None
        self._last = _plan(drivers, self._recipe)

    def register(
        self,
        moving: Image | str | Path,
        moving_mask: Image | None = None,
        *,
        time: float | None = None,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Registration:
        """Register the next scan; a result that failed is returned, but not followed.

        Parameters
        ----------
        moving, moving_mask
            The scan, and where it counts.
        time
            When it was taken, s of any clock; only a tracker with foresight needs it.
        progress, cancel
            As in `DeepRegLib.register`.

        Raises
        ------
        InputError
            If the scan or its mask cannot be used, or its time is missing or not after that of the scan before.
        RegistrationError
            If it cannot be brought to overlap the fixed one, or memory runs out.
        CancelledError
            If `cancel` returned true.
        """
        self._check(time)
        drivers = self._drivers if moving_mask is None else replace(self._drivers, moving_mask=moving_mask)
        request = Request(self._fixed, as_image(moving), self._recipe, drivers, self._device, self._seed)
        if self._prepared is None:
            self._prepared = prepare_fixed(request, cancel=cancel)
        if self._last is None:
            result = run_request(request, self._prepared, progress=progress, cancel=cancel)
        else:
            last, expected = self._last, self._expected(time, self._last.transform, cancel)
            last = last if expected is None else replace(last, transform=expected)
            result = follow(Following(request, last), self._prepared, progress=progress, cancel=cancel)
            if expected is not None and FOLLOWED in result.provenance:
                result = replace(result, decisions=(*result.decisions, FORESEEN))
        if result.verdict.level != FAILED:
            self._last = last_of(result, self._last)
            if self._foresight is not None and time is not None:
                self._foresight.see(time, result.transform)
        return result

    def expected(self, time: float) -> Transform | None:
        """Return where the anatomy is expected at a time to come, s of the scans' clock; None where nothing is known.

        What is done to the patient after a delay can be aimed there.

        Raises
        ------
        InputError
            If the time is not after that of the last scan, or the tracker has no foresight.
        """
        if self._foresight is None:
            raise InputError("The tracker has no motion model.", "Give it one (foresight).")
        self._check(time)
        return None if self._last is None else self._expected(time, self._last.transform, None)

    def _check(self, time: float | None) -> None:
        if self._foresight is None:
            return
        if time is None:
            raise InputError("The time of the scan is missing.", "Say when it was taken: the motion model needs it.")
        self._foresight.check(time)

    def _expected(self, time: float | None, last: Transform, cancel: Cancel | None) -> Transform | None:
        if self._foresight is None or time is None:
            return None
        return self._foresight.expected(time, last, poll=poll_of(cancel))


def _plan(drivers: Drivers, recipe: Recipe) -> Last | None:
    """Return a plan with a field as what the first scan goes on from; a linear one is an ordinary start."""
    initial = drivers.initial_transform
    return Last(initial, None, recipe) if initial is not None and has_field(initial) else None
