"""Preparing images for comparison: pure functions from `Image` to `Image`, geometry kept unless resampling."""

from __future__ import annotations

from DeepRegLib.preprocessing.background import background_is_blank, blank_region
from DeepRegLib.preprocessing.couch import couch_in
from DeepRegLib.preprocessing.ct import CT_WINDOWS, ct_window_for_registration, is_ct, window
from DeepRegLib.preprocessing.cylinder import scanned_cylinder
from DeepRegLib.preprocessing.filters import (
    bias_field_corrected,
    denoise,
    equalise_histogram,
    match_histogram,
)
from DeepRegLib.preprocessing.foreground import foreground_mask
from DeepRegLib.preprocessing.intensity import check_not_constant, clamp_percentiles, finite, normalise
from DeepRegLib.preprocessing.resampling import Smoothed, isotropic, smooth_and_resample, smoothed_for

__all__ = [
    "CT_WINDOWS",
    "Smoothed",
    "background_is_blank",
    "bias_field_corrected",
    "blank_region",
    "check_not_constant",
    "clamp_percentiles",
    "couch_in",
    "ct_window_for_registration",
    "denoise",
    "equalise_histogram",
    "finite",
    "foreground_mask",
    "is_ct",
    "isotropic",
    "match_histogram",
    "normalise",
    "scanned_cylinder",
    "smooth_and_resample",
    "smoothed_for",
    "window",
]
