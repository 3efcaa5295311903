"""`deepreg apply`, `invert`, `compose` and `jacobian`: what is done with a transform file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from DeepRegLib.cli.session import Json, Session, Verbose, check_output_file, reading, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from DeepRegLib.image import Image
    from DeepRegLib.transforms import Transform

INVERSE_SAMPLES = 100_000
LINEAR_PROBE = 200.0  # mm from the world's origin to the points a linear inverse is tried at


@dataclass(frozen=True)
class Sampling:
    """How a volume is resampled: as a label map, from the nearest voxel, and with which value outside."""

    labels: bool
    nearest: bool
    background: float | None


TransformFile = Annotated[
    Path,
    typer.Argument(
        metavar="TRANSFORM",
        help="Transform: .h5, .tfm, .mat (ITK, ANTs), a displacement field image, or a linear one of FSL (.mat) or "
        "AFNI (.1D), for volumes only, of NiftyReg (.txt), FreeSurfer (.lta), nitransforms (.x5); a DICOM registration "
        "(.dcm); for `apply`, the folder of a series too.",
    ),
]
OutputFile = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]


def apply(
    transform: TransformFile,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Volume, label map, segmentation (.seg.nrrd, .seg.vtm), points and curves (.csv, .fcsv, .mrk.json), "
            "or model (.vtk, .vtp, .stl, .obj, .ply).",
        ),
    ],
    output: OutputFile,
    reference: Annotated[
        Path | None, typer.Option(help="The fixed image, whose grid the volume is brought onto; not for points.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="The volume is a label map: no label is invented.")] = False,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Take the nearest voxel instead of interpolating.")
    ] = False,
    background: Annotated[
        float | None,
        typer.Option(
            metavar="VALUE",
            help="Value where nothing was scanned; by default the smallest (air in a CT), and 0 in a signed map.",
        ),
    ] = None,
    scan: Annotated[
        Path | None, typer.Option(help="The moving scan that a DICOM segmentation or structure set was made on.")
    ] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Carry a volume, label map, segmentation, points, a model, or a DICOM SEG, RTSTRUCT or dose over.

    Mind the direction. A transform maps fixed points to moving points. With transform.h5, moving VOLUMES and LABELS
    come onto the fixed grid (give --reference FIXED), and POINTS placed on the FIXED image land on the moving image. To
    bring points placed on the MOVING image onto the fixed one, give inverse.h5. The points of a model go the same way,
    and those of a segmentation of closed surfaces (.seg.vtm).

    A .seg.nrrd that becomes a .seg.nrrd keeps overlapping and fractional segments, names, colours and codes.

    With an output that ends in .dcm, a SEG, RTSTRUCT or RTDOSE becomes one that refers to the fixed series.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.cli.applying_dicom import apply_to_object, is_for_objects
        from DeepRegLib.cli.applying_points import apply_to_points
        from DeepRegLib.cli.applying_segments import (
            apply_to_segments,
            apply_to_surfaces,
            is_for_segments,
            is_for_surfaces,
        )
        from DeepRegLib.cli.series import apply_series
        from DeepRegLib.landmarks import SUFFIXES
        from DeepRegLib.mesh_files import SUFFIXES as MODEL_SUFFIXES

        if transform.is_dir():
            if reference is not None or nearest or scan is not None:
                raise InputError(f"{transform} is the folder of a series.", "Leave out --reference, --nearest, --scan.")
            apply_series(screen, transform, data, output, labels=labels, background=background)
        elif is_for_objects(data, output):
            if nearest or labels or background is not None:
                raise InputError(
                    f"{data} tells itself how it is resampled.", "Leave out --labels, --nearest and --background."
                )
            apply_to_object(screen, transform, data, output, reference, scan)
        elif scan is None and is_for_segments(data, output):
            if background is not None:
                raise InputError(f"{data} has no value outside of its segments.", "Leave out --background.")
            apply_to_segments(screen, transform, data, output, reference, smooth=not nearest)
        elif scan is not None:
            raise InputError(f"{data} is no DICOM segmentation or structure set.", "Leave out --scan.")
        elif is_for_surfaces(data) or data.name.lower().endswith((*SUFFIXES, *MODEL_SUFFIXES)):
            if reference is not None or labels or nearest or background is not None:
                raise InputError(
                    f"{data} holds points, which have no grid and no voxels.",
                    "Leave out --reference, --labels, --nearest and --background.",
                )
            (apply_to_surfaces if is_for_surfaces(data) else apply_to_points)(screen, transform, data, output)
        else:
            _apply_to_volume(screen, transform, data, output, reference, Sampling(labels, nearest, background))


def invert(
    transform: TransformFile,
    output: OutputFile,
    device: Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, mps.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Invert a transform, and print how far points end from where they started after going there and back."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.transforms import invert as invert_transform
        from DeepRegLib.transforms import read_transform, write_transform
        from DeepRegLib.transforms.inversion import inverse_error

        _check_transform_file(output, transform)
        with reading(screen):
            given = read_transform(transform)
        inverse = invert_transform(given, device=_device(device))
        write_transform(inverse, output)
        screen.wrote(output)
        errors = inverse_error(given, inverse, _probes(given))
        table = {
            "output": output.name,
            "inverse_error_mm": {
                "mean": float(errors.mean()),
                "p99": _percentile(errors, 99),
                "max": float(errors.max()),
            },
        }
        screen.emit(table)
        screen.say(
            f"Inverse error: mean {errors.mean():.4f} mm, 99 % below {_percentile(errors, 99):.4f} mm, "
            f"largest {errors.max():.4f} mm. Written to {output}"
        )


def compose(
    transforms: Annotated[
        list[Path],
        typer.Argument(metavar="FIRST SECOND ...", help="Transforms in the order they act on a fixed point."),
    ],
    output: OutputFile,
    reference: Annotated[
        Path | None, typer.Option(help="Image whose grid the field is sampled on; needed for a field image only.")
    ] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Join transforms into one that applies FIRST, then SECOND, and so on."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import read_image
        from DeepRegLib.transforms import compose as compose_transforms
        from DeepRegLib.transforms import parts_of, read_transform, write_transform

        if len(transforms) < 2:
            raise InputError(f"Only {transforms[0]} was given.", "Give at least two transforms.")
        _check_transform_file(output, *transforms, reference)
        with reading(screen):
            joined = compose_transforms(*(read_transform(path) for path in transforms))
            grid = None if reference is None else read_image(reference).geometry
        write_transform(joined, output, grid)
        screen.wrote(output)
        screen.emit({"output": output.name, "parts": len(parts_of(joined))})
        screen.say(f"{len(transforms)} transforms joined. Written to {output}")


def jacobian(
    transform: TransformFile,
    reference: Annotated[Path, typer.Option(help="The fixed image, on whose grid the volume change is computed.")],
    output: OutputFile,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write the Jacobian determinant (1 keeps volume, 0 or below is a fold), and print folds and statistics."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.evaluation import digital_folds
        from DeepRegLib.image import WRITABLE_SUFFIXES, read_image, write_image
        from DeepRegLib.transforms import jacobian_determinant, read_transform

        check_output_file(output, WRITABLE_SUFFIXES, transform, reference)
        with reading(screen):
            given, grid = read_transform(transform), read_image(reference).geometry
        determinant = jacobian_determinant(given, grid)
        write_image(determinant, output)
        screen.wrote(output)
        folds, statistics = digital_folds(given, grid), _statistics(determinant)
        voxels = determinant.array.size
        screen.emit({"output": output.name, "folds": folds, "voxels": voxels, "determinant": statistics})
        screen.say(f"Folded voxels: {folds} of {voxels}")
        screen.say("Determinant: " + ", ".join(f"{name} {value:.4f}" for name, value in statistics.items()))
        screen.say(f"Written to {output}")


def _apply_to_volume(
    screen: Session, transform: Path, data: Path, output: Path, reference: Path | None, sampling: Sampling
) -> None:
    from DeepRegLib.cli.transform_files import read_between
    from DeepRegLib.image import WRITABLE_SUFFIXES, read_image, write_image

    check_output_file(output, WRITABLE_SUFFIXES, transform, data, reference)
    if reference is None:
        raise InputError(f"{data} needs a grid to be brought onto.", "Give --reference with the fixed image.")
    with reading(screen):
        grid, volume = read_image(reference).geometry, read_image(data)
        given = read_between(transform, (reference, grid), (data, volume.geometry))
    result, warnings = _resampled(given, volume, grid, sampling)
    write_image(result, output)
    screen.wrote(output)
    for warning in warnings:
        screen.warn(warning)
    screen.emit({"output": output.name, "size": list(grid.size), "spacing": list(grid.spacing)})
    screen.say(f"Written to {output}, {' x '.join(str(n) for n in grid.size)} voxels")


def _resampled(transform: Transform, volume: Image, grid: Any, sampling: Sampling) -> tuple[Image, tuple[str, ...]]:
    from DeepRegLib.image import resample
    from DeepRegLib.labels import label_map, lost_labels_message
    from DeepRegLib.transforms import apply_to_image, apply_to_labels, background_value, transform_to_sitk

    if sampling.labels:
        if sampling.background not in (None, 0):
            raise InputError(f"The background of a label map is 0, not {sampling.background:g}.", "Leave it out.")
        given = label_map(volume)
        result = apply_to_labels(transform, given, grid, smooth=not sampling.nearest)
        return result, lost_labels_message(given, result)
    if sampling.nearest:
        # A label map without --labels, perhaps, whose smallest label is none of what lies outside.
        value = min(background_value(volume), 0.0) if sampling.background is None else sampling.background
        chain = transform_to_sitk(transform)
        return resample(volume, grid, interpolation="nearest", background=value, transform=chain), ()
    return apply_to_image(transform, volume, grid, background=sampling.background), ()


def _check_transform_file(output: Path, *inputs: Path | None) -> None:
    from DeepRegLib.transforms.io import FIELD_SUFFIXES, TRANSFORM_SUFFIXES

    check_output_file(output, TRANSFORM_SUFFIXES + FIELD_SUFFIXES, *inputs)


def _device(name: str | None) -> str:
    from DeepRegLib.devices import choose_device

    return str(choose_device(name))


def _probes(transform: Transform) -> NDArray[np.float64]:
    """Return the fixed points an inverse is tried at: those that the first field's voxels stand for."""
    import numpy as np

    from DeepRegLib.transforms import DisplacementField, LinearTransform, parts_of

    before = LinearTransform.identity()
    rng = np.random.default_rng(0)
    for part in parts_of(transform):
        if isinstance(part, DisplacementField):
            size = np.array(part.geometry.size)
            index = rng.integers(0, size, size=(INVERSE_SAMPLES, 3))
            return before.inverse().apply_to_points(part.geometry.to_world(index))
        before = part.after(before)
    return rng.uniform(-LINEAR_PROBE, LINEAR_PROBE, size=(1000, 3))


def _statistics(image: Image) -> dict[str, float]:
    values = image.array
    return {
        "min": float(values.min()),
        "p1": _percentile(values, 1),
        "median": _percentile(values, 50),
        "mean": float(values.mean()),
        "p99": _percentile(values, 99),
        "max": float(values.max()),
    }


def _percentile(values: NDArray[Any], share: float) -> float:
    import numpy as np

    return float(np.percentile(values, share))
