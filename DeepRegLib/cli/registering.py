"""`deepreg register`."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.progress import Reporter, interruptible, reporter, undisturbed
from DeepRegLib.cli.session import FAILED, Json, Session, Verbose, one_line, reading, session
from DeepRegLib.cli.summary import summarise
from DeepRegLib.cli.viewing import require_viewer, viewer_file
from DeepRegLib.errors import CancelledError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from DeepRegLib.cli.label_files import LabelFiles
    from DeepRegLib.exporting import DicomExport
    from DeepRegLib.image import Image
    from DeepRegLib.recipes import Recipe
    from DeepRegLib.request import Request
    from DeepRegLib.result import Registration
    from DeepRegLib.saving import FurtherFiles
    from DeepRegLib.transforms import Transform

LOCAL = "local"

Mask = Annotated[Path | None, typer.Option(help="Nonzero where the image counts; on the image's own grid.")]
Points = Annotated[Path | None, typer.Option(help="Points in the same order on both: .csv (LPS mm), .fcsv, .mrk.json.")]
Labels = Annotated[Path | None, typer.Option(help="Label map on the image's own grid, SEG or RTSTRUCT.")]


def register(
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="Scan that stays: a volume file or a DICOM folder.")],
    moving: Annotated[
        Path, typer.Argument(metavar="MOVING", help="Scan that is brought onto it: a volume file or a DICOM folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    recipe: Annotated[
        str, typer.Option(help="Name of a shipped recipe, or a TOML file; see deepreg recipes.")
    ] = "auto",
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model to ask for a first field, or its folder.")
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Also write uncertainty.nii.gz: how far the model's answers differ, mm."),
    ] = False,
    fixed_mask: Mask = None,
    moving_mask: Mask = None,
    sliding_mask: Annotated[
        Path | None,
        typer.Option(help="Nonzero in an organ that slides along what surrounds it; on the fixed image's grid."),
    ] = None,
    rigid_labels: Annotated[
        Path | None,
        typer.Option(help="Segments that move but do not bend, such as bones and tools; on the fixed image's grid."),
    ] = None,
    fixed_landmarks: Points = None,
    moving_landmarks: Points = None,
    initial_transform: Annotated[
        Path | None, typer.Option(help="Where to start: fixed points to moving points; files as for deepreg apply.")
    ] = None,
    moving_labels: Labels = None,
    fixed_labels: Labels = None,
    background: Annotated[
        float | None,
        typer.Option(metavar="VALUE", help="Value of warped.nii.gz where the moving scan does not reach."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is sampled at random.")] = 0,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help='Run in a worker process started by this command, such as "ssh host python3 -m '
            'DeepRegLib.engine.worker", or by "local"; by default in this process.',
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What the result and the report call the two scans, instead of their file names; DICOM folders, "
            "which often bear a patient's name, are left out anyway.",
        ),
    ] = None,
    moving_dose: Annotated[
        Path | None, typer.Option(help="RTDOSE of the moving scan, carried over and written by --dicom.")
    ] = None,
    dicom: Annotated[
        bool,
        typer.Option(
            "--dicom",
            help="Also write DICOM objects that refer to both series: registration.dcm, of labels segmentation.dcm and "
            "structures.dcm, of a dose dose.dcm.",
        ),
    ] = False,
    dicom_root: Annotated[
        str | None,
        typer.Option(metavar="UID", help="What new DICOM UIDs begin with; by default they are made of random UUIDs."),
    ] = None,
    viewer: Annotated[
        bool,
        typer.Option("--viewer", help="Also write viewer.html: linked slices and a 3-D view, offline, 8 MB at most."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Bring a moving scan onto a fixed one.

    Writes transform.h5 (fixed points to moving points), inverse.h5, warped.nii.gz, result.json and report.html into the
    output folder, and warped_labels.nii.gz if there are moving labels. Landmarks, and labels given for both scans, draw
    the deformation to where they belong and are measured; a recipe with landmark_pull or label_pull 0 measures only.
    deepreg models list shows what --model takes.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.cli.label_files import read_label_pair
        from DeepRegLib.cli.pairs import warn_of_points_outside
        from DeepRegLib.image import read_image
        from DeepRegLib.request import Drivers, Extras, Request
        from DeepRegLib.saving import expected_bytes, reserved_output, write_into

        if viewer:
            require_viewer()
        with reporter(screen) as report:
            landmark_files, label_files = (fixed_landmarks, moving_landmarks), (fixed_labels, moving_labels)
            masks = (fixed_mask, moving_mask, sliding_mask, rigid_labels)
            given = (fixed, moving, Path(recipe), moving_dose, initial_transform, *masks)
            inputs = [path for path in (*given, *landmark_files, *label_files) if path is not None]
            with reserved_output(output, overwrite=overwrite, inputs=inputs) as place:
                report("read", 0.0)
                with reading(screen):
                    export = _export(fixed, moving, dicom, dicom_root)
                    chosen = _recipe(recipe, model, uncertainty, elsewhere=engine is not None)
                    scans = (
                        _named(read_image(fixed), "fixed", name),
                        _named(read_image(moving), "moving", name),
                    )
                    landmarks = _landmarks(*landmark_files)
                    labels = read_label_pair((fixed, *scans[:1], fixed_labels), (moving, *scans[1:], moving_labels))
                    export = _with_objects(export, labels, moving_dose)
                    drivers = Drivers(
                        fixed_mask=_image(fixed_mask),
                        moving_mask=_image(moving_mask),
                        sliding_mask=_image(sliding_mask),
                        rigid_labels=_image(rigid_labels),
                        fixed_landmarks=landmarks[0],
                        moving_landmarks=landmarks[1],
                        fixed_labels=labels.fixed,
                        moving_labels=labels.moving,
                        initial_transform=_start(initial_transform, (fixed, scans[0]), (moving, scans[1])),
                        background=background,
                    )
                    request = Request(*scans, chosen, drivers, device, seed, Extras(moving_layers=labels.layers))
                    warn_of_points_outside(*landmarks, request.fixed, request.moving)
                place.require_room(expected_bytes(request.fixed, chosen, drivers.moving_labels))
                result = _run(request, engine, screen, report)
                report("save", 1.0)
                names = write_into(result, place, _further(result, export, viewer))
                with undisturbed():
                    place.commit(names)
                    screen.wrote(output)
        summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


def _run(request: Request, engine: str | None, screen: Session, report: Reporter) -> Registration:
    """Register in this process, or in a worker that ends with it."""
    with interruptible(screen) as cancel:
        if cancel():
            raise CancelledError
        if engine is None:
            from DeepRegLib.pipeline import run_request  # seconds, for torch

            return run_request(request, progress=report, cancel=cancel)
        from DeepRegLib.engine.client import subprocess_client
        from DeepRegLib.engine.registration import REGISTER

        report("engine", 0.0)
        client = subprocess_client(_words(engine), on_log=screen.note if screen.verbose else None)
        try:
            return client.run(REGISTER, request, progress=report, cancel=cancel)
        finally:
            client.close()


def _words(engine: str) -> list[str] | None:
    """Return the words of an engine's command; None for that of this Python."""
    if engine == LOCAL:
        return None
    try:
        # A backslash is a part of a path on Windows, as it is in its own shell.
        words = shlex.split(engine.replace("\\", "\\\\") if os.name == "nt" else engine)
    except ValueError as error:
        raise InputError(f"The engine's command cannot be read ({error}).", "Check its quotation marks.") from error
    if not words:
        raise InputError("The engine's command is empty.", f'Give a command, or "{LOCAL}".')
    return words


