"""The plot: seconds by size for both pairs, by stage beside the floor, memory by size, seconds by cores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from Testing.benchmarks.scaling.page import BRAIN, CT, GRID_LIMIT, LIMIT_GB, STAGES, Scaling

Point = tuple[float, float | None, bool]  # where, what, and whether the machine had other things to do
# Okabe and Ito's colours, which colour-blind readers can tell apart, with a dark red for their yellow, pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255", "#999933")

# Seconds; a stage that takes less, such as a model that was not asked, would only stretch the logarithmic axis.
NOTHING_DONE = 0.01


def draw(scaling: Scaling, path: Path) -> None:
    """Write the plot as SVG; the same numbers give the same file."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    _seconds(scaling, panels[0, 0])
    _stages(scaling, panels[0, 1])
    _memory(scaling, panels[1, 0])
    _cores(scaling, panels[1, 1])
    figure.supxlabel("open marks: the machine had other things to do", fontsize="small", x=0.98, ha="right")
    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _seconds(scaling: Scaling, axes: Axes) -> None:
    axes.set(title="The whole registration", ylabel="seconds")
    for role, colour in zip((BRAIN, CT), COLOURS, strict=False):
        _line(axes, _by_size(scaling, role, "register"), colour, role)
    _logarithmic(axes)
    _sizes(scaling, axes)


def _stages(scaling: Scaling, axes: Axes) -> None:
    axes.set(title=f"Its stages, {BRAIN}", ylabel="seconds")
    for stage, colour in zip(STAGES, COLOURS, strict=True):
        points = [
            (size, seconds if seconds and seconds >= NOTHING_DONE else None, loaded)
            for size, seconds, loaded in _by_size(scaling, BRAIN, stage)
        ]
        _line(axes, points, colour, stage, width=2.5 if stage == "deformable" else 1)
    floors = [(run.size**3, scaling.floor(run), False) for run in scaling.runs(BRAIN)]
    _line(axes, floors, "gray", "floor of deformable", style="--")
    axes.axvline(GRID_LIMIT, color="gray", linestyle=":", linewidth=1, label=f"{GRID_LIMIT / 1e6:g} million voxels")
    _logarithmic(axes)
    _sizes(scaling, axes)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def _memory(scaling: Scaling, axes: Axes) -> None:
    axes.set(title="Peak memory of the process", ylabel="GB")
    for role, colour in zip((BRAIN, CT), COLOURS, strict=False):
        points = [(run.size**3, scaling.memory(run), False) for run in scaling.runs(role)]
        _line(axes, points, colour, role)
    axes.axhline(LIMIT_GB, color="gray", linestyle="--", linewidth=1, label=f"limit for {CT}")
    axes.set_ylim(bottom=0)
    _sizes(scaling, axes)


def _cores(scaling: Scaling, axes: Axes) -> None:
    runs = scaling.runs(BRAIN, cores=True)
    size = f", {runs[0].size}³" if runs else ""
    axes.set(title=f"Cores, {BRAIN}{size}", xlabel="cores", ylabel="seconds")
    for stage, colour, name in (("register", COLOURS[0], "all"), ("deformable", COLOURS[1], "deformable")):
        points = [(run.threads, scaling.seconds(run, stage), scaling.is_loaded(run)) for run in runs]
        _line(axes, points, colour, name)
    alone = scaling.seconds(runs[0]) if runs and runs[0].threads == 1 else None
    if alone is not None:
        _line(
            axes,
            [(run.threads, alone / run.threads, False) for run in runs],
            "gray",
            "all, divided by cores",
            style=":",
        )
    floors = [(run.threads, scaling.floor(run), False) for run in runs]
    _line(axes, floors, "gray", "floor of deformable", style="--")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks([run.threads for run in runs], [str(run.threads) for run in runs])
    axes.set_ylim(bottom=0)
    _explain(axes)


def _by_size(scaling: Scaling, role: str, stage: str) -> list[Point]:
    return [(run.size**3, scaling.seconds(run, stage), scaling.is_loaded(run)) for run in scaling.runs(role)]


def _line(
    axes: Axes, points: Sequence[Point], colour: str, label: str, *, style: str = "-", width: float = 1.5
) -> None:
    known = [(x, y, loaded) for x, y, loaded in points if y is not None]
    if not known:
        return
    x, y, loaded = zip(*known, strict=True)
    axes.plot(x, y, color=colour, linestyle=style, linewidth=width, label=label)
    if style == "-":
        axes.scatter(
            x, y, s=18, edgecolors=colour, facecolors=["white" if open_ else colour for open_ in loaded], zorder=3
        )


def _sizes(scaling: Scaling, axes: Axes) -> None:
    sizes = sorted({run.size for role in (BRAIN, CT) for run in scaling.runs(role)})
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([size**3 for size in sizes], [f"{size}³" for size in sizes])
    axes.set_xlabel("voxels")
    _explain(axes)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _explain(axes: Axes) -> None:
    axes.grid(visible=True, linewidth=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
