"""Recipe and model files that a scene names: read only after the user was asked.

A scene may come from someone else. Looking whether a file of its choice exists already tells a network share who asks.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

from slicer.i18n import tr as _

from DeepRegLib.errors import RecipeError
from DeepRegLib.panel.parameters import Parameters
from DeepRegLib.panel.recipes import with_choice
from DeepRegLib.recipes import AUTO, Recipe, load_recipe, models_of, recipe_names

PATH_SIGNS = ("/", "\\", ":")

Stamp = tuple[int, ...] | None


class Sources:
    """Which files may be read."""

    def __init__(self) -> None:
        self._unasked: set[str] = set()
        self._allowed: set[str] = set()
        self._of_scenes: set[str] = set()
        self._read: dict[str, tuple[Stamp, Recipe]] = {}

    def named_by_scene(self, parameters: Parameters) -> None:
        """Take note that parameters came with a scene: what they name is asked about, unless the user named it too."""
        if parameters.recipe not in recipe_names():
            self._distrust(parameters.recipe)
        self._distrust_model(parameters.model)

    def allow(self, source: str) -> None:
        """Take note that the user chose, or agreed to, a file."""
        self._allowed.add(source)
        self._unasked.discard(source)

    def may_read(self, source: str) -> bool:
        """Return whether a file may be looked at."""
        return source not in self._unasked

    def load(self, source: str) -> Recipe:
        """Return a recipe.

        Raises
        ------
        RecipeError
            If there is none, or the user was not asked yet.
        """
        if not self.may_read(source):
            raise RecipeError(
                _("The scene names the recipe file {path}, which has not been read.").format(path=source),
                _("Press Register to be asked about it, or choose another recipe."),
            )
        recipe = self._read_once(source)
        if source in self._of_scenes:
            for name in models_of(recipe):
                self._distrust_model(name)
        return recipe

    def glance(self, source: str) -> Recipe:
        """Return a recipe, or another in place of one that must not be read yet, to look at all that is beside it."""
        return self.load(source if self.may_read(source) else AUTO)

    def agreed(self, parameters: Parameters, ask: Callable[[str], bool]) -> bool:
        """Ask about each file that the parameters lead to; return whether all of them may be read."""
        source = self._next(parameters)
        while source is not None:
            if not ask(_question(source)):
                return False
            self.allow(source)
            source = self._next(parameters)
        return True

    def _read_once(self, source: str) -> Recipe:
        """Return a recipe without reading it again, for it is asked for at each change of the panel."""
        stamp = _stamp(source)
        known = self._read.get(source)
        if known is None or stamp is None or known[0] != stamp:
            self._read.pop(source, None)
            known = self._read[source] = (stamp, load_recipe(source))
        return known[1]

    def _next(self, parameters: Parameters) -> str | None:
        if not self.may_read(parameters.recipe):
            return parameters.recipe
        recipe = with_choice(self.load(parameters.recipe), parameters.model)
        return next((model for model in models_of(recipe) if not self.may_read(model)), None)

    def _distrust(self, source: str) -> None:
        self._of_scenes.add(source)
        if source not in self._allowed:
            self._unasked.add(source)

    def _distrust_model(self, name: str) -> None:
        if any(sign in name for sign in PATH_SIGNS):
            self._distrust(name)


def _stamp(source: str) -> Stamp:
    """Return what changes when a recipe's file does; None where there is no such file."""
    if source in recipe_names():
        return ()
    try:
        found = Path(source).stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _question(source: str) -> str:
    told = _("The scene names this file or folder, which someone else may have chosen:")
    return f"<p>{html.escape(told)}</p><p>{html.escape(source)}</p><p>{html.escape(_('Read it?'))}</p>"
