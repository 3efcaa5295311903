"""`deepreg register`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.computing import Engine, compute
from DeepRegLib.cli.dicom_objects import Dicom, Root, wanted_export, with_objects, write_objects
from DeepRegLib.cli.progress import reporter, undisturbed
from DeepRegLib.cli.scans import Name, read_scan
from DeepRegLib.cli.session import FAILED, Json, Verbose, reading, session
from DeepRegLib.cli.summary import summarise
from DeepRegLib.cli.viewing import require_viewer, viewer_file
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from DeepRegLib.exporting import DicomExport
    from DeepRegLib.image import Image
    from DeepRegLib.recipes import Recipe
    from DeepRegLib.result import Registration
    from DeepRegLib.saving import FurtherFiles
    from DeepRegLib.segmentation.carrying import SegmentedScan
    from DeepRegLib.transforms import Transform

Mask = Annotated[Path | None, typer.Option(help="Nonzero where the image counts; on the image's own grid.")]
Points = Annotated[Path | None, typer.Option(help="Points in the same order on both: .csv (LPS mm), .fcsv, .mrk.json.")]
Labels = Annotated[
    Path | None, typer.Option(help="Label map on the image's own grid, Slicer's .seg.nrrd, SEG or RTSTRUCT.")
]


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
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Also write explanation.nii.gz: what the model's field rests on, mm."),
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
    engine: Engine = None,
    name: Name = None,
    moving_dose: Annotated[
        Path | None, typer.Option(help="RTDOSE of the moving scan, carried over and written by --dicom.")
    ] = None,
    dicom: Dicom = False,
    dicom_root: Root = None,
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
    output folder, and warped_labels.nii.gz if there are moving labels; of a .seg.nrrd warped_segmentation.seg.nrrd too,
    with overlapping and fractional segments, names, colours and codes. Landmarks, and labels given for both scans, draw
    the deformation to where they belong and are measured; a recipe with landmark_pull or label_pull 0 measures only.
    deepreg models list shows what --model takes.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.cli.label_files import read_label_pair
        from DeepRegLib.cli.pairs import warn_of_points_outside
        from DeepRegLib.engine.registration import REGISTER
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
                    export = wanted_export(fixed, moving, dicom, dicom_root)
                    chosen = _recipe(recipe, model, (uncertainty, explain), elsewhere=engine is not None)
                    scans = read_scan(fixed, "fixed", name), read_scan(moving, "moving", name)
                    landmarks = _landmarks(*landmark_files)
                    labels = read_label_pair((fixed, *scans[:1], fixed_labels), (moving, *scans[1:], moving_labels))
                    export = with_objects(export, labels, moving_dose)
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
                result = compute(REGISTER, request, engine, screen, report)
                report("save", 1.0)
                names = write_into(result, place, _further(result, export, viewer, labels.segmented))
                with undisturbed():
                    place.commit(names)
                    screen.wrote(output)
        summarise(screen, result, output, names)
        if result.verdict.level == "failed":
            raise typer.Exit(FAILED)


# What reads the files finds every mistake that can be found before the long part begins.


def _recipe(recipe: str, model: str | None, maps: tuple[bool, bool], *, elsewhere: bool) -> Recipe:
    from DeepRegLib.models import find_model
    from DeepRegLib.recipes import load_recipe, models_of, with_model

    chosen = with_model(load_recipe(recipe), model, uncertainty=maps[0], explanation=maps[1])
    for name in () if elsewhere else models_of(chosen):
        find_model(name)
    return chosen


def _start(path: Path | None, fixed: tuple[Path, Image], moving: tuple[Path, Image]) -> Transform | None:
    from DeepRegLib.cli.transform_files import read_between

    if path is None:
        return None
    return read_between(path, (fixed[0], fixed[1].geometry), (moving[0], moving[1].geometry))


def _further(
    result: Registration, export: DicomExport | None, viewer: bool, segmented: SegmentedScan | None
) -> FurtherFiles:
    """Return what writes the files that were asked for besides the usual ones."""

    def write(folder: Path) -> dict[str, str]:
        from DeepRegLib.cli.label_files import carried_file

        files = carried_file(segmented, result.transform, result.fixed.geometry, folder)
        files |= viewer_file(result, folder) if viewer else {}
        return files | write_objects(result, export, folder)

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
