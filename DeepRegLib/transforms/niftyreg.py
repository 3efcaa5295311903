"""Linear transforms of NiftyReg's reg_aladin (`.txt`): from fixed (*reference*) to moving (*floating*), RAS mm."""

from __future__ import annotations

from DeepRegLib.transforms.linear import LinearTransform
from DeepRegLib.transforms.matrices import from_ras, matrix_of_text


def niftyreg_transform(text: str, name: str = "transform") -> LinearTransform:
    r"""Return the transform that the text of a reg_aladin file stands for, fixed to moving, LPS mm.

    Raises
    ------
    InputError
        If the text is no matrix, or the matrix is singular.

    Examples
    --------
    >>> text = "1 0 0 1\n0 1 0 2\n0 0 1 3\n0 0 0 1"
    >>> niftyreg_transform(text).apply_to_points([0.0, 0.0, 0.0]).tolist()
    [-1.0, -2.0, 3.0]
    """
    return from_ras(matrix_of_text(text, name))
