"""Models (surfaces, centrelines) in files with their points moved: `.vtk`, `.vtp`, `.stl`, `.obj`, `.ply`."""

from __future__ import annotations

from DeepRegLib.mesh_files.moving import SUFFIXES, move_model, move_surface

__all__ = ["SUFFIXES", "move_model", "move_surface"]
