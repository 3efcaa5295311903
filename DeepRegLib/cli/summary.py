"""What a command says of a result: its measures, its verdict, and where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from DeepRegLib.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from DeepRegLib.result import Measures, Registration, Verdict

VERDICTS = {
    "ok": ("bold green", "OK: no sign of failure was found. Compare the pictures before you rely on it."),
    "check": ("bold yellow", "CHECK: something is unusual. Look at the report before you use this result."),
    "failed": ("bold red", "FAILED: do not use this result."),
}


def summarise(screen: Session, result: Registration, output: Path, written: list[str]) -> None:
    """Print what a result is worth and where it was written; as JSON if that was asked for."""
    from DeepRegLib.files.output_folder import RESULT
    from DeepRegLib.naming import without_folders

    if screen.json_output:
        screen.emit_text((output / RESULT).read_text(encoding="utf-8"))
        return
    names = (result.fixed.name, result.moving.name)
    screen.out.print(_table(result.measures))
    say_verdict(screen, result.verdict, result.warnings, names)
    if screen.verbose:
        for decision in without_folders(result.decisions, names):
            screen.note(Text(decision, style="dim"))
    screen.say(f"{sum(result.timings.values()):.1f} s. Written to {output}: {', '.join(written)}")


def say_verdict(screen: Session, verdict: Verdict, warnings: Sequence[str], names: Sequence[str]) -> None:
    """Print what a verdict says, its reasons and the warnings; scans are named without the folders they lie in."""
    from DeepRegLib.naming import without_folders

    style, words = VERDICTS[verdict.level]
    screen.say(Text(words, style=style))
    for reason in without_folders(verdict.reasons, names):
        screen.say(f"  - {reason}")
    for warning in without_folders(warnings, names):
        screen.warn(warning)


def _table(measures: Measures) -> Table:
    from DeepRegLib.evaluation import mean_dice

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    m = measures
    table.add_row("structure agreement (0 to 1)", _number(m.structure_before), _number(m.structure_after))
    table.add_row("mutual information (1 to 2)", _number(m.nmi_before), _number(m.nmi_after))
    table.add_row("cross correlation (-1 to 1)", _number(m.ncc_before), _number(m.ncc_after))
    if m.dice_before is not None and m.dice_after is not None:
        table.add_row("mean Dice of the labels", _number(mean_dice(m.dice_before)), _number(mean_dice(m.dice_after)))
    if m.tre_after is not None:
        table.add_row("mean landmark error (mm)", _number(m.tre_before, 2), _number(m.tre_after, 2))
    table.add_row("fixed anatomy covered", "", f"{m.overlap:.0%}")
    table.add_row("folded voxels", "", str(m.folds))
    if m.inverse_folds is not None:
        table.add_row("folded voxels of the inverse", "", str(m.inverse_folds))
    table.add_row("volume change", "", f"{_number(m.jacobian_min, 2)} to {_number(m.jacobian_max, 2)}")
    table.add_row("inverse error (mm)", "", f"{_number(m.inverse_error_mean)}, 99 % {_number(m.inverse_error_p99)}")
    return table


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"
