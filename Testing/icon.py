"""Draw the module's icon: two outlines of one organ, red and cyan, coming together.

    python -m Testing.icon

writes `DeepReg/Resources/Icons/DeepReg.png`. It looks like the panel's red/cyan comparison: what only one scan has is
coloured, what both have is white. No text and no thin line, so that it is legible at 16 to 32 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from Testing.packaging import ROOT

PLACE = ROOT / "DeepReg" / "Resources" / "Icons" / "DeepReg.png"
SIDE = 128
RED, CYAN, BOTH, EDGE = "#e5383b", "#00a7c4", "#ffffff", "#1f2933"
EDGE_WIDTH = 5.0  # pixels


def organ() -> Outline:
    """Return a closed outline about the origin, of about unit radius: a kidney, rounder at the top."""
    angle = np.linspace(0, 2 * np.pi, 181)
    notch = np.exp(-((np.abs(angle - np.pi) / 0.55) ** 2))
    radius = 1.0 - 0.34 * notch + 0.06 * np.sin(angle)
    points = np.column_stack([0.86 * radius * np.cos(angle), 1.05 * radius * np.sin(angle)])
    return Outline(points - points.mean(axis=0), closed=True)


def draw(path: Path, side: int = SIDE) -> None:
    """Write the icon as a PNG file with a transparent background."""
    figure = Figure(figsize=(1, 1), dpi=side)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, SIDE), ylim=(0, SIDE))
    fixed = organ().transformed(Affine2D().scale(53).rotate_deg(8).translate(51, 61))
    moving = organ().transformed(Affine2D().scale(53).rotate_deg(-14).translate(80, 66))
    for outline, colour in ((moving, CYAN), (fixed, RED)):
        axes.add_patch(PathPatch(outline, facecolor=colour, edgecolor="none"))
    overlap = PathPatch(moving, facecolor=BOTH, edgecolor="none")
    axes.add_patch(overlap)
    overlap.set_clip_path(fixed, transform=axes.transData)
    width = EDGE_WIDTH * 72 / SIDE
    for outline in (moving, fixed):
        axes.add_patch(PathPatch(outline, facecolor="none", edgecolor=EDGE, linewidth=width, joinstyle="round"))
    figure.savefig(path, dpi=side, transparent=True, metadata={"Software": None})


if __name__ == "__main__":
    draw(PLACE)
