"""DeepReg: registration of medical images, rigid to deformable, with an inverse and a verdict beside every transform.

    from DeepRegLib import read_image, register

    result = register(read_image("fixed.nii.gz"), read_image("moving.nii.gz"))
    print(result.verdict, result.measures, result.warnings)
    result.save("out")

Importing this package costs nothing: what a name needs (torch for `register`) is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from DeepRegLib.errors import DeepRegError
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.image import Image, read_image, write_image
    from DeepRegLib.pipeline import register
    from DeepRegLib.recipes import Recipe, load_recipe
    from DeepRegLib.registration import Registration
    from DeepRegLib.series.registering import register_series
    from DeepRegLib.transforms import (
        Transform,
        apply_to_image,
        apply_to_labels,
        compose,
        invert,
        jacobian_determinant,
        read_transform,
        write_transform,
    )

    __version__: str

__all__ = [
    "DeepRegError",
    "Geometry",
    "Image",
    "Recipe",
    "Registration",
    "Transform",
    "__version__",
    "apply_to_image",
    "apply_to_labels",
    "compose",
    "invert",
    "jacobian_determinant",
    "load_recipe",
    "read_image",
    "read_transform",
    "register",
    "register_series",
    "write_image",
    "write_transform",
]

_HOMES = {
    "DeepRegError": "errors",
    "Geometry": "geometry",
    "Image": "image",
    "Recipe": "recipes",
    "Registration": "registration",
    "Transform": "transforms",
    "apply_to_image": "transforms",
    "apply_to_labels": "transforms",
    "compose": "transforms",
    "invert": "transforms",
    "jacobian_determinant": "transforms",
    "load_recipe": "recipes",
    "read_image": "image",
    "read_transform": "transforms",
    "register": "pipeline",
    "register_series": "series.registering",
    "write_image": "image",
    "write_transform": "transforms",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("DeepRegLib.version").VERSION
    elif name in _HOMES:
        value = getattr(import_module(f"DeepRegLib.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
