"""`deepreg recipes` and `deepreg doctor`: what there is, and whether it works here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, one_line, session
from DeepRegLib.errors import DeepRegError

Finding = dict[str, Any]

TOLERANCE = 1e-2  # mm, far above rounding, far below what would matter
EXTRAS = {
    "jinja2": "report",
    "pillow": "report",
    "typer": "cli",
    "rich": "cli",
    "safetensors": "model",
    "tensorboard": "train",
}


def recipes(
    name: Annotated[str | None, typer.Argument(help="Name or TOML file of the recipe to print.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """List the recipes, or print one as TOML, every key included: a start for one of your own."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.recipes import load_recipe, recipe_names, recipe_to_dict, recipe_to_toml

        if name is not None:
            recipe = load_recipe(name)
            screen.emit(recipe_to_dict(recipe))
            screen.say(recipe_to_toml(recipe).rstrip("\n"))
            return
        purposes = {known: load_recipe(known).purpose for known in recipe_names()}
        screen.emit(purposes)
        if not screen.json_output:
            table = Table.grid(padding=(0, 2))
            for known, purpose in purposes.items():
                table.add_row(Text(known, style="bold"), Text(purpose))
            screen.out.print(table)


def doctor(
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Also time each stage of a registration on each device; minutes.")
    ] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say what is installed, which devices there are, and whether each computes what the CPU computes."""
    with session(json_output, verbose) as screen:
        checks: dict[str, dict[str, Any]] = {
            "versions": _versions(),
            "extras": _extras(),
            "recipes": _recipes(),
            "devices": _devices(),
        }
        healthy = all(check["ok"] for group in ("recipes", "devices") for check in checks[group].values())
        timed = _benchmark(checks["devices"], screen) if benchmark else {}
        healthy &= all(each["ok"] for each in timed.values())
        screen.emit({**checks, **({"benchmark": timed} if benchmark else {}), "ok": healthy})
        if not screen.json_output:
            _show(screen, checks)
            _show_benchmark(screen, timed)
        if not healthy:
            raise typer.Exit(FAILED)


def _versions() -> dict[str, str]:
    import platform

    from DeepRegLib.versions import versions

    return versions() | {"platform": platform.platform()}


def _extras() -> dict[str, Finding]:
    return {package: _extra(package, extra) for package, extra in EXTRAS.items()}


def _extra(package: str, extra: str) -> Finding:
    try:
        return {"ok": True, "detail": version(package)}
    except PackageNotFoundError:
        return {"ok": False, "detail": f'pip install "slicer-deepreg[{extra}]"'}


def _recipes() -> dict[str, Finding]:
    from DeepRegLib.recipes import recipe_names

    return {name: _recipe(name) for name in recipe_names()}


def _recipe(name: str) -> Finding:
    from DeepRegLib.recipes import load_recipe

    try:
        load_recipe(name)
    except DeepRegError as error:
        return {"ok": False, "detail": str(error)}
    return {"ok": True, "detail": ""}


def _devices() -> dict[str, Finding]:
    from DeepRegLib.devices import available_devices

    return {name: _device(name) for name in available_devices()}


def _device(name: str) -> Finding:
    from DeepRegLib.cli.hardware import device_name, kernel_difference
    from DeepRegLib.devices import free_memory

    finding: Finding = {"name": name, "free_bytes": None, "difference_mm": None}
    try:
        finding |= {"name": device_name(name), "free_bytes": free_memory(name)}
        difference = kernel_difference(name)
        return finding | {"ok": difference < TOLERANCE, "difference_mm": difference}
    except Exception as error:  # noqa: BLE001  # whatever a driver throws is the finding
        return finding | {"ok": False, "error": one_line(str(error))[:200]}


def _benchmark(devices: dict[str, Finding], screen: Session) -> dict[str, Finding]:
    """Time the devices that compute rightly; their seconds by stage and how far they are from the CPU, in mm."""
    from DeepRegLib.cli.benchmarking import answered_on, benchmark_pair, benchmark_recipe, timed_on
    from DeepRegLib.cli.progress import reporter

    with reporter(screen) as report:
        working = [name for name, device in devices.items() if device["ok"]]
        pair = benchmark_pair()
        timed, answered = timed_on(working, pair, benchmark_recipe(), report), answered_on(working, pair)
    return {
        name: {
            "ok": each.agrees,
            "name": devices[name]["name"],
            "seconds": dict(each.seconds),
            "mean_difference_mm": each.mean,
            "largest_difference_mm": each.largest,
            "network": asdict(answered[name]) if answered else None,
        }
        for name, each in timed.items()
    }


def _show(screen: Session, checks: dict[str, dict[str, Any]]) -> None:
    for name, value in checks["versions"].items():
        screen.say(_line(None, name, value))
    for name, extra in checks["extras"].items():
        screen.say(_line(extra["ok"], name, extra["detail"], bad="missing"))
    broken = {name: recipe for name, recipe in checks["recipes"].items() if not recipe["ok"]}
    for name, recipe in broken.items():
        screen.say(_line(False, f"recipe {name}", recipe["detail"]))
    if not broken:
        screen.say(_line(True, "recipes", f"{len(checks['recipes'])} can be loaded"))
    for name, device in checks["devices"].items():
        free = "unknown" if device["free_bytes"] is None else f"{device['free_bytes'] / 1e9:.1f} GB"
        outcome = device.get("error") or f"differs from the CPU by {device['difference_mm']:.1e} mm"
        detail = f"{device['name']}; free memory {free}"
        screen.say(_line(device["ok"], name, detail if name == "cpu" and device["ok"] else f"{detail}; {outcome}"))


def _show_benchmark(screen: Session, timed: dict[str, Finding]) -> None:
    """Show the seconds as a Markdown table, for an issue report."""
    if not timed:
        return
    reference = timed["cpu"]["seconds"]
    stages = [stage for stage in reference if all(stage in each["seconds"] for each in timed.values())]
    rows = [["stage", *(f"{name} ({each['name']})" for name, each in timed.items())], ["---"] * (1 + len(timed))]
    rows += [[stage, *(_seconds([stage], each["seconds"], reference) for each in timed.values())] for stage in stages]
    rows.append(["all", *(_seconds(stages, each["seconds"], reference) for each in timed.values())])
    rows.append(["differs from the CPU, mean", *(f"{each['mean_difference_mm']:.1e} mm" for each in timed.values())])
    rows.append(["differs at most", *(f"{each['largest_difference_mm']:.1e} mm" for each in timed.values())])
    rows += _network_rows(timed)
    rows.append(["agrees", *("yes" if each["ok"] else "no" for each in timed.values())])
    screen.say("")
    for row in rows:
        screen.say("| " + " | ".join(row) + " |")


def _network_rows(timed: dict[str, Finding]) -> list[list[str]]:
    """Return what the network took and how far its answers lie from the CPU's; no rows where none is installed."""
    answers = [each["network"] for each in timed.values()]
    if None in answers:
        return []
    spent = {name: {"": each["network"]["seconds"]} for name, each in timed.items()}
    return [
        ["an answer of the network", *(_seconds([""], each, spent["cpu"]) for each in spent.values())],
        ["its field differs, mean", *(f"{answer['mean']:.1e} mm" for answer in answers)],
    ]


def _seconds(stages: Sequence[str], seconds: Mapping[str, float], reference: Mapping[str, float]) -> str:
    spent, expected = (sum(each[stage] for stage in stages) for each in (seconds, reference))
    return f"{spent:.3f} s" if seconds is reference else f"{spent:.3f} s ({expected / max(spent, 1e-9):.1f} x as fast)"


def _line(ok: bool | None, name: str, detail: str, bad: str = "failed") -> Text:
    mark = {None: ("       ", ""), True: ("ok     ", "green"), False: (f"{bad:<7}", "red")}[ok]
    return Text.assemble(mark, " ", (f"{name:<12}", "bold"), " ", detail)
