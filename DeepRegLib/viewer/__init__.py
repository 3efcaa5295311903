"""The interactive report: one offline HTML file with linked slices and a 3-D view of a registration."""

from __future__ import annotations

from DeepRegLib.viewer.niivue import viewer_is_installed
from DeepRegLib.viewer.page import LARGEST_PAGE, Shown, render_viewer, shown_of, write_viewer

__all__ = ["LARGEST_PAGE", "Shown", "render_viewer", "shown_of", "viewer_is_installed", "write_viewer"]
