"""The sample pairs that Slicer's Sample Data module offers."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import pytest

from DeepRegLib.panel.sample_data import PAIRS, register_sample_data

# Of Slicer 5.10 and 5.12, `SampleDataLogic.registerCustomSampleDataSource`
ARGUMENTS = {"category", "sampleName", "uris", "fileNames", "nodeNames", "checksums"}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Register the pairs with a stand-in of Slicer's Sample Data module and return what it was given."""
    sources: list[dict[str, Any]] = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**arguments: Any) -> None:  # noqa: N802 - Slicer's name
            sources.append(arguments)

    module = ModuleType("SampleData")
    module.SampleDataLogic = SampleDataLogic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    register_sample_data()
    return sources


def test_each_button_loads_a_fixed_and_a_moving_scan(registered: list[dict[str, Any]]) -> None:
    assert len(registered) == len(PAIRS)
    for source in registered:
        assert source.keys() == ARGUMENTS
        assert source["category"] == "DeepReg"
        assert {len(source[name]) for name in ("uris", "fileNames", "nodeNames", "checksums")} == {2}


def test_each_scan_is_fetched_safely_from_slicer_s_own_store_and_checked(registered: list[dict[str, Any]]) -> None:
    for source in registered:
        for uri, checksum in zip(source["uris"], source["checksums"], strict=True):
            digest = checksum.removeprefix("SHA256:")
            assert re.fullmatch("[0-9a-f]{64}", digest)
            assert urlsplit(uri).scheme == "https"
            assert urlsplit(uri).path == f"/Slicer/SlicerTestingData/releases/download/SHA256/{digest}"


def test_no_two_samples_share_a_name_or_a_file(registered: list[dict[str, Any]]) -> None:
    names = [source["sampleName"] for source in registered]
    files = [name for source in registered for name in source["fileNames"]]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)
