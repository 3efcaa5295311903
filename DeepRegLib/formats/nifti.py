"""NIfTI-1 and -2, single files and pairs, and Analyze 7.5.

Read here and not by ITK, whose reader takes the voxels of `scan.nii` for those of `scan.nii.gz` beside it, reads
what is missing as zeros or as whatever the memory held, and makes NaN zero. Where the voxels lie is decided as ITK and
3D Slicer decide it: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import DamagedFileError, Raster, Spooled, checked_sizes, frame, native, overflown
from DeepRegLib.formats.streams import first_bytes, is_gzip, read_array, surplus
from DeepRegLib.naming import shown

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
HEADER_1, HEADER_2 = 348, 540
# By the format's code: numpy's name, and how many of these numbers make a voxel.
TYPES: Mapping[int, tuple[str, int]] = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    32: ("c8", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    1792: ("c16", 1),
    2304: ("u1", 4),
}
TIME_STEP = "time step"  # in seconds, among the marks of a file with an axis of time
SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
MILLIMETRES = {1: 1e3, 3: 1e-3}
VECTOR_INTENTS = (1005, 1006, 1007)  # symmetric matrix, displacement, vector: the fifth axis holds components
SCANNER = 1
NEAR_ROTATION = 1e-3
UNPLACED = (
    "{name} is an Analyze file, which does not say where its voxels lie: they were taken to run to the left, to the "
    "back and upwards, so left and right may be swapped."
)
LEAST_DIFFERENCE = 0.01  # of a voxel: what single precision cannot explain


@dataclass(frozen=True)
class Header:
    """The fields that matter, of any version and byte order."""

    order: str
    magic: bytes
    sizes: tuple[int, ...]
    datatype: int
    bits: int
    offset: float
    pixdim: tuple[float, ...]
    slope: float
    intercept: float
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    shift: tuple[float, ...]
    rows: tuple[float, ...]
    intent: int
    intent_values: tuple[float, ...]
    intent_name: str


def is_nifti(start: bytes) -> bool:
    """Tell from the first 540 bytes of a file, unpacked, whether it holds a header of this family."""
    if len(start) < HEADER_1:
        return False
    size = {struct.unpack_from(f"{order}i", start)[0] for order in "<>"}
    return HEADER_1 in size or (HEADER_2 in size and start[4:7] in (b"n+2", b"ni2"))


def read_nifti(path: Path) -> Raster:
    """Read a file, or the pair it belongs to.

    Raises
    ------
    InputError
        If the header contradicts itself or the file's length, or the voxels are of a kind that is not known.
    """
    header, raster = _read(path, on_disk=False)
    return replace(raster, array=_scaled(native(raster.array), header, shown(path)))


def spool_nifti(path: Path) -> Spooled:
    """Read the header of a file, and its voxels when they are needed; raises as `read_nifti` does."""
    header, raster = _read(path, on_disk=True)
    return Spooled(raster, lambda part: _scaled(native(part), header, shown(path)))


def _read(path: Path, *, on_disk: bool) -> tuple[Header, Raster]:
    """Return the header, and the voxels as they are stored."""
    name = shown(path)
    header_path, header = _header(path)
    data_path, skip = _where_voxels_are(header_path, header)
    if _ends(path, ".img"):
        data_path = path  # the one that is named, where scan.img and scan.img.gz lie side by side
    kind, per_voxel = _voxel_type(header, name)
    sizes = checked_sizes(name, header.sizes)
    dtype, count = np.dtype(header.order + kind), math.prod(sizes) * per_voxel
    flat = read_array(data_path, dtype, count, skip=skip, compressed=is_gzip(data_path), name=name, on_disk=on_disk)
    array = flat.reshape(*sizes[::-1], *((per_voxel,) if per_voxel > 1 else ()))
    channels, array = _with_components(header, array, per_voxel)
    spacing, origin, direction, remarks = _frame(header, name)
    extra = array.ndim - (channels > 1) - 3
    placed = (*spacing, *(1.0,) * extra), (*origin, *(0.0,) * extra)
    if not is_gzip(data_path):
        remarks = (*remarks, *surplus(data_path, flat.nbytes, skip))
    return header, Raster(array, channels, *placed, direction, _marks(header), remarks)


def nifti_sizes(path: Path) -> tuple[int, ...]:
    """Return how many voxels the header of a file claims along each axis; errors as of `read_nifti`."""
    return checked_sizes(shown(path), _header(path)[1].sizes)


def _header(path: Path) -> tuple[Path, Header]:
    header_path = _partner(path, ".img", ".hdr") if _ends(path, ".img") else path
    start = first_bytes(header_path, HEADER_2)
    if not is_nifti(start):
        raise DamagedFileError(f"{shown(header_path)} has no NIfTI header.")
    return header_path, _parsed(start, shown(path))


def _ends(path: Path, ending: str) -> bool:
    return path.name.lower().endswith((ending, f"{ending}.gz"))


def _partner(path: Path, old: str, new: str) -> Path:
    """Return the other file of a pair, compressed or not, whatever the case of the ending."""
    stem = path.name[: path.name.lower().rindex(old)]
    upper = old.upper() in path.name
    endings = (new, f"{new}.gz") if path.name.lower().endswith(old) else (f"{new}.gz", new)
    for ending in endings:
        candidate = path.with_name(stem + (ending.upper() if upper else ending))
        if candidate.is_file():
            return candidate
    raise InputError(f"{shown(path)} is one of a pair, and {shown(stem + new)} is not beside it.", "Copy both files.")


def _parsed(start: bytes, name: str) -> Header:
    for order in "<>":
        size = struct.unpack_from(f"{order}i", start)[0]
        if size == HEADER_1:
            return _version_1(start, order, name)
        if size == HEADER_2 and len(start) >= HEADER_2:
            return _version_2(start, order, name)
    raise DamagedFileError(f"{name} has a NIfTI header that is cut off.")


def _version_1(start: bytes, order: str, name: str) -> Header:
    def get(form: str, offset: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + form, start, offset)

    magic = start[344:348]
    known = magic[:3] in (b"n+1", b"ni1")
    count, *sizes = get("8h", 40)
    codes = get("2h", 252) if known else (0, 0)
    return Header(
        order=order,
        magic=magic if known else b"",
        sizes=_axes(count, sizes, name),
        datatype=get("h", 70)[0],
        bits=get("h", 72)[0],
        offset=get("f", 108)[0],
        pixdim=get("8f", 76),
        slope=get("f", 112)[0] if known else 1.0,
        intercept=get("f", 116)[0] if known else 0.0,
        units=start[123] if known else 0,
        qform_code=codes[0],
        sform_code=codes[1],
        quaternion=get("3f", 256),
        shift=get("3f", 268),
        rows=get("12f", 280),
        intent=get("h", 68)[0] if known else 0,
        intent_values=get("3f", 56),
        intent_name=_text(start[328:344]) if known else "",
    )


def _version_2(start: bytes, order: str, name: str) -> Header:
    def get(form: str, offset: int) -> tuple[Any, ...]:
        return struct.unpack_from(order + form, start, offset)

    count, *sizes = get("8q", 16)
    return Header(
        order=order,
        magic=start[4:8],
        sizes=_axes(count, sizes, name),
        datatype=get("h", 12)[0],
        bits=get("h", 14)[0],
        offset=get("q", 168)[0],
        pixdim=get("8d", 104),
        slope=get("d", 176)[0],
        intercept=get("d", 184)[0],
        units=get("i", 500)[0] & 0xFF,
        qform_code=get("i", 344)[0],
        sform_code=get("i", 348)[0],
        quaternion=get("3d", 352),
        shift=get("3d", 376),
        rows=get("12d", 400),
        intent=get("i", 504)[0],
        intent_values=get("3d", 80),
        intent_name=_text(start[508:524]),
    )


def _axes(count: int, sizes: list[int], name: str) -> tuple[int, ...]:
    if not 1 <= count <= 7:
        raise DamagedFileError(f"{name} is damaged: its header claims {count} axes.")
    # Files straight from a scanner, and some programs', have further axes with nothing along them.
    while count > 3 and sizes[count - 1] <= 1:
        count -= 1
    return tuple(sizes[:count])


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("latin-1").strip()


def _voxel_type(header: Header, name: str) -> tuple[str, int]:
    if header.datatype not in TYPES:
        raise InputError(
            f"{name} has voxels of NIfTI's type {header.datatype}.", "Convert it to whole or floating-point numbers."
        )
    kind, per_voxel = TYPES[header.datatype]
    bits = np.dtype(kind).itemsize * 8 * per_voxel
    if header.bits not in (bits, 0):  # some programs leave it out
        raise DamagedFileError(
            f"{name} is damaged: its header gives a voxel {header.bits} bits, and its type has {bits}."
        )
    return kind, per_voxel


def _where_voxels_are(path: Path, header: Header) -> tuple[Path, int]:
    single = header.magic[:2] == b"n+"
    least = 0 if not single else (HEADER_2 if header.magic[2:3] == b"2" else HEADER_1)
    offset = header.offset
    if not math.isfinite(offset) or offset < 0 or offset != int(offset) or (0 < offset < least):
        raise DamagedFileError(f"{shown(path)} is damaged: its header lets the voxels begin at byte {offset:g}.")
    if single:
        return path, int(offset) or least + 4
    if not _ends(path, ".hdr"):
        raise DamagedFileError(f"{shown(path)} has the header of a pair of files and is called otherwise.")
    return _partner(path, ".hdr", ".img"), int(offset)


def _with_components(header: Header, array: NDArray[Any], per_voxel: int) -> tuple[int, NDArray[Any]]:
    """Return how many components a voxel has, and the array with their axis last."""
    if per_voxel > 1:
        return per_voxel, array
    if header.intent in VECTOR_INTENTS and array.ndim == 5:
        components = array.shape[0]
        moved = np.moveaxis(array, 0, -1)
        moved = moved[0] if moved.shape[0] == 1 else moved
        return (1, moved[..., 0]) if components == 1 else (components, moved)
    return 1, array


def _scaled(array: NDArray[Any], header: Header, name: str) -> NDArray[Any]:
    slope, intercept = header.slope, header.intercept
    if slope == 0 or not (math.isfinite(slope) and math.isfinite(intercept)) or (slope, intercept) == (1, 0):
        return array
    if array.dtype.kind == "c":
        return array
    wide = array.dtype.itemsize > (4 if array.dtype.kind == "f" else 2)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = array.astype(np.float64)
        scaled *= slope
        scaled += intercept
        found = scaled if wide else scaled.astype(np.float32)
    if overflown(array, found):
        raise DamagedFileError(f"{name} is damaged: scaled by {slope:g} its values are beyond all numbers.")
    return found


def _frame(
    header: Header, name: str
) -> tuple[tuple[float, ...], tuple[float, ...], NDArray[np.float64] | None, tuple[str, ...]]:
    scale = MILLIMETRES.get(header.units & 7, 1.0)
    # Neither form: voxels along LPS from the world's origin, as ITK has it.
    steps = tuple(abs(step) for step in header.pixdim[1:4])
    if header.qform_code <= 0 and header.sform_code <= 0:
        plain = tuple(step or 1.0 for step in steps) if not header.magic else steps
        spacing, direction = frame(np.diag(plain) * scale)
        return spacing, (0.0, 0.0, 0.0), direction, () if header.magic else (UNPLACED.format(name=name),)
    sform = _sform(header) if header.sform_code > 0 else None
    qform = _qform(header, steps) if header.qform_code > 0 else None
    matrix, remarks = _chosen(sform, qform, header, name)
    spacing, direction = frame(matrix[:3, :3] * scale)
    origin = tuple((matrix[:3, 3] * scale).tolist())
    return spacing, origin, direction, remarks


def _chosen(
    sform: NDArray[np.float64] | None, qform: NDArray[np.float64] | None, header: Header, name: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the matrix that counts, by the rules of ITK and Slicer, and what the user should know of it."""
    if qform is None or sform is None:
        matrix = qform if sform is None else sform
        assert matrix is not None  # noqa: S101  # for mypy: one of the codes is positive
        return matrix, ()
    if frame(sform[:3, :3])[1] is None:
        return qform, (f"The sform of {name} is sheared or degenerate; where it lies was read from its qform.",)
    sign = [np.sign(np.linalg.det(matrix[:3, :3])) for matrix in (sform, qform)]
    matrix = sform if header.sform_code == SCANNER or sign[0] != sign[1] else qform
    corners = np.array([[i, j, k, 1.0] for k in (0, 1) for j in (0, 1) for i in (0, 1)])
    corners[:, :3] *= [max(size - 1, 1) for size in (*header.sizes, 1, 1)[:3]]
    apart = np.linalg.norm(corners @ (sform - qform)[:3].T, axis=1).max()
    if not apart > LEAST_DIFFERENCE * np.linalg.norm(qform[:3, :3], axis=0).min():
        return matrix, ()
    used, other = ("sform", "qform") if matrix is sform else ("qform", "sform")
    return matrix, (f"{name} says twice where it lies, {apart:.1f} mm apart; its {used} was used, not its {other}.",)


def _sform(header: Header) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3] = np.reshape(header.rows, (3, 4))
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def _qform(header: Header, steps: tuple[float, ...]) -> NDArray[np.float64]:
    b, c, d = header.quaternion
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < 1e-7:  # a half turn: what rounding has made of a is nothing
        length = math.sqrt(b * b + c * c + d * d) or 1.0
        a, b, c, d = 0.0, b / length, c / length, d / length
    else:
        a = math.sqrt(rest) if math.isfinite(rest) else math.nan
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(steps) * [1, 1, -1 if header.pixdim[0] < 0 else 1]
    matrix[:3, 3] = header.shift
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def _marks(header: Header) -> dict[str, str]:
    marks = {"intent_code": str(header.intent), "intent_name": header.intent_name}
    marks |= {f"intent_p{n}": f"{value:g}" for n, value in enumerate(header.intent_values, 1)}
    if len(header.sizes) == 4 and math.isfinite(header.pixdim[4]) and header.pixdim[4] > 0:
        unit = SECONDS.get(header.units & 0x38)
        marks |= {TIME_STEP: f"{header.pixdim[4] * unit:.9g}"} if unit is not None else {}
    return marks if header.magic else {}
