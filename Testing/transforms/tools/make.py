"""Run other registration tools on small phantoms and keep what they wrote, for `Testing/transforms/test_tools.py`.

    python Testing/transforms/tools/make.py        # in an environment with antspyx, itk-elastix and nitransforms

ITK, ANTs, elastix and NiftyReg (`reg_aladin` and `reg_resample` on the path) register for themselves; what their own
resampling and their own mapping of points gives is kept beside the file of the transform. AFNI, FSL and FreeSurfer
cannot be had here: nitransforms writes their files for a known motion, and maps the points. Nothing of DeepReg is used.

Each orientation is a fixed image stored in it, and a moving image stored in another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import ants
import itk
import nibabel
import nitransforms
import numpy as np
import pandas as pd
import SimpleITK as sitk

HERE = Path(__file__).resolve().parent
LPS = np.diag([-1.0, -1.0, 1.0])
SIZE = (26, 24, 20)
ORIENTATIONS = ("RAS", "LAS", "LPS", "oblique", "anisotropic")
RANDOM = np.random.default_rng(7)
# Blobs of different sizes in an asymmetric arrangement: centre (LPS mm), radius (mm), brightness.
BLOBS = [
    ((0, 0, 0), 24, 90),
    ((14, -6, 9), 9, 110),
    ((-16, 8, -7), 7, 140),
    ((3, 16, 12), 6, -60),
    ((-7, -15, 10), 5, 120),
    ((10, 9, -14), 6, 70),
]
POINTS = np.array([[0, 0, 0], [12, -8, 6], [-15, 5, -9], [4, 14, 11], [-9, -13, 3]], dtype=float)  # LPS mm


def turned(degrees: float, axis: int) -> np.ndarray:
    """Return a rotation about a world axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a, b = [n for n in range(3) if n != axis]
    result = np.eye(3)
    result[a, a], result[a, b], result[b, a], result[b, b] = c, -s, s, c
    return result


# What nitransforms writes: the ending of the file, and what nitransforms calls the format.
WRITTEN = {"afni": ("aff12.1D", "afni"), "fsl": ("mat", "fsl"), "freesurfer": ("lta", "fs"), "x5": ("x5", "X5")}

# Fixed points to moving points (LPS mm).
MOTION = np.eye(4)
MOTION[:3, :3] = turned(9, 2) @ turned(-6, 0) @ np.diag([1.06, 0.95, 1.03])
MOTION[:3, 3] = (4.0, -5.0, 3.0)


