"""A scan as another modality would show it, by a trained network, and how far that can be believed."""

from __future__ import annotations

from DeepRegLib.translation.result import Translation
from DeepRegLib.translation.saving import save_translation
from DeepRegLib.translation.translating import translate_with

__all__ = ["Translation", "save_translation", "translate_with"]
