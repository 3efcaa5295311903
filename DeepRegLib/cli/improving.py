"""`deepreg improve`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.computing import Engine, compute
from DeepRegLib.cli.dicom_objects import Dicom, wanted_export, with_objects, write_objects
from DeepRegLib.cli.progress import reporter, undisturbed
from DeepRegLib.cli.scans import Name, read_scan
from DeepRegLib.cli.session import FAILED, Json, Verbose, reading, session
from DeepRegLib.cli.summary import summarise

if TYPE_CHECKING:
    from DeepRegLib.correction import Improvement
    from DeepRegLib.exporting import DicomExport
    from DeepRegLib.image import Image
    from DeepRegLib.request import Request
    from DeepRegLib.result import Registration
    from DeepRegLib.saved_result import SavedResult
    from DeepRegLib.saving import FurtherFiles
    from DeepRegLib.segmentation.carrying import SegmentedScan

logger = logging.getLogger(__name__)

Again = Annotated[Path | None, typer.Option(help="As the result was registered with, if it was.")]
PairedPoints = Annotated[Path, typer.Option(help="Points that belong together: .csv (LPS mm), .fcsv, .mrk.json.")]


def improve(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Folder that deepreg register wrote.")],
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="The fixed scan of that result.")],
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="The moving scan of that result.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the improved result.")],
    fixed_landmarks: PairedPoints,
    moving_landmarks: PairedPoints,
    fixed_mask: Again = None,
    moving_mask: Again = None,
    sliding_mask: Again = None,
    rigid_labels: Again = None,
    moving_labels: Annotated[
        Path | None,
        typer.Option(help="Labels to carry over: a map on the moving scan's grid, .seg.nrrd, SEG or RTSTRUCT."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    engine: Engine = None,
    name: Name = None,
    dicom: Dicom = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the folder.")] = False,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Correct a saved result near a few landmarks, in a fraction of the time of a registration.

    The fixed and the moving point of a pair are brought together, as nearly as the scans and the stiffness of the
    deformation allow; far from all pairs nothing changes. RESULT stays as it is.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.cli.label_files import read_label_pair
        from DeepRegLib.engine.improvement import IMPROVE
        from DeepRegLib.request import Drivers, Extras, Request
        from DeepRegLib.saved_result import read_result
        from DeepRegLib.saving import expected_bytes, reserved_output, write_into

        with reporter(screen) as report:
            optional = [fixed_mask, moving_mask, sliding_mask, rigid_labels, moving_labels]
            inputs = [fixed, moving, fixed_landmarks, moving_landmarks, *filter(None, optional)]
            with reserved_output(output, overwrite=overwrite, inputs=inputs) as place:
                report("read", 0.0)
                with reading(screen):
                    saved = read_result(result)
                    export = wanted_export(fixed, moving, dicom, None)
                    scans = read_scan(fixed, "fixed", name), read_scan(moving, "moving", name)
                    labels = read_label_pair((fixed, scans[0], None), (moving, scans[1], moving_labels))
                    export = with_objects(export, labels, None)
                    drivers = Drivers(
                        fixed_mask=_image(fixed_mask),
                        moving_mask=_image(moving_mask),
                        sliding_mask=_image(sliding_mask),
                        rigid_labels=_image(rigid_labels),
                        moving_labels=labels.moving,
                        background=saved.record.background,
                    )
                    made, extras = saved.record, Extras(moving_layers=labels.layers)
                    request = Request(*scans, made.recipe, drivers, device, made.seed, extras)
                    wanted = _improvement(saved, request, (fixed_landmarks, moving_landmarks))
                place.require_room(expected_bytes(request.fixed, request.recipe, request.drivers.moving_labels))
                improved = compute(IMPROVE, wanted, engine, screen, report)
                report("save", 1.0)
                names = write_into(improved, place, _further(improved, export, labels.segmented))
                with undisturbed():
                    place.commit(names)
                    screen.wrote(output)
        summarise(screen, improved, output, names)
        if improved.verdict.level == "failed":
            raise typer.Exit(FAILED)


def _further(result: Registration, export: DicomExport | None, segmented: SegmentedScan | None) -> FurtherFiles:
    """Return what writes the files that were asked for besides the usual ones."""

    def write(folder: Path) -> dict[str, str]:
        from DeepRegLib.cli.label_files import carried_file

        files = carried_file(segmented, result.transform, result.fixed.geometry, folder)
        return files | write_objects(result, export, folder)

    return write


def _improvement(saved: SavedResult, request: Request, points: tuple[Path, Path]) -> Improvement:
    """Return what is to be improved of a result, if the scans and the landmarks are of it."""
    from DeepRegLib.cli.pairs import read_landmark_pairs, warn_of_points_outside
    from DeepRegLib.correction import Improvement, correction_from_landmarks

    record = saved.record
    record.require_scans(request.fixed, request.moving)
    for sentence in record.unlike(request.drivers):
        logger.warning("%s", sentence)
    landmarks = read_landmark_pairs(*points)
    warn_of_points_outside(*landmarks, request.fixed, request.moving)
    correction = correction_from_landmarks(saved.inverse, *landmarks)
    return Improvement(request, saved.transform, saved.inverse, correction, record.decisions, record.corrections)


def _image(path: Path | None) -> Image | None:
    from DeepRegLib.image import read_image

    return None if path is None else read_image(path)