def grid(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return direction cosines (LPS, a column an axis) and spacing of an orientation."""
    spacing = np.array([1.6, 2.9, 4.4]) if name == "anisotropic" else np.array([2.6, 2.8, 3.2])
    directions = {
        "RAS": np.diag([-1.0, -1.0, 1.0]),
        "LAS": np.diag([1.0, -1.0, 1.0]),
        "LPS": np.eye(3),
        "oblique": turned(17, 0) @ turned(-11, 1) @ turned(23, 2) @ np.diag([-1.0, -1.0, 1.0]),
        "anisotropic": np.diag([-1.0, -1.0, 1.0]),
    }
    return directions[name], spacing


def image(name: str, motion: np.ndarray, shift: tuple[float, float, float]) -> sitk.Image:
    """Draw the phantom on the grid of an orientation, about the middle of the blobs moved along."""
    axes, spacing = grid(name)
    size = np.array(SIZE) if name != "anisotropic" else np.array([40, 24, 16])
    origin = np.array(shift) - axes @ (spacing * (size - 1) / 2)
    i, j, k = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    world = (np.stack([i, j, k], -1) * spacing) @ axes.T + origin
    back = np.linalg.inv(motion)
    seen = world @ back[:3, :3].T + back[:3, 3]
    values = sum(
        bright / (1 + np.exp((np.linalg.norm(seen - centre, axis=-1) - radius) / 1.2))
        for centre, radius, bright in BLOBS
    )
    picture = sitk.GetImageFromArray(np.clip(values + 10, 0, 255).astype(np.uint8).transpose(2, 1, 0))
    picture.SetSpacing(spacing.tolist())
    picture.SetOrigin(origin.tolist())
    picture.SetDirection(axes.ravel().tolist())
    return picture


def by_itk(fixed: Path, moving: Path, out: Path) -> np.ndarray:
    """Register with SimpleITK."""
    a, b = (sitk.ReadImage(str(path), sitk.sitkFloat32) for path in (fixed, moving))
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInterpolator(sitk.sitkLinear)
    centre = a.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in a.GetSize()])
    start = sitk.AffineTransform(3)
    start.SetCenter(centre)
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(a, b)
    sitk.WriteTransform(start, str(out / "transform.tfm"))
    save(sitk.Resample(b, a, start, sitk.sitkLinear, 0.0), out)
    return np.array([start.TransformPoint(point.tolist()) for point in POINTS])


def by_ants(fixed: Path, moving: Path, out: Path) -> np.ndarray:
    """Register with ANTs."""
    a, b = (ants.image_read(str(path)) for path in (fixed, moving))
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(a, b, "Affine", outprefix=f"{folder}/", random_seed=1)
        shutil.copy(found["fwdtransforms"][0], out / "transform.mat")
        warped = ants.apply_transforms(a, b, found["fwdtransforms"], interpolator="linear")
        ants.image_write(warped, f"{folder}/warped.nii.gz")
        save(sitk.ReadImage(f"{folder}/warped.nii.gz"), out)
        table = pd.DataFrame(POINTS, columns=["x", "y", "z"])
        moved = ants.apply_transforms_to_points(3, table, found["fwdtransforms"])
    return moved[["x", "y", "z"]].to_numpy()


def by_elastix(fixed: Path, moving: Path, out: Path) -> np.ndarray:
    """Register with elastix, which writes its result as an ITK transform too."""
    a, b = (itk.imread(str(path), itk.F) for path in (fixed, moving))
    parameters = itk.ParameterObject.New()
    chosen = parameters.GetDefaultParameterMap("affine", 2)
    chosen["ITKTransformOutputFileNameExtension"] = ["tfm"]
    chosen["AutomaticTransformInitialization"] = ["true"]
    parameters.AddParameterMap(chosen)
    with tempfile.TemporaryDirectory() as folder:
        warped, found = itk.elastix_registration_method(
            a, b, parameter_object=parameters, output_directory=folder, log_to_console=False
        )
        written = next(iter(sorted(Path(folder).glob("*.tfm"))))
        shutil.copy(written, out / "transform.tfm")
        found.SetParameter(0, "ResampleInterpolator", "FinalLinearInterpolator")
        warped = itk.transformix_filter(b, found)
        itk.imwrite(warped, f"{folder}/warped.nii.gz")
        save(sitk.ReadImage(f"{folder}/warped.nii.gz"), out)
        points = Path(folder) / "points.txt"
        points.write_text("point\n5\n" + "\n".join(" ".join(map(str, point)) for point in POINTS) + "\n")
        mapper = itk.TransformixFilter.New(b)
        mapper.SetTransformParameterObject(found)
        mapper.SetFixedPointSetFileName(str(points))
        mapper.SetOutputDirectory(folder)
        mapper.Update()
        lines = (Path(folder) / "outputpoints.txt").read_text().splitlines()
    return np.array([_bracket(line, "OutputPoint") for line in lines])


def _bracket(line: str, key: str) -> list[float]:
    return [float(x) for x in line.partition(f"{key} = [")[2].partition("]")[0].split()]


def by_niftyreg(fixed: Path, moving: Path, out: Path) -> None:
    """Register with reg_aladin, resample with reg_resample."""
    matrix, warped = out / "transform.txt", out / "niftyreg.nii.gz"
    quietly = {"check": True, "stdout": subprocess.DEVNULL}
    ends = ["-ref", str(fixed), "-flo", str(moving)]
    subprocess.run(["reg_aladin", *ends, "-aff", str(matrix), "-res", str(warped), "-voff"], **quietly)
    subprocess.run(
        ["reg_resample", *ends, "-trans", str(matrix), "-res", str(warped), "-inter", "1", "-pad", "0"], **quietly
    )
    save(sitk.ReadImage(str(warped)), out)
    warped.unlink()


def by_nitransforms(fixed: Path, moving: Path, folders: dict[str, Path]) -> np.ndarray:
    """Write the known motion for AFNI, FSL, FreeSurfer and as X5; map the points by each file, read again."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    a, b = (nibabel.load(path) for path in (fixed, moving))
    known = nitransforms.linear.Affine(flip @ MOTION @ flip, reference=a)
    expected = known.map(POINTS @ LPS) @ LPS
    for kind, (ending, fmt) in WRITTEN.items():
        path = folders[kind] / f"transform.{ending}"
        known.to_filename(path, fmt=fmt, moving=b)
        if kind != "x5":
            again = nitransforms.linear.load(path, fmt=fmt, reference=a, moving=b)
            assert np.allclose(again.map(POINTS @ LPS) @ LPS, expected, atol=1e-3)
    return expected


def save(picture: sitk.Image, out: Path) -> None:
    """Keep a warped image, rounded."""
    array = np.clip(np.rint(sitk.GetArrayFromImage(picture)), 0, 255).astype(np.uint8)
    rounded = sitk.GetImageFromArray(array)
    rounded.CopyInformation(picture)
    sitk.WriteImage(rounded, str(out / "warped.nii.gz"), useCompression=True)


def main() -> None:
    """Make all outputs anew."""
    for number, name in enumerate(ORIENTATIONS):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        other = ORIENTATIONS[(number + 2) % len(ORIENTATIONS)]
        fixed, moving = folder / "fixed.nii.gz", folder / "moving.nii.gz"
        sitk.WriteImage(image(name, np.eye(4), (1.0, -2.0, 3.0)), str(fixed), useCompression=True)
        sitk.WriteImage(image(other, MOTION, tuple(MOTION[:3, 3])), str(moving), useCompression=True)
        points: dict[str, list] = {}
        for tool, run in {"itk": by_itk, "ants": by_ants, "elastix": by_elastix, "niftyreg": by_niftyreg}.items():
            (folder / tool).mkdir()
            mapped = run(fixed, moving, folder / tool)
            if mapped is not None:
                points[tool] = mapped.tolist()
        folders = {kind: folder / kind for kind in WRITTEN}
        for place in folders.values():
            place.mkdir()
        expected = by_nitransforms(fixed, moving, folders)
        points |= {kind: expected.tolist() for kind in folders}
        (folder / "points.json").write_text(json.dumps({"fixed": POINTS.tolist(), "moving": points}, indent=1) + "\n")


if __name__ == "__main__":
    main()
