"""Requests of tests, written in one line."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from DeepRegLib.image import Image
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.request import Drivers, Extras, Request


def request_of(fixed: Image, moving: Image, recipe: Recipe | str = "auto", **given: Any) -> Request:
    """Return a request; what is given by name goes where it belongs, to the drivers, the extras or the request."""
    drivers, extras = (
        {each.name: given.pop(each.name) for each in fields(kind) if each.name in given} for kind in (Drivers, Extras)
    )
    return Request(fixed, moving, load_recipe(recipe), Drivers(**drivers), extras=Extras(**extras), **given)
