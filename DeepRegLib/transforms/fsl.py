"""Linear transforms of FSL's flirt (`.mat`).

The matrix takes points of the moving image (flirt's *input*) to points of the fixed one (its *reference*). Both are in
millimetres from the centre of the first voxel, along the image's own axes; of an image whose axes are right-handed, the
first axis runs the other way, from the last voxel. So a file means nothing without both images. (FSL user guide,
"What is the format of the matrix used by FLIRT, and how does it relate to the transformation parameters?")
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.matrices import inverted, matrix_of_text


def fsl_transform(text: str, fixed: Geometry, moving: Geometry, name: str = "transform") -> LinearTransform:
    r"""Return the transform that a flirt matrix stands for, fixed to moving, LPS mm.

    Parameters
    ----------
    text
        What the file holds.
    fixed, moving
        Grids of flirt's reference and of its input.
    name
        Of the file, for errors.

    Raises
    ------
    InputError
        If the text is no matrix, or the matrix is singular.

    Examples
    --------
    An input that lies 2 mm further along its first axis than the reference. Both are right-handed, so flirt counts
    against that axis.

    >>> grid = Geometry((10, 10, 10))
    >>> text = "1 0 0 2\n0 1 0 0\n0 0 1 0\n0 0 0 1"
    >>> fsl_transform(text, grid, grid).apply_to_points([4.0, 5.0, 6.0]).tolist()
    [6.0, 5.0, 6.0]
    """
    to_moving = inverted(matrix_of_text(text, name), name)
    return LinearTransform(np.linalg.inv(_to_flirt(moving)) @ to_moving @ _to_flirt(fixed))


def _to_flirt(grid: Geometry) -> NDArray[np.float64]:
    """Return the ``(4, 4)`` matrix that takes LPS mm to flirt's millimetres of an image."""
    scaled = np.diag([*grid.spacing, 1.0])
    if np.linalg.det(grid.axes) > 0:  # the same in RAS, which turns two axes
        scaled[0, 0] = -grid.spacing[0]
        scaled[0, 3] = (grid.size[0] - 1) * grid.spacing[0]
    return scaled @ grid.world_to_index
