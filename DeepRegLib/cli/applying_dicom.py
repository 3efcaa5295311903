"""`deepreg apply` on DICOM segmentations, structure sets and doses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.cli.session import Session, check_output_file, reading
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.dicom.series import Series
    from DeepRegLib.image import Image
    from DeepRegLib.transforms import Transform

SUFFIX = ".dcm"


def is_for_objects(data: Path, output: Path) -> bool:
    """Tell whether a DICOM object is what goes in, or comes out; a dose that becomes a volume is a volume."""
    from DeepRegLib.dicom.structure_files import DOSE, kind_of

    return output.name.lower().endswith(SUFFIX) or kind_of(data) not in (None, DOSE)


def apply_to_object(
    screen: Session, transform: Path, data: Path, output: Path, reference: Path | None, scan: Path | None
) -> None:
    """Bring a SEG, RTSTRUCT or RTDOSE onto the fixed scan: as a DICOM object of that kind, or as a label map."""
    from DeepRegLib.cli.transform_files import read_between
    from DeepRegLib.dicom.series import series_of
    from DeepRegLib.dicom.structure_files import DOSE, kind_of
    from DeepRegLib.image import WRITABLE_SUFFIXES, read_image

    kind = kind_of(data)
    if kind is None:
        raise InputError(f"{data} is no DICOM segmentation, structure set or dose.", "Name the output .nii.gz instead.")
    check_output_file(output, (SUFFIX, *WRITABLE_SUFFIXES), transform, data, reference, scan)
    if reference is None or scan is None:
        missing = "--reference with the fixed image" if reference is None else "--scan with the moving image"
        raise InputError(
            f"{data} needs the two scans, from one of which it is brought onto the other.", f"Give {missing}."
        )
    with reading(screen):
        fixed, moving = read_image(reference), read_image(scan)
        still, moved = series_of(reference), series_of(scan)
        if output.name.lower().endswith(SUFFIX) and still is None:
            raise InputError(
                f"{reference} is no DICOM series, so no DICOM object can refer to it.", "Name the output .nii.gz."
            )
        given = read_between(transform, (reference, fixed.geometry), (scan, moving.geometry))
    if kind == DOSE:
        _carry_dose(given, data, output, fixed, still, moved)
    else:
        _carry_structures(screen, given, data, output, fixed, moving, (still, moved))
    screen.wrote(output)
    screen.emit({"output": output.name, "kind": kind})
    screen.say(f"Written to {output}")


def _carry_dose(
    given: Transform, data: Path, output: Path, fixed: Image, still: Series | None, moved: Series | None
) -> None:
    from DeepRegLib.dicom.dose import write_dose
    from DeepRegLib.exporting import carried_dose, read_dose

    if moved is None or still is None:
        raise InputError(f"{data} needs scans in DICOM, whose frame of reference tells where it lies.", "Give folders.")
    dose = read_dose(data, moved)
    write_dose(output, carried_dose(given, dose, fixed.geometry), fixed.geometry, dose.header, still)


def _carry_structures(
    screen: Session,
    given: Transform,
    data: Path,
    output: Path,
    fixed: Image,
    moving: Image,
    series: tuple[Series | None, Series | None],
) -> None:
    from DeepRegLib.dicom.contours_writing import write_contours
    from DeepRegLib.dicom.segmentation import write_segmentation
    from DeepRegLib.dicom.structure_files import SEGMENTS, kind_of, read_structures
    from DeepRegLib.image import write_image
    from DeepRegLib.labels import lost_labels_message
    from DeepRegLib.naming import shown
    from DeepRegLib.structures import label_images, structure_set
    from DeepRegLib.transforms import apply_to_labels

    still, moved = series
    with reading(screen):
        content = read_structures(data, moving.geometry, moved)
    layers = label_images(content, shown(data))
    carried = [apply_to_labels(given, layer, fixed.geometry) for layer in layers]
    for before, after in zip(layers, carried, strict=True):
        for warning in lost_labels_message(before, after):
            screen.warn(warning)
    if still is not None and output.name.lower().endswith(SUFFIX):
        write = write_segmentation if kind_of(data) == SEGMENTS else write_contours
        write(output, structure_set(carried, content.structures), still)
        return
    if len(carried) > 1:
        raise InputError(f"Structures of {data} overlap, which a label map cannot hold.", "Name the output .dcm.")
    write_image(carried[0], output)
