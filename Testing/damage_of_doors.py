"""Files of the newer doors: surfaces, curves, time points, studies, other tasks' bundles, what an earlier run left."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from DeepRegLib.cli.quality import _result_beside
from DeepRegLib.cohort.record import LARGEST_RECORD, record_of, summary_of
from DeepRegLib.dicom.segmentation import read_segmentation as read_dicom_segmentation
from DeepRegLib.dicom.segmentation import write_segmentation as write_dicom_segmentation
from DeepRegLib.dicom.structures import Structure, StructureSet
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.files.output_folder import earlier_files
from DeepRegLib.files.workplace import remove_abandoned
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.landmarks.markups_moved import move_markups
from DeepRegLib.mesh_files import move_model
from DeepRegLib.models.bundle import ModelBundle, load_bundle, load_network, save_bundle
from DeepRegLib.models.manifest import TRANSLATE, Manifest, ModelInput
from DeepRegLib.networks import build_network
from DeepRegLib.result import OK, Verdict
from DeepRegLib.segmentation import Segment
from DeepRegLib.segmentation.atlas_folder import read_atlases
from DeepRegLib.segmentation.fractional import Fractions, read_fractions, write_fractions
from DeepRegLib.segmentation.seg_nrrd import write_segmentation
from DeepRegLib.series.frames import read_frames
from DeepRegLib.series.stores import FolderStore, Found
from DeepRegLib.training.config import SHIPPED, config_names, config_to_dict, load_config
from DeepRegLib.training.journal import LOG, Journal
from DeepRegLib.training.state import STATE, TENSORS, read_config, read_tensors
from DeepRegLib.transforms import LinearTransform
from Testing.damage import Kind, dataset_of_slice
from Testing.damage_of_results import GRID, VOXELS, Made, _result, _scan

POINTS = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]])
FACES = ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))


def _move(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points + 1.0


def _read_model(path: Path) -> object:
    return move_model(path, path.with_name(f"moved{path.suffix}"), _move)


def _file(name: str, content: Callable[[], bytes]) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        (folder / name).write_bytes(content())
        return folder / name, folder / name

    return make


def _vtk(binary: bool) -> Callable[[], bytes]:
    def content() -> bytes:
        head = f"# vtk DataFile Version 3.0\nvtk output\n{'BINARY' if binary else 'ASCII'}\nDATASET POLYDATA\n"
        points = POINTS.astype(">f4").tobytes() if binary else "\n".join(map(str, POINTS.ravel())).encode()
        return head.encode() + b"POINTS 4 float\n" + points + b"\nPOLYGONS 4 16\n" + b"3 0 1 2\n" * 4

    return content


def _stl(binary: bool) -> Callable[[], bytes]:
    def content() -> bytes:
        if binary:
            facets = b"".join(
                np.zeros(3, "<f4").tobytes() + POINTS[list(f)].astype("<f4").tobytes() + b"\0\0" for f in FACES
            )
            return b"SPACE=LPS".ljust(80) + (4).to_bytes(4, "little") + facets
        lines = [f"vertex {x} {y} {z}\n" for face in FACES for x, y, z in POINTS[list(face)]]
        return ("solid a\n" + "".join(lines) + "endsolid a\n").encode()

    return content


def _obj() -> bytes:
    lines = [f"v {x} {y} {z}\n" for x, y, z in POINTS] + [f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in FACES]
    return "".join(lines).encode()


def _ply(binary: bool) -> Callable[[], bytes]:
    def content() -> bytes:
        kind = "binary_little_endian" if binary else "ascii"
        axes = "".join(f"property float {axis}\n" for axis in "xyz")
        head = f"ply\nformat {kind} 1.0\ncomment SPACE=LPS\nelement vertex 4\n{axes}element face 4\n"
        head += "property list uchar int vertex_indices\nend_header\n"
        if binary:
            faces = b"".join(b"\3" + np.array(face, "<i4").tobytes() for face in FACES)
            return head.encode() + POINTS.astype("<f4").tobytes() + faces
        lines = [f"{x} {y} {z}\n" for x, y, z in POINTS] + [f"3 {a} {b} {c}\n" for a, b, c in FACES]
        return (head + "".join(lines)).encode()

    return content


def _vtp(appended: bool) -> Callable[[], bytes]:
    def content() -> bytes:
        packed = zlib.compress(POINTS.astype("<f4").tobytes())
        counts = np.array([1, POINTS.size * 4, 0, len(packed)], "<u4").tobytes()
        data = base64.b64encode(counts) + base64.b64encode(packed)
        where = b'format="appended" offset="0"/>' if appended else b'format="binary">' + data + b"</DataArray>"
        tail = b'<AppendedData encoding="base64">_' + data + b"</AppendedData>" if appended else b""
        head = b'<VTKFile type="PolyData" byte_order="LittleEndian" compressor="vtkZLibDataCompressor"><PolyData>'
        points = b'<Points><DataArray type="Float32" Name="Points" NumberOfComponents="3" ' + where + b"</Points>"
        return head + b'<Piece NumberOfPoints="4">' + points + b"</Piece></PolyData>" + tail + b"</VTKFile>"

    return content


def _fractional(folder: Path) -> Made:
    shares = np.linspace(0, 1, 60, dtype=np.float32).reshape(5, 4, 3)
    images = [Image(shares, Geometry((3, 4, 5))), Image(1 - shares, Geometry((3, 4, 5)))]
    known = Segment(1, "a", (1.0, 0.0, 0.0)), Segment(2, "b", (0.0, 1.0, 0.0))
    write_fractions(Fractions(tuple(images), known), folder / "f.seg.nrrd")
    return folder / "f.seg.nrrd", folder / "f.seg.nrrd"


def _curve() -> bytes:
    controls = [{"id": str(n), "label": f"c-{n}", "position": list(point)} for n, point in enumerate(POINTS)]
    markup = {"type": "ClosedCurve", "coordinateSystem": "LPS", "controlPoints": controls, "measurements": []}
    return json.dumps({"@schema": "markups", "markups": [markup]}, indent=1).encode()


def _read_curve(path: Path) -> object:
    return move_markups(path, path.with_name("moved.mrk.json"), _move)


def _training() -> bytes:
    return (SHIPPED / f"{config_names()[0]}.toml").read_bytes()


def _checkpoint(damaged: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        content = save({"network.a": torch.arange(6.0), "optimiser.a.step": torch.ones(1)})
        (folder / TENSORS).write_bytes(content)
        (folder / "t.toml").write_bytes(_training())
        table = {"format": 1, "iteration": 3, "config": config_to_dict(load_config(folder / "t.toml"))}
        hashed = {} if damaged == TENSORS else {"tensors_sha256": hashlib.sha256(content).hexdigest()}
        (folder / STATE).write_text(json.dumps(table | hashed, indent=1), encoding="utf-8")
        return folder, folder / damaged

    return make


def _read_tensors(folder: Path) -> object:
    return read_tensors(folder, "cpu")


def _journal(folder: Path) -> Made:
    lines = [json.dumps({"iteration": n, "group": "train", "loss": 0.5}) for n in range(4)]
    (folder / LOG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder, folder / LOG


def _read_journal(folder: Path) -> object:
    return Journal(folder, 2).close()


def _dicom_segmentation(folder: Path) -> Made:
    inside = np.zeros(GRID.shape, dtype=np.uint16)
    inside[1:3, 1:4, 1:5] = 1
    structures = StructureSet((inside,), GRID, (Structure(1, "a", (1, 2, 3)),))
    write_dicom_segmentation(folder / "s.dcm", structures, _scan(folder))
    return folder / "s.dcm", folder / "s.dcm"


def _read_dicom_segmentation(path: Path) -> object:
    return read_dicom_segmentation(path, GRID)


def _time_points(folder: Path) -> Made:
    for number in range(8):
        dataset = dataset_of_slice(number, VOXELS[number % 4])
        dataset.ImagePositionPatient = [-9.0, -8.0, 3.0 * (number % 4)]
        dataset.TemporalPositionIdentifier = 1 + number // 4
        dataset.TriggerTime = str(100.0 * (number // 4))
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder, folder / "5.dcm"


def _read_time_points(folder: Path) -> object:
    return [frame.read() for frame in read_frames(folder)]


def _study(folder: Path) -> Made:
    _scan(folder / "study")
    return folder / "study", sorted((folder / "study" / "scan 1").iterdir())[0]


def _bundle(damaged: str, task: str) -> Callable[[Path], Made]:
    """Write a bundle of an architecture that is built for good: what its manifest asks for must not be built first."""

    def make(folder: Path) -> Made:
        segments = () if task == TRANSLATE else (Segment(3, "liver", (0.5, 0.2, 0.1)),)
        kind = (
            ("translator", {"channels": [2, 4, 4]})
            if task == TRANSLATE
            else ("segmentation-cnn", {"channels": 2, "out": 2})
        )
        about = dict.fromkeys(("trained_on", "licence", "intended_use", "limits"), "none")
        shown = ModelInput(4.0, (16, 16, 16))
        manifest = Manifest("tiny", "1", task, *kind, shown, **about, segments=segments)
        network = build_network(manifest.architecture, manifest.arguments)
        return save_bundle(folder / "m", manifest, network.state_dict()).folder, folder / "m" / damaged

    return make


def _read_bundle(folder: Path) -> object:
    found = load_bundle(folder)
    return load_network(ModelBundle(folder, found.manifest), "cpu")


def _atlas(folder: Path) -> Made:
    place = folder / "atlases" / "one"
    place.mkdir(parents=True)
    write_image(Image(VOXELS, GRID), place / "image.nii.gz")
    labels = Image((VOXELS % 3).astype(np.uint8), GRID)
    write_segmentation(labels, [Segment(n, f"part {n}", (1.0, 0.5, 0.0)) for n in (1, 2)], place / "labels.seg.nrrd")
    return place.parent, place / "labels.seg.nrrd"


def _found(folder: Path) -> Made:
    found = Found(LinearTransform.identity(), Verdict(OK, ()), 1.5, None, 0.6)
    FolderStore(folder).save("frame_0001", "key", found)
    return folder, folder / "frame_0001" / "found.json"


def _read_found(folder: Path) -> object:
    return FolderStore(folder).load("frame_0001", "key")


def _case(damaged: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        out, result = _result(folder)
        table = json.loads(result.read_text(encoding="utf-8"))
        table |= {"measures": {"folds": 0, "dice": {"1": 0.5}}, "segments": [{"name": "a", "volume_ml": 3}]}
        result.write_text(json.dumps(table), encoding="utf-8")
        (out / "case.json").write_text(json.dumps({"name": "a", "key": "k", "seconds": 1.0}), encoding="utf-8")
        return out, out / damaged

    return make


def _read_case(folder: Path) -> object:
    return record_of(folder), summary_of(json_table(folder / "result.json", LARGEST_RECORD) or {})


def _read_beside(folder: Path) -> object:
    return _result_beside(folder / "transform.h5"), earlier_files(folder, bool)


def _plan(folder: Path) -> Made:
    work = folder / ".partial-0123abcd"
    (work / "new").mkdir(parents=True)
    (work / "new" / "a.txt").write_text("a", encoding="utf-8")
    (work / "lock").touch()
    (work / "plan.json").write_text(json.dumps(["a.txt"]), encoding="utf-8")
    return folder, work / "plan.json"


def _read_plan(folder: Path) -> object:
    return remove_abandoned(folder)


# What an earlier run has left is no file of a stranger's: what is damaged counts as not there, and nothing is refused.
TOLERANT = {
    "what was found of a frame": Kind(_read_found, _found),
    "record of a case": Kind(_read_case, _case("case.json")),
    "result of a case": Kind(_read_case, _case("result.json")),
    "result beside a transform": Kind(_read_beside, _case("result.json")),
    "journal of a training": Kind(_read_journal, _journal),
    "plan of a save": Kind(_read_plan, _plan),
}
DOOR_KINDS = {
    "surface, vtk of text": Kind(_read_model, _file("m.vtk", _vtk(False))),
    "surface, vtk": Kind(_read_model, _file("m.vtk", _vtk(True))),
    "surface, stl": Kind(_read_model, _file("m.stl", _stl(True))),
    "surface, stl of text": Kind(_read_model, _file("m.stl", _stl(False))),
    "surface, obj": Kind(_read_model, _file("m.obj", _obj)),
    "surface, ply": Kind(_read_model, _file("m.ply", _ply(True))),
    "surface, ply of text": Kind(_read_model, _file("m.ply", _ply(False))),
    "surface, vtp": Kind(_read_model, _file("m.vtp", _vtp(False))),
    "surface, vtp with data appended": Kind(_read_model, _file("m.vtp", _vtp(True))),
    "segmentation, fractional": Kind(read_fractions, _fractional),
    "curve": Kind(_read_curve, _file("c.mrk.json", _curve)),
    "training, configuration": Kind(load_config, _file("t.toml", _training)),
    "training, state": Kind(read_config, _checkpoint(STATE)),
    "training, tensors": Kind(_read_tensors, _checkpoint(TENSORS)),
    "dicom, segmentation": Kind(_read_dicom_segmentation, _dicom_segmentation),
    "dicom, time points": Kind(_read_time_points, _time_points),
    "dicom, study": Kind(read_image, _study),
    "segmentation model, manifest": Kind(_read_bundle, _bundle("model.json", "segmentation")),
    "translation model, manifest": Kind(_read_bundle, _bundle("model.json", TRANSLATE)),
    "atlases": Kind(read_atlases, _atlas),
}
