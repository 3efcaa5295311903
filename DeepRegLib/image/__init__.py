"""A volume and its geometry: reading, writing, resampling onto a grid."""

from __future__ import annotations

from DeepRegLib.image.conversion import from_sitk, geometry_of, set_geometry, to_sitk
from DeepRegLib.image.itk_files import write_with_itk
from DeepRegLib.image.reading import as_image, from_raster, grid_of, read_image, read_raster, spool_raster
from DeepRegLib.image.resampling import execute, interpolation_type, resample, resample_sitk, rounded
from DeepRegLib.image.volume import Image, box_around
from DeepRegLib.image.writing import WRITABLE_SUFFIXES, check_mhd, write_image, write_sitk

__all__ = [
    "WRITABLE_SUFFIXES",
    "Image",
    "as_image",
    "box_around",
    "check_mhd",
    "execute",
    "from_raster",
    "from_sitk",
    "geometry_of",
    "grid_of",
    "interpolation_type",
    "read_image",
    "read_raster",
    "resample",
    "resample_sitk",
    "rounded",
    "set_geometry",
    "spool_raster",
    "to_sitk",
    "write_image",
    "write_sitk",
    "write_with_itk",
]
