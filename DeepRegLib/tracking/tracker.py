"""Tracker: a fixed scan prepared once, and one scan after another registered to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from DeepRegLib.image import Image, as_image
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.pipeline import prepare_fixed, run_request
from DeepRegLib.preparation import PreparedScan
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.registration import Registration
from DeepRegLib.request import Drivers, Request
from DeepRegLib.result import FAILED
from DeepRegLib.tracking.following import follow
from DeepRegLib.tracking.request import Following, Last, last_of
from DeepRegLib.transforms import has_field

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
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self._fixed = as_image(fixed)
        self._recipe = load_recipe(recipe)
        self._drivers = drivers
        self._device, self._seed = device, seed
        self._prepared: PreparedScan | None = None
        self._last = _plan(drivers, self._recipe)

    def register(
        self,
        moving: Image | str | Path,
        moving_mask: Image | None = None,
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Registration:
        """Register the next scan; a result that failed is returned, but not followed.

        Raises
        ------
        InputError
            If the scan or its mask cannot be used.
        RegistrationError
            If it cannot be brought to overlap the fixed one, or memory runs out.
        CancelledError
            If `cancel` returned true.
        """
        drivers = self._drivers if moving_mask is None else replace(self._drivers, moving_mask=moving_mask)
        request = Request(self._fixed, as_image(moving), self._recipe, drivers, self._device, self._seed)
        if self._prepared is None:
            self._prepared = prepare_fixed(request, cancel=cancel)
        if self._last is None:
            result = run_request(request, self._prepared, progress=progress, cancel=cancel)
        else:
            result = follow(Following(request, self._last), self._prepared, progress=progress, cancel=cancel)
        if result.verdict.level != FAILED:
            self._last = last_of(result, self._last)
        return result


def _plan(drivers: Drivers, recipe: Recipe) -> Last | None:
    """Return a plan with a field as what the first scan goes on from; a linear one is an ordinary start."""
    initial = drivers.initial_transform
    return Last(initial, None, recipe) if initial is not None and has_field(initial) else None
