"""`deepreg view`, and the viewer that `deepreg register --viewer` writes."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.session import Json, Verbose, reading, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.result import Registration
    from DeepRegLib.viewer import Shown


def view(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that deepreg register wrote.")],
    fixed: Annotated[
        Path | None, typer.Argument(metavar="[FIXED", help="The scans, where OUT has no viewer yet.")
    ] = None,
    moving: Annotated[Path | None, typer.Argument(metavar="MOVING]", help="See FIXED.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Open the viewer of a result in the browser: linked slices and a 3-D view with sliders, offline.

    deepreg register --viewer writes it as viewer.html. Where a result has none, give its two scans, and it is made.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.saving import OUTPUT_FILES

        path = output / OUTPUT_FILES["viewer"]
        if fixed is not None and moving is not None:
            require_viewer()
            from DeepRegLib.viewer import write_viewer

            with reading(screen):
                shown = _shown(output, fixed, moving)
            write_viewer(shown, path)
            screen.wrote(path)
        elif fixed is not None or not path.is_file():
            raise InputError(
                f"There is no viewer in {output}.",
                "Give both scans that were registered after it, or register again with --viewer.",
            )
        if not json_output:
            webbrowser.open(path.absolute().as_uri())
        screen.say(f"Opened {path}")
        screen.emit({"viewer": str(path)})


def require_viewer() -> None:
    """Make sure, before anything is computed, that a viewer can be written.

    Raises
    ------
    DeepRegError
        If ipyniivue is not installed, or in a version that is not known.
    """
    from DeepRegLib.viewer.niivue import niivue_script

    niivue_script()


def viewer_file(result: Registration, folder: Path) -> dict[str, str]:
    """Write the viewer of a result into a folder and return its name, as `DeepRegLib.saving.FurtherFiles` do."""
    from DeepRegLib.saving import OUTPUT_FILES
    from DeepRegLib.viewer import shown_of, write_viewer

    write_viewer(shown_of(result), folder / OUTPUT_FILES["viewer"])
    return {"viewer": OUTPUT_FILES["viewer"]}


def _shown(output: Path, fixed: Path, moving: Path) -> Shown:
    """Read from a folder and from its scans what a viewer shows."""
    from DeepRegLib.image import read_image
    from DeepRegLib.saved_result import read_result, read_result_image
    from DeepRegLib.viewer import Shown

    result, scans = read_result(output), (read_image(fixed), read_image(moving))
    result.record.require_scans(*scans)
    warped, labels, trust = (read_result_image(output, name) for name in ("warped", "warped_labels", "trust"))
    if warped is None:
        raise InputError(f"The result in {output} has no warped image.", "Register the scans again.")
    return Shown(*scans, warped, result.record.verdict, result.record.recipe.name, labels, trust)
