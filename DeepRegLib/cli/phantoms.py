"""`deepreg phantom`: a scan deformed by a known field."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from DeepRegLib.cli.session import Json, Verbose, reading, session

if TYPE_CHECKING:
    from DeepRegLib.phantom.making import Appearance, Phantom


def phantom(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="Volume file or DICOM folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the phantom.")],
    motion: Annotated[
        list[str] | None,
        typer.Option(help="breathing, bladder, neck or tumour; several are one after another. By default breathing."),
    ] = None,
    amount: Annotated[
        float | None,
        typer.Option(
            help="Of each motion: mm; of the neck degrees, of bladder and tumour mm by which the radius changes."
        ),
    ] = None,
    at: Annotated[
        tuple[float, float, float] | None,
        typer.Option(metavar="X Y Z", help="Centre of bladder or tumour, or the neck's pivot, LPS mm."),
    ] = None,
    radius: Annotated[float | None, typer.Option(metavar="MM", help="Of bladder or tumour.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Label map of the scan, which is deformed with it.")] = None,
    noise: Annotated[float, typer.Option(help="Noise on the deformed scan, as a share of the anatomy's own.")] = 0.0,
    other_contrast: Annotated[
        bool, typer.Option("--other-contrast", help="Bright and dark tissues of the deformed scan change places.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Deform a scan by a known field, to see how well DeepReg or any other tool finds it.

    Writes fixed.nii.gz (the scan deformed), moving.nii.gz (the scan), truth.h5 (fixed points to moving points, exactly
    what was done) and phantom.json. Register the two, then: deepreg evaluate --transform T --truth truth.h5
    --reference fixed.nii.gz
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.files import check_new_folder, write_folder
        from DeepRegLib.image import read_image
        from DeepRegLib.labels import check_labels
        from DeepRegLib.phantom.making import Appearance, make_phantom, usual_motion
        from DeepRegLib.phantom.motions import BREATHING

        check_new_folder(output)
        appearance = Appearance(noise, other_contrast, seed)
        with reading(screen):
            image = read_image(scan)
            given = None if labels is None else check_labels(read_image(labels), image)
        motions = tuple(
            usual_motion(kind, image, amount=amount, centre=at, radius=radius) for kind in motion or [BREATHING]
        )
        made = make_phantom(image, motions, appearance, given)
        write_folder(output, lambda folder: _write(made, appearance, folder))
        screen.wrote(output)
        table = _table(made, appearance)
        screen.emit(table)
        for done, wanted in zip(made.motions, motions, strict=True):
            less = f", less than {wanted.amount:g} so that nothing folds" if done.amount < wanted.amount else ""
            screen.say(f"{done.kind}: {done.amount:.1f}{less}")
        screen.say(f"Moves the anatomy by {table['moved_mm']['mean']:.1f} mm on average. Written to {output}")


def _write(made: Phantom, appearance: Appearance, folder: Path) -> None:
    from DeepRegLib.files import write_text
    from DeepRegLib.image import write_image
    from DeepRegLib.saving import json_text
    from DeepRegLib.transforms import write_transform

    write_image(made.fixed, folder / "fixed.nii.gz")
    write_image(made.moving, folder / "moving.nii.gz")
    write_transform(made.truth, folder / "truth.h5")
    if made.fixed_labels is not None and made.moving_labels is not None:
        write_image(made.fixed_labels, folder / "fixed_labels.nii.gz")
        write_image(made.moving_labels, folder / "moving_labels.nii.gz")
    write_text(folder / "phantom.json", json_text(_table(made, appearance)))


def _table(made: Phantom, appearance: Appearance) -> dict[str, Any]:
    import numpy as np

    from DeepRegLib.preprocessing import foreground_mask
    from DeepRegLib.provenance import image_hash, transform_hash
    from DeepRegLib.transforms import displacement_on_grid
    from DeepRegLib.versions import versions

    moved = np.linalg.norm(displacement_on_grid(made.truth, made.fixed.geometry), axis=-1)
    inside = moved[foreground_mask(made.moving).array.astype(np.bool_)]
    return {
        "motions": [asdict(motion) for motion in made.motions],
        "appearance": asdict(appearance),
        "moved_mm": {"mean": float(inside.mean()), "max": float(inside.max())},
        "truth": "truth.h5 maps fixed points to moving points, LPS mm",
        "truth_sha256": transform_hash(made.truth),
        "fixed_sha256": image_hash(made.fixed),
        "moving_sha256": image_hash(made.moving),
        "versions": versions(),
    }
