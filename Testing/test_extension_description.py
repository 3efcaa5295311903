"""What the extensions index reads: its own checks, as far as they need no network.

The rules are those of the index's `scripts/check_description_files.py` and of the schema that the description names.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from Testing.packaging import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DESCRIPTION = ROOT / "Resources" / "DeepReg.json"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.1.json#"
)
TYPES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
REQUIRED = {"$schema", "category", "scm_url"}
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


@pytest.fixture(scope="module")
def description() -> dict[str, object]:
    return json.loads(DESCRIPTION.read_bytes())


@pytest.fixture(scope="module")
def cmake() -> str:
    return (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def value(cmake: str, name: str) -> str:
    """Return what a double-quoted `set()` on one line says, as the index reads it."""
    (found,) = re.findall(rf'^set\(EXTENSION_{name} "([^"\n]+)"\)$', cmake, re.MULTILINE)
    return found


def in_repository(url: str) -> Path:
    """Return the file that a raw GitHub address serves."""
    match = re.fullmatch(r"https://raw\.githubusercontent\.com/(\w+/\w+)/main/(.+)", url)
    assert match is not None, url
    return ROOT / match[2]


def test_the_description_has_the_schema_s_keys_and_types(description: dict[str, object]) -> None:
    assert description["$schema"] == SCHEMA
    assert REQUIRED <= description.keys() <= TYPES.keys()
    assert all(type(content) is TYPES[key] for key, content in description.items())
    assert description["category"] == "Registration"
    assert 1 <= description["tier"] <= 5


def test_what_the_index_reads_has_unix_line_endings() -> None:
    for path in (DESCRIPTION, ROOT / "CMakeLists.txt"):
        assert b"\r" not in path.read_bytes()
        assert path.read_bytes().endswith(b"\n")


def test_extension_project_and_repository_are_named_as_the_index_asks(
    description: dict[str, object], cmake: str
) -> None:
    name = DESCRIPTION.stem
    assert re.findall(r"project\s*\(\s*([^\s)]+)", cmake, re.IGNORECASE)[0] == name
    assert not name.lower().startswith("slicer")
    url = urlsplit(description["scm_url"])
    assert url.scheme == "https"
    assert Path(url.path).name == f"Slicer{name}.git"


def test_description_and_cmake_tell_the_same(description: dict[str, object], cmake: str) -> None:
    assert value(cmake, "DEPENDS").split() == description["build_dependencies"]
    assert value(cmake, "HOMEPAGE") + ".git" == description["scm_url"]
    home = urlsplit(value(cmake, "HOMEPAGE")).path
    for url in (value(cmake, "ICONURL"), *value(cmake, "SCREENSHOTURLS").split()):
        assert urlsplit(url).path.startswith(f"{home}/main/")


def test_the_catalog_names_the_same_contributors_as_pip(cmake: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert value(cmake, "CONTRIBUTORS") == project["authors"][0]["name"]


def test_no_semicolon_cuts_the_catalog_s_text_short(cmake: str) -> None:
    # Slicer's CMake passes these on unquoted, so a semicolon would begin another argument.
    assert ";" not in value(cmake, "DESCRIPTION")
    assert ";" not in value(cmake, "CONTRIBUTORS")


def test_the_icon_is_a_png_of_128_by_128_with_a_transparent_background(cmake: str) -> None:
    content = in_repository(value(cmake, "ICONURL")).read_bytes()
    width, height, bits, colour = struct.unpack(">IIBB", content[16:26])
    assert content.startswith(PNG)
    assert (width, height, bits) == (128, 128, 8)
    assert colour == 6, "not RGBA"


def test_every_screenshot_of_the_catalog_is_a_picture_in_the_repository(cmake: str) -> None:
    screenshots = value(cmake, "SCREENSHOTURLS").split()
    assert screenshots
    for url in screenshots:
        assert in_repository(url).read_bytes().startswith((PNG, JPEG)), url


def test_the_licence_lies_where_the_index_looks_for_it() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
