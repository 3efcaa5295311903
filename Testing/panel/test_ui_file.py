"""DeepReg.ui and the code that uses it fit together."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PANEL = sorted((ROOT / "DeepRegLib" / "panel").glob("*.py"))
UI = ET.parse(ROOT / "DeepReg" / "Resources" / "UI" / "DeepReg.ui").getroot()
# What answers to mouse or keys; labels and layouts do not.
INTERACTIVE = {
    "QCheckBox",
    "QComboBox",
    "QLineEdit",
    "QListWidget",
    "QPlainTextEdit",
    "QPushButton",
    "QSpinBox",
    "QToolButton",
    "ctkCollapsibleButton",
    "ctkPathLineEdit",
    "ctkSliderWidget",
    "qMRMLNodeComboBox",
}
PASSIVE = {"QFrame", "QLabel", "QProgressBar", "QTabWidget", "QWidget", "qMRMLWidget"}
BUTTONS = {"QPushButton", "QToolButton"}
LONGEST_TOOLTIP = 160


def widgets() -> dict[str, ET.Element]:
    return {element.get("name", ""): element for element in UI.iter("widget")}


def text(element: ET.Element, name: str) -> str:
    """Return a property of a widget as text; empty where it is not set."""
    found = element.find(f"property[@name='{name}']/string")
    return (found.text or "") if found is not None else ""


def used_names(path: Path) -> Iterator[str]:
    """Yield the widgets that a file names: `ui.name`, `self._ui.name`, and "nameButton" in a text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"(self\.)?_?ui", ast.unparse(node.value)):
            yield node.attr
        if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]\w+(Button|Edit|Label|Selector)", str(node.value)):
            yield str(node.value)


def connected_names(path: Path) -> Iterator[str]:
    """Yield the widgets whose signals a file connects."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect":
            found = re.fullmatch(r"(?:self\.)?_?ui\.(\w+)", ast.unparse(node.func.value))
            if found:
                yield found.group(1)


def test_no_class_of_widget_is_unknown_to_these_tests() -> None:
    assert {element.get("class") for element in widgets().values()} <= INTERACTIVE | PASSIVE


@pytest.mark.parametrize("name", [name for name, each in widgets().items() if each.get("class") in INTERACTIVE])
def test_every_control_has_a_tooltip(name: str) -> None:
    tooltip = text(widgets()[name], "toolTip")
    assert tooltip.endswith("."), f"{name}: {tooltip!r}"
    assert len(tooltip) <= LONGEST_TOOLTIP


def test_every_parameter_named_in_the_file_exists() -> None:
    source = (ROOT / "DeepRegLib" / "panel" / "parameters.py").read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    annotated = [each for node in classes for each in node.body if isinstance(each, ast.AnnAssign)]
    parameters = {ast.unparse(each.target) for each in annotated}
    named = [text(element, "SlicerParameterName") for element in widgets().values()]
    named = [name for name in named if name]
    assert set(named) <= parameters
    assert len(set(named)) == len(named)


def test_every_widget_named_in_the_code_exists() -> None:
    used = {(path.name, name) for path in PANEL for name in used_names(path)}
    missing = {(where, name) for where, name in used if name not in widgets()}
    assert missing == set()
    assert len(used) > 30


def test_every_control_is_connected() -> None:
    connected = {name for path in PANEL for name in connected_names(path)}
    bound = {name for name, element in widgets().items() if text(element, "SlicerParameterName")}
    lists = {f"{side}SegmentList" for side in ("fixed", "moving", "sliding", "rigid")}  # connected by `SegmentList`
    lists |= {"movingAlongList", "fixedAlongList", "atlasPairsList"}  # by `AlongSection` and `AtlasList`
    still = {"logView"}  # only shows
    for name, element in widgets().items():
        if element.get("class") in INTERACTIVE - {"ctkCollapsibleButton"}:
            assert name in connected | bound | lists | still, name
    assert {name for name, each in widgets().items() if each.get("class") in BUTTONS} <= connected


def test_every_label_that_the_code_writes_says_whether_it_is_markup() -> None:
    written = {name for path in PANEL for name in used_names(path) if widgets()[name].get("class") == "QLabel"}
    shown = {name for name in written if widgets()[name].find("property[@name='text']/string").text is None}
    shown -= {"messageIcon", "verdictIcon"}  # pictures
    formats = {name: widgets()[name].findtext("property[@name='textFormat']/enum") for name in shown}
    assert formats == {
        "modelNoteLabel": "Qt::PlainText",
        "progressLabel": "Qt::PlainText",
        "segmentMessageLabel": "Qt::RichText",
        "segmentProgressLabel": "Qt::PlainText",
        "seriesMessageLabel": "Qt::RichText",
        "seriesProgressLabel": "Qt::PlainText",
        "environmentStatusLabel": "Qt::PlainText",
        "messageLabel": "Qt::RichText",
        "verdictLabel": "Qt::RichText",
        "verdictMeasuresLabel": "Qt::RichText",
        "verdictPairLabel": "Qt::PlainText",
        "verdictPlacesLabel": "Qt::RichText",
        "verdictReasonsLabel": "Qt::RichText",
        "verdictStateLabel": "Qt::PlainText",
    }


def test_every_task_has_a_tab_that_says_what_it_does_and_the_environment_stands_below_them() -> None:
    tabs = widgets()["taskTabs"]
    assert [tab.findtext("attribute[@name='title']/string") for tab in tabs.findall("widget")] == [
        "Register",
        "Segment",
        "Series",
    ]
    for tab in tabs.findall("widget"):
        assert (tab.findtext("attribute[@name='toolTip']/string") or "").endswith(".")
    inside = {element.get("name") for element in tabs.iter("widget")}
    assert {"inputsButton", "registerButton", "advancedButton"} <= inside
    assert "environmentButton" not in inside


def test_every_node_selector_gets_the_scene() -> None:
    receivers = {connection.findtext("receiver") for connection in UI.iter("connection")}
    selectors = {name for name, each in widgets().items() if each.get("class") == "qMRMLNodeComboBox"}
    assert receivers == selectors


def test_every_input_can_be_left_empty_and_nothing_is_made_or_deleted_there() -> None:
    for name, element in widgets().items():
        if element.get("class") == "qMRMLNodeComboBox":
            values = {each.get("name"): each.findtext("bool") for each in element.findall("property")}
            assert values["noneEnabled"] == "true", name
            assert values["addEnabled"] == values["removeEnabled"] == "false", name
