"""Change a recipe in code, keep it as a file, and run that.

python examples/05_recipe.py FIXED MOVING OUT [RECIPE]
"""

import sys
from dataclasses import replace
from pathlib import Path

from DeepRegLib import load_recipe, register
from DeepRegLib.recipes import recipe_to_toml


def main(fixed: str, moving: str, out: str, recipe: str = "fast") -> None:
    """Write OUT/smooth.toml, a smoother variant of a recipe, and register with it."""
    base = load_recipe(recipe)
    smooth = replace(base, name="smooth", deformable=replace(base.deformable, smooth_field=0.8))

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "smooth.toml"
    file.write_text(recipe_to_toml(smooth), encoding="utf-8")

    for name in (recipe, file):
        result = register(fixed, moving, recipe=name)
        print(f"{result.recipe.name}: spread of log volume change {result.measures.log_jacobian_sd:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
