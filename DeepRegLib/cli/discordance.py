"""`deepreg discordance`: how far registrations of four scans and more contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from DeepRegLib.cli.session import Json, Verbose, check_output_file, reading, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.transforms import Transform

COARSEST = 3.0  # mm between the points that are looked at


def discordance(
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="The scan in whose anatomy it is measured.")],
    registrations: Annotated[
        list[str],
        typer.Argument(metavar="FROM:TO:FILE ...", help="Transforms that take points of FROM to points of TO."),
    ],
    of: Annotated[str, typer.Option(metavar="NAME", help="What the transforms call SCAN.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Volume to write: mm at each place of the anatomy.")],
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Map how far the registrations of four scans or more contradict each other (Saleh 2014).

    Points of SCAN go to every other scan, and from each of these on to every further one; where they arrive over
    different scans would be one place if all registrations were right. All ordered pairs of scans are needed, but those
    to SCAN.
    For example: deepreg discordance a.nii.gz a:b:ab.h5 a:c:ac.h5 a:d:ad.h5 b:c:bc.h5 ... --of a -o map.nii.gz
    """
    with session(json_output, verbose) as screen:
        import numpy as np

        from DeepRegLib.evaluation.discordance import distance_discordance
        from DeepRegLib.image import WRITABLE_SUFFIXES, Image, read_image, resample, write_image
        from DeepRegLib.preprocessing import foreground_mask

        pairs = [_pair(text) for text in registrations]
        check_output_file(output, WRITABLE_SUFFIXES, scan, *(path for _, _, path in pairs))
        names = sorted({name for first, last, _ in pairs for name in (first, last)})
        if of not in names:
            raise InputError(f"No transform is of {of}.", f"Give --of one of {', '.join(names)}.")
        with reading(screen):
            image = read_image(scan)
            transforms = {(names.index(a), names.index(b)): _read(path) for a, b, path in pairs}
        grid = image.geometry.resized(np.maximum(COARSEST, image.geometry.spacing))
        body = foreground_mask(image)
        body = body.with_array(body.array.astype(np.uint8))
        inside = resample(body, grid, interpolation="nearest", background=0).array.astype(np.bool_)
        if not inside.any():
            raise InputError(f"{image.name} shows nothing but background.", "Give a scan of a patient.")
        values = np.zeros(grid.shape, dtype=np.float32)
        values[inside] = distance_discordance(transforms, names.index(of), grid.points()[inside])
        write_image(Image(values, grid, "discordance"), output)
        screen.wrote(output)
        mean, high = float(values[inside].mean()), float(np.percentile(values[inside], 95))
        screen.emit({"output": output.name, "scans": len(names), "mean_mm": mean, "p95_mm": high})
        screen.say(
            f"Discordance of {len(names)} scans: mean {mean:.2f} mm, 95 % below {high:.2f} mm. Written to {output}"
        )


def _pair(text: str) -> tuple[str, str, Path]:
    parts = text.split(":", 2)
    if len(parts) != 3 or not all(parts) or parts[0] == parts[1]:
        raise InputError(f"{text} names no two scans and a file.", "Give FROM:TO:FILE, such as ct:mr:ct_to_mr.h5.")
    return parts[0], parts[1], Path(parts[2])


def _read(path: Path) -> Transform:
    from DeepRegLib.transforms import read_transform

    return read_transform(path)