# What reads the files finds every mistake that can be found before the long part begins.


def _recipe(recipe: str, model: str | None, uncertainty: bool, *, elsewhere: bool) -> Recipe:
    from DeepRegLib.models import find_model
    from DeepRegLib.recipes import load_recipe, with_model

    chosen = with_model(load_recipe(recipe), model, uncertainty=uncertainty)
    for name in (chosen.model.name, chosen.deformable.features):
        if name and not elsewhere:
            find_model(name)
    return chosen


def _named(image: Image, role: str, name: str | None) -> Image:
    """Return an image by the name the user gave the pair; a DICOM series has none of its own."""
    from DeepRegLib.image.reading import DICOM_SERIES

    if name is not None:
        return replace(image, name=f"{one_line(name)} ({role})")
    return replace(image, name=f"{role} {DICOM_SERIES}") if image.name == DICOM_SERIES else image


def _start(path: Path | None, fixed: tuple[Path, Image], moving: tuple[Path, Image]) -> Transform | None:
    from DeepRegLib.cli.transform_files import read_between

    if path is None:
        return None
    return read_between(path, (fixed[0], fixed[1].geometry), (moving[0], moving[1].geometry))


def _export(fixed: Path, moving: Path, wanted: bool, root: str | None) -> DicomExport | None:
    if not wanted:
        if root is not None:
            raise InputError("--dicom-root was given without --dicom.", "Give --dicom too, or leave it out.")
        return None
    from DeepRegLib.exporting import dicom_export

    return dicom_export(fixed, moving, root)


def _with_objects(export: DicomExport | None, labels: LabelFiles, dose: Path | None) -> DicomExport | None:
    if export is None:
        if dose is not None:
            raise InputError(f"{dose} was given without --dicom.", "Give --dicom too, or leave it out.")
        return None
    from DeepRegLib.exporting import read_dose

    return replace(export, structures=labels.structures, dose=None if dose is None else read_dose(dose, export.moving))


def _further(result: Registration, export: DicomExport | None, viewer: bool) -> FurtherFiles:
    """Return what writes the files that were asked for besides the usual ones."""

    def write(folder: Path) -> dict[str, str]:
        files = viewer_file(result, folder) if viewer else {}
        if export is not None:
            from DeepRegLib.exporting import write_dicom

            files |= write_dicom(result, export, folder)
        return files

    return write


def _image(path: Path | None) -> Image | None:
    from DeepRegLib.image import read_image

    return None if path is None else read_image(path)


def _landmarks(
    fixed: Path | None, moving: Path | None
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    from DeepRegLib.cli.pairs import read_landmark_pairs

    if fixed is None and moving is None:
        return None, None
    if fixed is None or moving is None:
        raise InputError(
            f"{fixed or moving} holds the landmarks of one image only.",
            "Give both --fixed-landmarks and --moving-landmarks.",
        )
    return read_landmark_pairs(fixed, moving)
