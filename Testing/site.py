"""Build the documentation as a site, in `site/`.

    python -m Testing.site

writes the two pages that follow from the code (recipes and command line), then has zensical build all of `docs/`. A
warning is an error. Nothing is fetched, and the pages fetch nothing: they open from a folder without a network.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import typer

from DeepRegLib.cli.app import PROGRAM
from DeepRegLib.cli.app import program as whole_program
from DeepRegLib.recipes import Recipe, load_recipe, model, recipe_names
from DeepRegLib.recipes.loading import FOLDER

ROOT = Path(__file__).resolve().parent.parent
REFERENCE, IMAGES = ROOT / "docs" / "reference", ROOT / "docs" / "images" / "screenshots"
SCREENSHOTS = ROOT / "Resources" / "Screenshots"  # where the extensions index looks for them
CONSTANT = re.compile(r"`([A-Z_]{3,})`")
PARAMETER = re.compile(r"^(?P<names>\w+(?:, \w+)*)\n(?P<text>(?:(?:    .*)?\n)+)", re.MULTILINE)


def main() -> int:
    """Write the generated pages and build the site; return the builder's exit code."""
    for name, text in {"recipes.md": recipes_page(), "cli.md": command_line_page()}.items():
        (REFERENCE / name).write_text(text, encoding="utf-8", newline="\n")
    IMAGES.mkdir(exist_ok=True)
    for picture in SCREENSHOTS.glob("*.png"):
        shutil.copy(picture, IMAGES)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


# --- recipes --------------------------------------------------------------------------------------------------------


def recipes_page() -> str:
    """Return the page of the shipped recipes and of what each key means."""
    parts = [
        "# Recipes\n\nA recipe says which stages run, and with what. `deepreg register --recipe NAME` and "
        '`register(..., recipe="NAME")` take these by name, or a TOML file of your own: '
        "see [a recipe of your own](../how-to/recipes.md).\n"
    ]
    parts += [f"## {name}\n\n{load_recipe(name).purpose}\n\n```toml\n{_toml(name)}```\n" for name in recipe_names()]
    parts.append(
        "## What the keys mean\n\nA key that a file leaves out has its default. `deepreg recipes NAME` prints a recipe "
        "with every key.\n"
    )
    parts += [f"### `[{table}]`\n\n{_keys_of(kind)}" for table, kind in _tables()]
    return "\n".join(parts)


def _toml(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def _tables() -> Iterator[tuple[str, type]]:
    hints = get_type_hints(Recipe)
    yield from ((item.name, hints[item.name]) for item in fields(Recipe) if is_dataclass(hints[item.name]))


def _keys_of(kind: type) -> str:
    summary, meaning = described(kind)
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for item in fields(kind):
        default = item.default if item.default is not MISSING else "-"
        rows.append(f"| `{item.name}` | `{_cell(default)}` | {_cell(meaning[item.name])} |")
    return f"{summary}\n\n" + "\n".join(rows) + "\n"


def described(kind: type) -> tuple[str, dict[str, str]]:
    """Return the first sentences of a class's docstring, and what it says of each parameter."""
    text = inspect.cleandoc(kind.__doc__ or "") + "\n"
    summary, _, parameters = text.partition("Parameters\n----------\n")
    meaning = {}
    for match in PARAMETER.finditer(parameters):
        for name in match["names"].split(", "):
            meaning[name] = CONSTANT.sub(_listed, " ".join(match["text"].split()))
    return summary.strip(), meaning


def _listed(constant: re.Match[str]) -> str:
    return ", ".join(f'`"{value}"`' for value in getattr(model, constant[1]))


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, bool):
        value = str(value).lower()
    text = '""' if value == "" else str(value)
    return re.sub(r"``?([^`]+)``?", r"`\1`", text).replace("|", "\\|").replace("`\\|`", "|")


# --- the command line -----------------------------------------------------------------------------------------------


def command_line_page() -> str:
    """Return the page of every command, its arguments and its options."""
    program = typer.main.get_command(whole_program())
    parts = [f"# Command line\n\n{program.help}\n\n{program.epilog}\n"]
    parts += [_command_section(f"{PROGRAM} {words}", command) for words, command in commands_of(program)]
    return "\n".join(parts)


def commands_of(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command with the words that call it, groups opened."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _command_section(words: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join([words, *(_argument(one) for one in arguments), "[OPTIONS]"])
    lines = [f"## {words}", "", f"    {usage}", "", inspect.cleandoc(command.help or ""), ""]
    lines += [f"- `{_argument(one)}`: {one.help}" for one in arguments if one.help]
    lines += ["", "| option | | |", "|---|---|---|"]
    for one in options:
        names = ", ".join(f"`{name}`" for name in [*one.opts, *one.secondary_opts])
        value = "" if one.is_flag else f"`{one.metavar or _value_name(one)}`"
        lines.append(f"| {names} | {value} | {_cell(one.help or '')}{_default(one)} |")
    return "\n".join(lines) + "\n"


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    name = f"{name}..." if parameter.nargs == -1 else name
    return name if parameter.required else f"[{name}]"


def _value_name(option: Any) -> str:
    return max(option.opts, key=len).lstrip("-").replace("-", "_").upper()


def _default(parameter: Any) -> str:
    if parameter.is_flag or parameter.required or parameter.default in (None, "", ()):
        return ""
    return f" Default: `{parameter.default}`."


if __name__ == "__main__":
    sys.exit(main())
