"""The program that reads with ITK what cannot be checked beforehand; see `isolated`.

    python itk_child.py image|transform|series|files FILE BYTES WRITTEN SECONDS

It writes a line of JSON and the numbers it speaks of to standard output, and imports nothing of DeepReg's. A file that
makes ITK crash, or ask for more than BYTES of addresses, WRITTEN bytes of memory or SECONDS of time, ends this process
and no other.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path

WINDOWS_NEEDS = 1 << 29  # there Python and SimpleITK count as well
JOB_MEMORY, EXTENDED_LIMITS = 0x100, 9  # of Windows: JOB_OBJECT_LIMIT_PROCESS_MEMORY, JobObjectExtendedLimitInformation


def limit_memory(addresses: int, written: int) -> None:
    """Let this process have so many addresses and so many bytes of its own at most, where the system can."""
    if sys.platform == "win32":
        _limit_memory_on_windows(written + WINDOWS_NEEDS)
        return
    import resource

    for kind, count in ((resource.RLIMIT_AS, addresses), (resource.RLIMIT_DATA, written)):
        with contextlib.suppress(OSError, ValueError):  # macOS has no such limit, or a lower one is set
            resource.setrlimit(kind, (count, resource.getrlimit(kind)[1]))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: int) -> None:
    """Let this process compute for so long at most, where the system can; the parent's clock runs in any case."""
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


def _limit_memory_on_windows(count: int) -> None:
    class Basic(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", ctypes.c_uint32),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", ctypes.c_uint32),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", ctypes.c_uint32),
            ("SchedulingClass", ctypes.c_uint32),
        )

    class Extended(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", Basic),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    windows = getattr(ctypes, "windll").kernel32  # noqa: B009  # there is none elsewhere, and mypy knows
    windows.CreateJobObjectW.restype = windows.GetCurrentProcess.restype = ctypes.c_void_p
    job = ctypes.c_void_p(windows.CreateJobObjectW(None, None))
    limits = Extended(BasicLimitInformation=Basic(LimitFlags=JOB_MEMORY), ProcessMemoryLimit=count)
    windows.SetInformationJobObject(job, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits))
    windows.AssignProcessToJobObject(job, ctypes.c_void_p(windows.GetCurrentProcess()))


def read_image(name):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    """Return what there is to say of an image, and its array."""
    import SimpleITK as sitk

    return described(sitk.ReadImage(name), sitk)


def described(picture, sitk):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    """Return what there is to say of an image, and its array."""
    array = sitk.GetArrayFromImage(picture)
    table = {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "channels": picture.GetNumberOfComponentsPerPixel(),
        "spacing": list(picture.GetSpacing()),
        "origin": list(picture.GetOrigin()),
        "direction": list(picture.GetDirection()),
    }
    return table, [array]


def read_files(name):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    """Return the arrays of all files of a folder, by name."""
    import SimpleITK as sitk

    found = [described(sitk.ReadImage(str(path)), sitk) for path in sorted(Path(name).iterdir())]
    return {"parts": [table for table, _ in found]}, [array for _, (array,) in found]


def read_series(name):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    """Return the slices of the DICOM series that a folder holds, or that a file belongs to, as GDCM orders them."""
    import SimpleITK as sitk

    folder = Path(name) if Path(name).is_dir() else Path(name).parent
    series = {
        uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    }
    if Path(name).is_file():  # one UID may be the beginning of another, so the series is found by its files
        own = [files for files in series.values() if any(Path(file).name == Path(name).name for file in files)]
        chosen = own[:1] or [(name,)]
    else:
        chosen = list(series.values())
    if len(chosen) != 1:
        return {"series": len(chosen), "files": [Path(files[0]).name for files in chosen]}, []
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(chosen[0])
    reader.MetaDataDictionaryArrayUpdateOn()
    table, arrays = described(reader.Execute(), sitk)
    keys = {"position": "0020|0032", "orientation": "0020|0037", "slope": "0028|1053", "intercept": "0028|1052"}
    keys["frames"] = "0028|0008"
    table["slices"] = [
        {word: reader.GetMetaData(n, key) if reader.HasMetaDataKey(n, key) else "" for word, key in keys.items()}
        for n in range(len(chosen[0]))
    ]
    return table, arrays


def read_transform(name):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    """Return what there is to say of a transform's parts, in the file's order, and the arrays of its fields."""
    import SimpleITK as sitk

    parts, arrays = [], []
    for part in flattened(sitk.ReadTransform(name), sitk):
        table = {"kind": part.GetName(), "dimension": part.GetDimension(), "linear": part.IsLinear()}
        if isinstance(part, sitk.DisplacementFieldTransform):
            picture = part.GetDisplacementField()
            array = sitk.GetArrayFromImage(picture)
            arrays.append(array)
            table |= {"dtype": array.dtype.str, "shape": list(array.shape), "spacing": list(picture.GetSpacing())}
            table |= {"origin": list(picture.GetOrigin()), "direction": list(picture.GetDirection())}
        elif part.IsLinear() and part.GetDimension() == 3:
            table |= {"parameters": list(part.GetParameters()), "fixed": list(part.GetFixedParameters())}
            table["points"] = [part.TransformPoint(p) for p in ((0.0, 0.0, 0.0), (1e3, 0, 0), (0, 1e3, 0), (0, 0, 1e3))]
        parts.append(table)
    return {"parts": parts}, arrays


def flattened(transform, sitk):  # type: ignore[no-untyped-def]  # SimpleITK has no types
    """Return a transform's parts, those of composites inside it among them."""
    concrete = transform.Downcast()
    if not isinstance(concrete, sitk.CompositeTransform):
        return [concrete]
    found = []
    for n in range(concrete.GetNumberOfTransforms()):
        found += flattened(concrete.GetNthTransform(n), sitk)
    return found


READERS = {"image": read_image, "transform": read_transform, "series": read_series, "files": read_files}


def main(words: list[str]) -> int:
    """Read, and answer on standard output."""
    kind, name, addresses, written, seconds = words
    sys.path.pop(0)  # this script's folder, whose modules are DeepReg's
    output = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("wb") as nowhere:  # what C libraries print
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    limit_memory(int(addresses), int(written))
    limit_time(int(seconds))
    try:
        table, arrays = READERS[kind](name)
    except MemoryError:
        table, arrays = {"error": "memory"}, []
    except Exception as error:  # noqa: BLE001  # told to the parent, which makes a sentence of it
        table, arrays = {"error": str(error)[-2000:] or type(error).__name__}, []
    output.write(json.dumps(table).encode("ascii") + b"\n")
    for array in arrays:
        output.write(memoryview(array).cast("B"))
    output.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
