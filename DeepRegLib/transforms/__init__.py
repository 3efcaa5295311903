"""Linear, displacement-field and composite transforms: apply, compose, invert, Jacobian, ITK files.

A transform maps fixed points to moving points (LPS, mm), ITK's resampling direction.
"""

from __future__ import annotations

from DeepRegLib.transforms.apply import (
    apply_to_image,
    background_value,
    field_of_view,
    image_and_view,
)
from DeepRegLib.transforms.composite import CompositeTransform, Transform, compose, has_field, linear_part, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.inversion import invert
from DeepRegLib.transforms.io import read_transform, write_transform
from DeepRegLib.transforms.itk import displacement_on_grid, transform_from_sitk, transform_to_sitk
from DeepRegLib.transforms.jacobian import displacement_gradient, jacobian_determinant
from DeepRegLib.transforms.label_maps import apply_to_labels
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.planes import DisplacementPlanes

__all__ = [
    "CompositeTransform",
    "DisplacementField",
    "DisplacementPlanes",
    "LinearTransform",
    "Transform",
    "apply_to_image",
    "apply_to_labels",
    "background_value",
    "compose",
    "displacement_gradient",
    "displacement_on_grid",
    "field_of_view",
    "has_field",
    "image_and_view",
    "invert",
    "jacobian_determinant",
    "linear_part",
    "parts_of",
    "read_transform",
    "transform_from_sitk",
    "transform_to_sitk",
    "write_transform",
]
