"""Draw the icons of the panel's buttons and cards.

    python -m Testing.panel_icons

writes them to `DeepReg/Resources/Icons`. Each is a disc with a white sign, or a white sign alone for the blue button,
so that it can be seen on Slicer's light and dark style; the colours are the panel's.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle

from Testing.packaging import ROOT

FOLDER = ROOT / "DeepReg" / "Resources" / "Icons"
APPEARANCE = ROOT / "DeepRegLib" / "panel" / "appearance.py"
SIDE = 64
LINE = 8.0  # of SIDE
INFO_COLOUR = "#1565c0"
STOP_COLOUR = "#d9484f"


def main() -> None:
    """Write all icons."""
    for name, (colour, sign) in icons().items():
        draw(FOLDER / f"{name}.png", colour, sign)


def icons() -> dict[str, tuple[str | None, Callable[[Axes], None]]]:
    """Return the colour of the disc (None for no disc) and the sign of each icon by its name."""
    ok, check, failed, earlier = (
        colours()[name] for name in ("COLOURS.OK", "COLOURS.CHECK", "COLOURS.FAILED", "EARLIER_COLOUR")
    )
    return {
        "VerdictOk": (ok, tick),
        "VerdictCheck": (check, exclamation),
        "VerdictFailed": (failed, cross),
        "VerdictEarlier": (earlier, dash),
        "Info": (INFO_COLOUR, letter_i),
        "Cancel": (STOP_COLOUR, square),
        "Register": (None, onto_each_other),
    }


def colours() -> dict[str, str]:
    """Return the colours that the panel names, read from its source: it imports Qt, which this does not need."""
    found = {}
    for node in ast.parse(APPEARANCE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
            if isinstance(value, ast.Dict):
                for key, each in zip(value.keys, value.values, strict=True):
                    found[f"{name}.{ast.unparse(key)}"] = ast.literal_eval(each)
            elif isinstance(value, ast.Constant):
                found[name] = value.value
    return found


def draw(path: Path, colour: str | None, sign: Callable[[Axes], None]) -> None:
    """Write an icon as a PNG file with a transparent background."""
    figure = Figure(figsize=(1, 1), dpi=SIDE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, SIDE), ylim=(0, SIDE))
    if colour is not None:
        axes.add_patch(Circle((SIDE / 2, SIDE / 2), SIDE / 2 - 2, facecolor=colour, edgecolor="none"))
    sign(axes)
    figure.savefig(path, dpi=SIDE, transparent=True, metadata={"Software": None})


def stroke(axes: Axes, x: list[float], y: list[float]) -> None:
    """Draw a white line through points."""
    axes.plot(x, y, color="white", linewidth=LINE * 72 / SIDE, solid_capstyle="round", solid_joinstyle="round")


def tick(axes: Axes) -> None:
    """Draw a tick."""
    stroke(axes, [18, 28, 46], [32, 22, 43])


def exclamation(axes: Axes) -> None:
    """Draw an exclamation mark."""
    stroke(axes, [32, 32], [48, 30])
    axes.add_patch(Circle((32, 17), 4.5, facecolor="white"))


def cross(axes: Axes) -> None:
    """Draw a cross."""
    stroke(axes, [21, 43], [21, 43])
    stroke(axes, [21, 43], [43, 21])


def dash(axes: Axes) -> None:
    """Draw a dash."""
    stroke(axes, [19, 45], [32, 32])


def letter_i(axes: Axes) -> None:
    """Draw an i."""
    stroke(axes, [32, 32], [16, 34])
    axes.add_patch(Circle((32, 47), 4.8, facecolor="white"))


def square(axes: Axes) -> None:
    """Draw a square: stop."""
    axes.add_patch(Rectangle((22, 22), 20, 20, facecolor="white"))


def onto_each_other(axes: Axes) -> None:
    """Draw one frame that moves onto another."""
    axes.add_patch(Rectangle((30, 8), 26, 26, facecolor="none", edgecolor="white", linewidth=4.5 * 72 / SIDE))
    axes.add_patch(Rectangle((6, 32), 24, 24, facecolor="white", edgecolor="white"))
    stroke(axes, [30, 42], [32, 20])
    axes.add_patch(Polygon([(48, 13), (47, 26), (35, 14)], facecolor="white"))


if __name__ == "__main__":
    main()
