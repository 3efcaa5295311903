"""What stands in the folders is all that is known of a run: what each case has become, and which failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.files import content_hash
from DeepRegLib.errors import OutputError
from DeepRegLib.files import make_folder, write_text
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.files.output_folder import RESULT, files_called_so
from DeepRegLib.saving import is_output, json_text
from DeepRegLib.segmentation.saving import is_segmentation_file
from DeepRegLib.series.names import FRAME, SERIES_FILES, SERIES_JSON

CASES, FAILURES = "cases", "failures"
RECORD, LOG, THUMBNAIL = "case.json", "log.txt", "thumbnail.jpg"
# What is measured of a series: of the whole, and of each frame.
SMOOTHNESS = ("roughness_before_mm", "roughness_after_mm")
OF_FRAMES = (
    *("ncc_before", "ncc_after", "motion_mean", "motion_p95", "motion_max", "strain", "folds", "inverse_folds"),
    *("inverse_error", "jacobian_min", "jacobian_mean", "jacobian_max"),
)
SERIES_NAMES = frozenset(SERIES_FILES.values())
LARGEST_RECORD = 100_000_000


def folder_of(output: str | Path, name: str) -> Path:
    """Return the folder of a case's result."""
    return Path(output) / CASES / name


def failure_file(output: str | Path, name: str) -> Path:
    """Return the file that tells why a case has no result."""
    return Path(output) / FAILURES / f"{name}.json"


def is_case_file(name: str) -> bool:
    """Tell whether a run may have put a file of this name into a case's folder; in a frame's it is "frame/name"."""
    frame, slash, _ = name.partition("/")
    if slash:
        return FRAME.fullmatch(frame) is not None
    return any((name in (RECORD, LOG, THUMBNAIL), is_output(name), is_segmentation_file(name), name in SERIES_NAMES))


def record_of(folder: Path) -> dict[str, Any] | None:
    """Return what a case's folder says of itself; None if there is no whole result in it."""
    if not any((folder / name).is_file() for name in (RESULT, SERIES_JSON)):
        return None
    return json_table(folder / RECORD, LARGEST_RECORD)


def foreign_files(folder: Path) -> list[str]:
    """Return which files in a case's folder a run would replace, although they are not as its record lists them.

    They were put there, or changed, by somebody; a record from before files were listed vouches for all.
    """
    present = [name for name in files_called_so(folder, is_case_file) if name != RECORD] if folder.is_dir() else []
    if not present:
        return []
    record = json_table(folder / RECORD, LARGEST_RECORD)
    if record is None:
        return present
    listed = _table(record.get("files", dict.fromkeys(present)))
    return [name for name in present if name not in listed or listed[name] not in (None, content_hash(folder / name))]


def write_failure(output: str | Path, name: str, table: Mapping[str, Any]) -> None:
    """Write why a case has no result; that even this cannot be written costs the reason, not the run."""
    path = failure_file(output, name)
    try:
        make_folder(path.parent)
        write_text(path, json_text(table))
    except OutputError:
        return


def clear_failure(output: str | Path, name: str) -> None:
    """Forget why a case had no result, now that it has one."""
    try:
        failure_file(output, name).unlink(missing_ok=True)
    except OSError:
        return


def summary_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table of all cases shows of a result: verdict, reasons, every measure, device and versions.

    Parameters
    ----------
    result
        What `result.json` or `series.json` holds.
    """
    verdict, provenance = _table(result.get("verdict")), _table(result.get("provenance"))
    return {
        "verdict": str(verdict.get("level", "")),
        "reasons": _list(verdict.get("reasons")),
        "warnings": _list(result.get("warnings")),
        "measures": measures_of(result),
        "device": str(provenance.get("device", "")),
        "versions": _table(provenance.get("versions")),
        "voxels": _voxels(result),
    }


def measures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return every number that a result measures, by name; of a measure by label with the label behind it."""
    found: dict[str, float] = {}
    for name, value in _table(result.get("measures")).items():
        entries = {f"{name}_{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
        found |= {key: item for key, item in entries.items() if _is_number(item)}
        if isinstance(value, dict) and entries:
            numbers = [item for item in value.values() if _is_number(item)]
            found |= {f"{name}_mean": sum(numbers) / len(numbers)} if numbers else {}
    for name in SMOOTHNESS if result.get("frames") else ():
        found |= {name: result[name]} if _is_number(result.get(name)) else {}
    for name in OF_FRAMES if result.get("frames") else ():
        frames = map(_table, _list(result.get("frames")))
        numbers = [frame[name] for frame in frames if _is_number(frame.get(name))]
        if numbers:
            found |= {f"{name}_of_frames_mean": sum(numbers) / len(numbers)}
            found |= {f"{name}_of_frames_min": min(numbers), f"{name}_of_frames_max": max(numbers)}
    for segment in map(_table, _list(result.get("segments"))):
        for column in ("volume_ml", "agreement"):
            if _is_number(segment.get(column)):
                found[f"{column}_{segment.get('name')}"] = segment[column]
    return found


def _voxels(result: Mapping[str, Any]) -> int | None:
    size = _table(result.get("fixed") or result.get("scan") or result.get("reference")).get("size")
    if not isinstance(size, list) or not all(isinstance(count, int) for count in size):
        return None
    total = max(1, len(_list(result.get("frames"))))
    for count in size:
        total *= count
    return total


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
