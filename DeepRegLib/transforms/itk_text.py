"""ITK's lists of transforms, as text (.tfm, .txt) and in MATLAB's level 4 format (.mat), read without ITK.

A file lists one transform after another, and what its reader makes of several is left to convention: ANTs, SimpleITK's
and ITK's own composite files all apply the last of a list first. ITK reads the class that a file names and no other;
ANTs, c3d and ITK-SNAP name the base class of all linear ones.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import DamagedFileError
from DeepRegLib.geometry import Geometry
from DeepRegLib.naming import shown
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform, from_matrix_and_centre

SUFFIXES = (".tfm", ".txt", ".mat")
MAGIC = "#Insight Transform File"
LARGEST_TEXT = 1 << 31
MOST_TRANSFORMS = 1000
TWELVE_NUMBERS = (
    "AffineTransform",
    "MatrixOffsetTransformBase",
    "CenteredAffineTransform",
    "FixedCenterOfRotationAffineTransform",
)
FIELDS = ("DisplacementFieldTransform", "GaussianSmoothingOnUpdateDisplacementFieldTransform")
# Those that SimpleITK has under a name of its own, with parameters that mean the same.
LINEAR_CLASSES = {
    "TranslationTransform": lambda: sitk.TranslationTransform(3),
    "ScaleTransform": lambda: sitk.ScaleTransform(3),
    "Euler3DTransform": sitk.Euler3DTransform,
    "CenteredEuler3DTransform": sitk.Euler3DTransform,
    "VersorTransform": sitk.VersorTransform,
    "VersorRigid3DTransform": sitk.VersorRigid3DTransform,
    "Similarity3DTransform": sitk.Similarity3DTransform,
    "ScaleVersor3DTransform": sitk.ScaleVersor3DTransform,
    "ScaleSkewVersor3DTransform": sitk.ScaleSkewVersor3DTransform,
    "ComposeScaleSkewVersor3DTransform": sitk.ComposeScaleSkewVersor3DTransform,
}


@dataclass(frozen=True, eq=False)
class Entry:
    """One transform of a list: its class, without the type of its numbers, and its numbers.

    Examples
    --------
    >>> Entry("TranslationTransform", 3, np.array([1.0, 2.0, 3.0]), np.zeros(0)).kind
    'TranslationTransform'
    """

    kind: str
    dimension: int
    parameters: NDArray[np.float64]
    fixed: NDArray[np.float64]


def read_entries(path: Path) -> list[Entry]:
    """Read all transforms of a file, in its order.

    Raises
    ------
    InputError
        If it is no such file, or damaged.

    Examples
    --------
    >>> import tempfile
    >>> text = '''#Insight Transform File V1.0
    ... Transform: AffineTransform_double_3_3
    ... Parameters: 2 0 0 0 1 0 0 0 1 5 0 0
    ... FixedParameters: 0 0 0
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "wider.tfm"
    ...     _ = file.write_text(text)
    ...     entries = read_entries(file)
    >>> entries[0].kind, len(entries[0].parameters)
    ('AffineTransform', 12)
    """
    name = shown(path)
    size = path.stat().st_size
    if size > LARGEST_TEXT:
        raise InputError(f"{name} is {size >> 20} MB of text.", "Write the transform as .h5 or as a field image.")
    content = path.read_bytes()
    if path.name.lower().endswith(".mat") and not content.startswith(MAGIC.encode()):
        return _from_matlab(content, name)
    return _from_text(content.decode("utf-8"), name)


def parts_of_entries(entries: Sequence[Entry], name: str) -> list[LinearTransform | DisplacementField]:
    """Return the parts in the order they are applied to a fixed point: the last of the file first.

    Raises
    ------
    InputError
        If one is of a kind that is not read.

    Examples
    --------
    >>> shift = Entry("TranslationTransform", 3, np.array([1.0, 2.0, 3.0]), np.zeros(0))
    >>> parts_of_entries([shift], "shift.tfm")[0].apply_to_points([0.0, 0.0, 0.0]).tolist()
    [1.0, 2.0, 3.0]
    """
    if not entries:
        raise DamagedFileError(f"{name} holds no transform.")
    return [_part(entry, name) for entry in reversed(entries) if entry.kind != "CompositeTransform"]


def _from_text(text: str, name: str) -> list[Entry]:
    if not text.lstrip("\ufeff \r\n\t").startswith(MAGIC):
        raise DamagedFileError(f"{name} is not a readable ITK transform.", "Give .h5, .tfm or a vector image.")
    entries: list[Entry] = []
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip("\ufeff").startswith("#")]
    position = 0
    while position < len(lines):
        key, _, kind = lines[position].partition(":")
        if key.strip() != "Transform":
            raise DamagedFileError(f"{name} is damaged: it has the line {lines[position][:60]!r}.")
        numbers: dict[str, NDArray[np.float64]] = {}
        position += 1
        while position < len(lines) and lines[position].partition(":")[0].strip() != "Transform":
            key, _, values = lines[position].partition(":")
            if key.strip() in numbers:
                raise DamagedFileError(f"{name} is damaged: the {kind.strip()[:60]} has {key.strip()[:40]} twice.")
            numbers[key.strip()] = _numbers(values, name)
            position += 1
        is_composite = kind.strip().startswith("CompositeTransform")
        if "Parameters" not in numbers and not is_composite:
            raise DamagedFileError(f"{name} is damaged or truncated: the {kind.strip()[:60]} has no parameters.")
        if "FixedParameters" not in numbers and not is_composite:  # its last line; without it the centre is unknown
            raise DamagedFileError(f"{name} is truncated: the {kind.strip()[:60]} has no line FixedParameters.")
        nothing = np.zeros(0)
        entries.append(
            _entry(kind.strip(), numbers.get("Parameters", nothing), numbers.get("FixedParameters", nothing))
        )
        if len(entries) > MOST_TRANSFORMS:
            raise DamagedFileError(f"{name} holds more than {MOST_TRANSFORMS} transforms.")
    return entries


def _numbers(text: str, name: str) -> NDArray[np.float64]:
    try:
        return np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise DamagedFileError(f"{name} is damaged: it has {text.strip()[:40]!r} where numbers belong.") from error


def _from_matlab(content: bytes, name: str) -> list[Entry]:
    """Read pairs of matrices: the parameters, called by the class, and the fixed parameters, called "fixed"."""
    matrices: list[tuple[str, NDArray[np.float64]]] = []
    position = 0
    while position < len(content):
        if len(content) - position < 20:
            raise DamagedFileError(f"{name} is damaged or truncated.")
        orders = [order for order in "<>" if 0 <= struct.unpack_from(f"{order}i", content, position)[0] < 5000]
        if not orders:
            raise DamagedFileError(f"{name} is not a readable ITK transform.", "Give .h5, .tfm or a vector image.")
        order = orders[0]
        kind, rows, columns, complex_, length = struct.unpack_from(f"{order}5i", content, position)
        position += 20
        dtype = {0: "f8", 1: "f4"}.get(kind % 100 // 10)
        if dtype is None or min(rows, columns, length) < 0 or complex_ or length > 1000:
            raise DamagedFileError(f"{name} is damaged: its matrix {len(matrices) + 1} is none of numbers.")
        bytes_ = rows * columns * int(dtype[1])
        if len(content) - position < length + bytes_:
            raise DamagedFileError(f"{name} is damaged or truncated.")
        label = content[position : position + length].split(b"\0")[0].decode("latin-1")
        position += length
        values = np.frombuffer(content, np.dtype((">" if kind >= 1000 else order) + dtype), rows * columns, position)
        matrices.append((label, values.astype(np.float64)))
        position += bytes_
    if len(matrices) % 2 or any(label != "fixed" for label, _ in matrices[1::2]):
        raise DamagedFileError(f"{name} is not a list of ITK transforms.", "Give .h5, .tfm or a vector image.")
    return [_entry(matrices[n][0], matrices[n][1], matrices[n + 1][1]) for n in range(0, len(matrices), 2)]


def _entry(words: str, parameters: NDArray[np.float64], fixed: NDArray[np.float64]) -> Entry:
    kind, _, rest = words.partition("_")
    dimension = rest.rpartition("_")[2]
    return Entry(kind, int(dimension) if dimension.isdigit() and len(dimension) < 3 else 3, parameters, fixed)


def _part(entry: Entry, name: str) -> LinearTransform | DisplacementField:
    if entry.dimension != 3:
        raise InputError(f"{name} holds a {entry.dimension}-D transform.", "Give a 3-D transform.")
    if entry.kind == "IdentityTransform":
        return LinearTransform.identity()
    if entry.kind in TWELVE_NUMBERS:
        return _twelve_numbers(entry, name)
    if entry.kind in FIELDS:
        return _field(entry, name)
    if entry.kind in LINEAR_CLASSES:
        return _of_itks_class(entry, name)
    raise refusal_of_kind(entry.kind, name)


def refusal_of_kind(kind: str, name: str) -> InputError:
    """Return the error about a transform that is not read.

    Examples
    --------
    >>> type(refusal_of_kind("BSplineTransform", "spline.tfm")).__name__
    'InputError'
    """
    if kind.startswith("Inverse"):
        return InputError(
            f"{name} is an {kind[:60]}: it maps moving points to fixed points.",
            "Invert it in Slicer's module Transforms, and save it again.",
        )
    return InputError(
        f"{name} is a {shown(kind[:60])}, which DeepReg does not read.", "Convert it to a displacement field first."
    )


def _twelve_numbers(entry: Entry, name: str) -> LinearTransform:
    parameters, centre = entry.parameters, entry.fixed
    if entry.kind == "CenteredAffineTransform" and len(parameters) == 15:
        parameters, centre = parameters[[*range(9), 12, 13, 14]], parameters[9:12]
    if len(parameters) != 12 or len(centre) not in (0, 3):
        raise DamagedFileError(f"{name} is damaged: its {entry.kind} has {len(parameters)} parameters.")
    return from_matrix_and_centre(parameters[:9].reshape(3, 3), parameters[9:], centre if len(centre) else np.zeros(3))


def _of_itks_class(entry: Entry, name: str) -> LinearTransform:
    itk = LINEAR_CLASSES[entry.kind]()
    parameters, fixed = entry.parameters.tolist(), entry.fixed.tolist()
    if entry.kind == "CenteredEuler3DTransform" and len(parameters) == 9:
        parameters, fixed = [*parameters[:3], *parameters[6:]], parameters[3:6]
    counts = len(itk.GetParameters()), len(itk.GetFixedParameters())
    if entry.kind == "Euler3DTransform" and len(fixed) == 3:
        fixed = [*fixed, 0.0]  # older files lack the order of the angles
    if len(parameters) != counts[0] or len(fixed) != counts[1] or not np.all(np.isfinite([*parameters, *fixed])):
        raise DamagedFileError(f"{name} is damaged: its {entry.kind} has {len(parameters)} parameters.")
    itk.SetFixedParameters(fixed)
    itk.SetParameters(parameters)
    reach = 1000.0
    origin = np.array(itk.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.array(itk.TransformPoint(tuple(axis.tolist()))) - origin for axis in np.eye(3) * reach]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.stack(columns, axis=1) / reach, origin
    return LinearTransform(matrix)


def _field(entry: Entry, name: str) -> DisplacementField:
    fixed: Any = entry.fixed
    if len(fixed) != 18 or not np.all(np.isfinite(fixed)) or np.any(fixed[:3] != fixed[:3].astype(np.int64)):
        raise DamagedFileError(f"{name} is damaged: its {entry.kind} has no grid.")
    i, j, k = (int(size) for size in fixed[:3])
    if min(i, j, k) < 1 or i * j * k * 3 != len(entry.parameters):
        raise DamagedFileError(f"{name} is damaged: its field has {len(entry.parameters)} numbers for its grid.")
    geometry = Geometry((i, j, k), tuple(fixed[6:9].tolist()), tuple(fixed[3:6].tolist()), tuple(fixed[9:].tolist()))
    return DisplacementField(entry.parameters.reshape(k, j, i, 3), geometry)
