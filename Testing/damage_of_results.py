"""Files that hold more than an image, a transform or points: models, DICOM objects, folders of results and series."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset

from DeepRegLib.cohort.manifest import read_manifest
from DeepRegLib.dicom.contours_writing import write_contours
from DeepRegLib.dicom.dose import read_dose_header, write_dose
from DeepRegLib.dicom.registration_reading import read_registration_object
from DeepRegLib.dicom.series import Series, read_series
from DeepRegLib.dicom.structure_files import read_structures
from DeepRegLib.dicom.structures import Structure, StructureSet
from DeepRegLib.formats.nifti_series import write_nifti_series
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.models.bundle import ModelBundle, load_bundle, load_network
from DeepRegLib.models.manifest import read_manifest as read_model_manifest
from DeepRegLib.models.monai_bundle import read_monai_bundle
from DeepRegLib.models.torch_files import read_tensors
from DeepRegLib.recipes import load_recipe, recipe_to_dict
from DeepRegLib.record import record_of_text
from DeepRegLib.saved_result import read_result
from DeepRegLib.segmentation import Segment
from DeepRegLib.segmentation.seg_nrrd import read_segmentation, write_segmentation
from DeepRegLib.series.frames import read_frames
from DeepRegLib.series.saved import read_series_folder
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, write_transform
from DeepRegLib.transforms.dicom_writing import write_dicom_registration
from Testing.damage import Kind
from Testing.dicom.scans import write_scan
from Testing.models.tiny import build, tiny_bundle
from Testing.segmentation.monai_bundles import INFERENCE, write_configs

GRID = Geometry((6, 5, 4), (1.0, 1.5, 2.0), (-10.0, 5.0, 3.0))
PLACE = {"size": GRID.size, "spacing": GRID.spacing, "origin": GRID.origin, "direction": GRID.direction}
VOXELS = np.arange(120, dtype=np.int16).reshape(GRID.shape)
UID = "1.2.826.0.1.3680043.2.1125"
Made = tuple[Path, Path]


def _scan(folder: Path, number: int = 1) -> Series:
    return read_series(write_scan(folder / f"scan {number}", Image(VOXELS, GRID), f"{UID}.{number}"))


def _field() -> DisplacementField:
    return DisplacementField(np.random.default_rng(0).normal(size=(*GRID.shape, 3)).astype(np.float32), GRID)


def _registration(transform: Transform) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        path = folder / "r.dcm"
        write_dicom_registration(transform, path, _scan(folder), _scan(folder, 2))
        return path, path

    return make


def _contours(folder: Path) -> Made:
    path, inside = folder / "s.dcm", np.zeros(GRID.shape, dtype=np.uint16)
    inside[1:3, 1:4, 1:5] = 1
    write_contours(path, StructureSet((inside,), GRID, (Structure(1, "a", (1, 2, 3)),)), _scan(folder))
    return path, path


def _read_structures(path: Path) -> object:
    return read_structures(path, GRID)


def _dose(folder: Path) -> Made:
    path, header = folder / "d.dcm", Dataset()
    header.DoseUnits, header.DoseType, header.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    write_dose(path, VOXELS.astype(np.float64), GRID, header, _scan(folder))
    return path, path


def _read_dose(path: Path) -> object:
    return read_dose_header(path, read_series(path.parent / "scan 1"))


def _segments(folder: Path) -> Made:
    path = folder / "s.seg.nrrd"
    labels = Image((VOXELS % 3).astype(np.uint8), GRID)
    write_segmentation(labels, [Segment(n, f"part {n}", (1.0, 0.5, 0.0)) for n in (1, 2)], path)
    return path, path


def _bundle(damaged: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        tiny_bundle(folder / "tiny")
        return folder / "tiny", folder / "tiny" / damaged

    return make


def _read_bundle(folder: Path) -> object:
    return load_network(load_bundle(folder), "cpu", build=build)


def _read_weights(folder: Path) -> object:
    """Read weights that the manifest vouches for, whatever they are: a stranger writes both."""
    content = (folder / "weights.safetensors").read_bytes()
    manifest = replace(read_model_manifest(folder), weights_sha256=hashlib.sha256(content).hexdigest())
    return load_network(ModelBundle(folder, manifest), "cpu", build=build)


def _tensors() -> dict[str, torch.Tensor]:
    return {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.int64)}


def _torch_file(folder: Path) -> Made:
    torch.save(_tensors(), folder / "w.pth")
    return folder / "w.pth", folder / "w.pth"


class _Scripted(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)


def _monai(damaged: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        bundle = write_configs(folder / "bundle", INFERENCE)
        if damaged.endswith(".ts"):
            torch.jit.save(torch.jit.script(_Scripted()), bundle / damaged)
        else:
            torch.save(_tensors(), bundle / "models" / "model.pt")
        return bundle, bundle / damaged

    return make


def _monai_archive(folder: Path) -> Made:
    bundle, _ = _monai("models/model.pt")(folder)
    path = Path(shutil.make_archive(str(folder / "packed"), "zip", bundle.parent, bundle.name))
    return path, path


def _transforms(folder: Path) -> None:
    folder.mkdir()
    for name in ("transform.h5", "inverse.h5"):
        write_transform(LinearTransform.identity(), folder / name)


def _result(folder: Path) -> Made:
    _transforms(folder / "out")
    table = {
        "files": {"transform": "transform.h5", "inverse": "inverse.h5"},
        "fixed": PLACE,
        "moving": PLACE,
        "provenance": {"seed": 0, "background": -1000, "corrections": [{"shown": [[1, 2, 3]], "wanted": [[1, 2, 4]]}]},
        "recipe": recipe_to_dict(load_recipe("rigid")),
        "decisions": ["none"],
        "warnings": [],
        "verdict": {"level": "ok", "reasons": []},
    }
    (folder / "out" / "result.json").write_text(json.dumps(table), encoding="utf-8")
    return folder / "out", folder / "out" / "result.json"


def _record(folder: Path) -> Made:
    path = _result(folder)[1]
    return path, path


def _read_record(path: Path) -> object:
    return record_of_text(path.read_bytes().decode("utf-8", "replace"), "The scene")


def _series(folder: Path) -> Made:
    out = folder / "series"
    out.mkdir()
    for number in (0, 1):
        _transforms(out / f"frame_{number:04d}")
    table = {"reference": PLACE, "frames": [{"time": 0.0}, {"time": 0.5}], "unit": "s"}
    (out / "series.json").write_text(json.dumps(table), encoding="utf-8")
    return out, out / "series.json"


def _read_series(folder: Path) -> object:
    return [each[0] for each in (read_series_folder(folder).transforms, read_series_folder(folder).inverses)]


def _cases(folder: Path) -> Made:
    path = folder / "cases.csv"
    path.write_text("case;fixed;moving;recipe\na;f.nii.gz;m1.nii.gz;fast\nb;f.nii.gz;m2.nii.gz;\n", encoding="utf-8")
    return path, path


def _read_cases(path: Path) -> object:
    return read_manifest(path, {})


def _frames(folder: Path) -> Made:
    path = folder / "series.nii.gz"
    write_nifti_series(path, [VOXELS, VOXELS + 1], 2, GRID, 0.5)
    return path, path


def _sequence(folder: Path) -> Made:
    path = folder / "heart.seq.nrrd"
    header = (
        "NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 6 5 4\n"
        "space directions: none (2,0,0) (0,1,0) (0,0,3)\nkinds: list domain domain domain\nendian: little\n"
        "encoding: raw\nspace origin: (1,2,3)\naxis 0 index type:=numeric\naxis 0 index values:=0 40\n\n"
    )
    path.write_bytes(header.encode() + np.stack([VOXELS, VOXELS], axis=-1).astype("<i2").tobytes())
    return path, path


def _read_frames(path: Path) -> object:
    return [frame.read() for frame in read_frames(path)]


RESULT_KINDS = {
    "dicom, rigid registration": Kind(read_registration_object, _registration(LinearTransform.identity())),
    "dicom, deformable registration": Kind(read_registration_object, _registration(_field())),
    "dicom, structure set": Kind(_read_structures, _contours),
    "dicom, dose": Kind(_read_dose, _dose),
    "segmentation, nrrd": Kind(read_segmentation, _segments),
    "model, manifest": Kind(_read_bundle, _bundle("model.json")),
    "model, weights": Kind(_read_weights, _bundle("weights.safetensors")),
    "torch weights": Kind(read_tensors, _torch_file),
    "monai, configuration": Kind(read_monai_bundle, _monai("configs/inference.json")),
    "monai, metadata": Kind(read_monai_bundle, _monai("configs/metadata.json")),
    "monai, weights": Kind(read_monai_bundle, _monai("models/model.pt")),
    "monai, torchscript": Kind(read_monai_bundle, _monai("models/model.ts")),
    "monai, archive": Kind(read_monai_bundle, _monai_archive),
    "result folder": Kind(read_result, _result),
    "record in a scene": Kind(_read_record, _record),
    "series folder": Kind(_read_series, _series),
    "table of cases": Kind(_read_cases, _cases),
    "frames, nifti": Kind(_read_frames, _frames),
    "frames, sequence": Kind(_read_frames, _sequence),
}
