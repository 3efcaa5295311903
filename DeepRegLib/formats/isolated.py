"""Files read by ITK in a process of their own, with limits of time and memory: HDF5 and rare formats.

Their readers believe every number in a file and crash, or take gigabytes, at a wrong one; and what a file will become
cannot be told from outside.
"""

from __future__ import annotations

import json
import math
import os
import signal
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import DamagedFileError, Raster
from DeepRegLib.formats.tiff import SUFFIXES as TIFF_SUFFIXES
from DeepRegLib.formats.tiff import require_whole_tiff
from DeepRegLib.naming import shown
from DeepRegLib.process_setup import this_python

CHILD = Path(__file__).with_name("itk_child.py")
GIGABYTE = 1 << 30
# Python, numpy and SimpleITK reserve about one gigabyte of addresses before anything is read.
LEAST_MEMORY = 3 * GIGABYTE
MEMORY_PER_BYTE = 40
# What they write to is far less: this, and what can be unpacked from the file's bytes, as often as it is copied. So a
# file of kilobytes takes no gigabyte, whatever it claims.
LEAST_WRITTEN = GIGABYTE // 4
UNPACKED_PER_BYTE, COPIES = 1032, 4
# Of its own computing time; on a busy machine it is waited for longer.
SECONDS = 20.0
WAITED = 3.0
OUT_OF_TIME = [getattr(signal, "SIGXCPU", -1)]
SECONDS_PER_GIGABYTE = 60.0
LONGEST_ANSWER = 1 << 22
HEADER_LENGTHS = {".pic": 76}
COMPRESSED_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".bmp", ".gz", ".hdf5", ".h5", ".hdf", ".mnc", ".mnc2", ".nia"),
    *TIFF_SUFFIXES,
)
# Each thread would reserve addresses, of which there are not many.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


def read_elsewhere(kind: str, path: Path) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Read an ``"image"``, a ``"transform"``, a DICOM ``"series"`` or a folder's ``"files"`` in a process of its own.

    Parameters
    ----------
    kind
        What the file is to hold.
    path
        The file.

    Returns
    -------
    tuple
        What `itk_child` says of it, and the arrays that belong to it.

    Raises
    ------
    InputError
        If ITK cannot read it, crashes, or needs too much time or memory.
    """
    size = (
        sum(file.stat().st_size for file in path.iterdir() if file.is_file()) if path.is_dir() else path.stat().st_size
    )
    memory = LEAST_MEMORY + MEMORY_PER_BYTE * size
    seconds = SECONDS + SECONDS_PER_GIGABYTE * size / GIGABYTE
    with _name_for_itk(path) as name:
        limits = str(memory), str(_written(size, memory)), str(math.ceil(seconds))
        command = [this_python(), str(CHILD), kind, name, *limits]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        timer = threading.Timer(WAITED * seconds, process.kill)
        timer.daemon = True
        timer.start()
        assert process.stdout is not None  # noqa: S101  # for mypy: it is a pipe
        try:
            with process.stdout as stream:
                return _answer(kind, stream, path, memory)
        except _NoAnswerError as error:
            code = process.wait()
            if not timer.is_alive() or -code in OUT_OF_TIME:
                raise InputError(
                    f"{shown(path)} was not read within {seconds:.0f} s.", "Copy or export the file again."
                ) from error
            reason = f"its reader crashed, {_ending(code)}" if code else "its reader said nothing"
            raise DamagedFileError(f"{shown(path)} is damaged: {reason}.") from error
        finally:
            timer.cancel()
            process.kill()
            process.wait()


def _written(size: int, memory: int) -> int:
    """Return how many bytes of its memory a process may write to for a file of so many."""
    return min(LEAST_WRITTEN + COPIES * UNPACKED_PER_BYTE * size, memory)


class _NoAnswerError(Exception):
    """The child ended before it had said everything."""


def _answer(kind: str, stream: IO[bytes], path: Path, memory: int) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    line = stream.readline(LONGEST_ANSWER)
    if not line.endswith(b"\n"):
        raise _NoAnswerError
    table: dict[str, Any] = json.loads(line)
    if "error" in table:
        raise _refusal(kind, path, table["error"])
    arrays = []
    for part in (table, *table.get("parts", ())):
        if "shape" not in part:
            continue
        dtype, shape = np.dtype(part["dtype"]), tuple(part["shape"])
        if math.prod(shape) * dtype.itemsize > memory:
            raise _refusal(kind, path, "memory")
        array = np.empty(shape, dtype=dtype)
        target = array.reshape(-1).view(np.uint8).data
        filled = 0
        while filled < len(target) and (block := stream.read(min(len(target) - filled, 8 << 20))):
            target[filled : filled + len(block)] = block
            filled += len(block)
        if filled < len(target):
            raise _NoAnswerError
        arrays.append(array)
    return table, arrays


def read_with_itk(path: Path) -> Raster:
    """Read a volume of any format that ITK knows, in a process of its own.

    Raises
    ------
    InputError
        As `read_elsewhere`.
    """
    if path.name.lower().endswith(TIFF_SUFFIXES):
        require_whole_tiff(path)
    table, (array,) = read_elsewhere("image", path)
    _require_whole(path, array)
    count = len(table["spacing"])
    direction = np.reshape(table["direction"], (count, count))[:3, :3]
    placed = tuple(table["spacing"]), tuple(table["origin"]), direction if count >= 3 else None
    flat = path.name.lower().endswith(TIFF_SUFFIXES) and array.ndim == 3 and table["channels"] == 1
    remarks = (f"{shown(path)} does not say how far its pictures lie apart: 1 mm was taken.",) if flat else ()
    return Raster(array, table["channels"], *placed, remarks=remarks)


def _require_whole(path: Path, array: NDArray[Any]) -> None:
    """Make sure that a file that is not compressed has the bytes of its voxels: some readers fill up with zeros."""
    if path.name.lower().endswith(COMPRESSED_SUFFIXES):
        return
    with path.open("rb") as stream:
        start = stream.read(2048)
    header = _header_length(path, start)
    if path.stat().st_size - header < array.nbytes:
        raise DamagedFileError(f"{shown(path)} is damaged or truncated: voxels are missing.")


def _header_length(path: Path, start: bytes) -> int:
    """Return how many bytes stand before the voxels of a file, or fewer."""
    name = path.name.lower()
    if name.endswith(".mrc") and len(start) >= 96:
        return 1024 + max(struct.unpack_from("<i", start, 92)[0], 0)
    return HEADER_LENGTHS.get(path.suffix.lower(), 0)


@contextmanager
def _name_for_itk(path: Path) -> Iterator[str]:
    """Give a name of the file that SimpleITK takes: one that is not UTF-8 makes it abort."""
    name = str(path.absolute())
    if shown(name) == name:
        yield name
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / ("file" + "".join(s for s in path.suffixes[-2:] if shown(s) == s))
        link.symlink_to(path.absolute())
        yield str(link)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _refusal(kind: str, path: Path, reason: str) -> InputError:
    name = shown(path)
    if reason == "memory" or "allocate" in reason.lower() or "bad_alloc" in reason:
        return InputError(f"{name} needs more memory than a file of its size should.", "Copy or export the file again.")
    if kind == "transform":
        return DamagedFileError(f"{name} is not a readable ITK transform.", "Give .h5, .tfm or a vector image.")
    if "Unable to determine ImageIO reader" in reason:
        return InputError(
            f"{name} is not an image file DeepReg can read.", "Give .nii, .nii.gz, .nrrd, .mha, .mhd or DICOM."
        )
    return DamagedFileError(f"{name} cannot be read: the file is damaged or truncated.")
