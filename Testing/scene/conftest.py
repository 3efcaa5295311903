"""The fixture of tests that begin with a registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import slicer

    from Testing.scene.case import Case


@pytest.fixture
def case(scene: slicer.vtkMRMLScene) -> Case:
    """Return a scene in which a registration waits to be put."""
    from Testing.scene.case import Case

    return Case(scene)
