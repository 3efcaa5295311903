"""`deepreg translate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from DeepRegLib.cli.progress import interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, reading, session
from DeepRegLib.cli.summary import say_verdict
from DeepRegLib.errors import CancelledError

if TYPE_CHECKING:
    from DeepRegLib.translation import Translation


def translate(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Scan to show: a volume file or a DICOM folder.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="A model's name, or the folder of its bundle.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show a scan as another modality would, by a trained network; for registration, not for diagnosis.

    Writes synthetic.nii.gz (0 to 1, on the grid of the scan) and result.json. Its edges are compared with those of the
    scan: what is not in the scan was invented, and the verdict says so.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.translation.saving import expected_bytes, reserved_translation, write_translation_into
        from DeepRegLib.translation.translating import translate_with

        with (
            reporter(screen) as report,
            reserved_translation(output, overwrite=overwrite, inputs=[scan]) as place,
        ):
            report("read", 0.0)
            with reading(screen):
                image = read_image(scan)
            place.require_room(expected_bytes(image))
            with interruptible(screen) as cancel:
                if cancel():
                    raise CancelledError
                result = translate_with(model, image, device=device, progress=report, cancel=cancel)
            report("save", 1.0)
            names = write_translation_into(result, place)
            with undisturbed():
                place.commit(names)
                screen.wrote(output)
        _summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


def _summarise(screen: Session, result: Translation, output: Path, written: list[str]) -> None:
    from DeepRegLib.files.output_folder import RESULT

    if screen.json_output:
        screen.emit_text((output / RESULT).read_text(encoding="utf-8"))
        return
    say_verdict(screen, result.verdict, (), [result.scan.name])
    screen.say(f"Edges run like those of the scan to {result.structure:.0%}.")
    if screen.verbose:
        for decision in result.decisions:
            screen.note(Text(decision, style="dim"))
    screen.say(f"{sum(result.timings.values()):.1f} s. Written to {output}: {', '.join(written)}")
