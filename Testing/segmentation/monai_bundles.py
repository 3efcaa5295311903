"""MONAI bundles of a network that finds what is bright, and hostile ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

INFERENCE: dict[str, Any] = {
    "bundle_root": ".",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": "@classes",
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
    },
    "classes": 2,
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [3.0, 3.0, 3.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
            {"_target_": "EnsureTyped", "keys": "image", "dtype": "$torch.float32"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 2, "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1], "_disabled_": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "/tmp/elsewhere"},
        ],
    },
    "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device"},
}
METADATA = {
    "version": "0.3.1",
    "name": "Bright things",
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "Leber 肝"}}}},
}


def write_configs(folder: Path, inference: dict[str, Any]) -> Path:
    """Write the configuration of a bundle without weights, and return its folder."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    return folder


def with_section(**sections: Any) -> dict[str, Any]:
    """Return the configuration with some sections changed."""
    return {**INFERENCE, **sections}


def with_transform(transform: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with one more transform before the network."""
    before = INFERENCE["preprocessing"]
    return with_section(preprocessing={**before, "transforms": [*before["transforms"], transform]})
