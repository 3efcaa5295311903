"""The stand-ins for CTK's and Slicer's widgets answer to mouse and properties as theirs do."""

from __future__ import annotations

import pytest


@pytest.fixture
def collapsible(ctk, qt, desktop):
    """Return a collapsible button with a label in it."""
    button = ctk.ctkCollapsibleButton()
    button.text = "Advanced"
    label = qt.QLabel("inside")
    qt.QVBoxLayout(button).addWidget(label)
    desktop.show(button, (300, 200))
    return button, label


def test_a_collapsible_button_hides_its_contents_on_a_click(collapsible, desktop):
    button, label = collapsible
    heard = []
    button.connect("contentsCollapsed(bool)", heard.append)
    assert label.isVisible()
    desktop.click(button)
    assert not label.isVisible()
    assert button.collapsed
    desktop.click(button)
    assert label.isVisible()
    assert heard == [True, False]


def test_what_is_shown_in_a_collapsed_button_waits_until_it_opens(collapsible):
    button, label = collapsible
    label.hide()
    button.collapsed = True
    label.show()
    assert not label.isVisible()
    button.collapsed = False
    assert label.isVisible()


def test_what_the_module_hid_stays_hidden_when_the_button_opens(collapsible):
    button, label = collapsible
    label.hide()
    button.collapsed = True
    button.collapsed = False
    assert not label.isVisible()


def test_what_is_hidden_in_a_collapsed_button_stays_hidden_when_it_opens(collapsible):
    button, label = collapsible
    button.collapsed = True
    label.hide()
    button.collapsed = False
    assert not label.isVisible()


def test_a_slider_keeps_its_number_within_its_range(ctk):
    slider = ctk.ctkSliderWidget()
    heard = []
    slider.connect("valueChanged(double)", heard.append)
    slider.minimum, slider.maximum, slider.decimals = -1, 3, 1
    slider.value = 2.54
    slider.value = 7
    assert heard == [2.5, 3.0]


def test_a_path_line_asks_for_what_its_filters_say(ctk, qt, monkeypatch, tmp_path):
    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    line = ctk.ctkPathLineEdit()
    line.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable
    heard = []
    line.connect("currentPathChanged(QString)", heard.append)
    line.browse()
    assert heard == [str(tmp_path)] == [line.currentPath]


def test_a_path_line_remembers_under_its_settings_key(ctk):
    first = ctk.ctkPathLineEdit()
    first.settingKey = "Test/Paths"
    first.currentPath = "/a/file"
    first.addCurrentPathToHistory()
    second = ctk.ctkPathLineEdit()
    second.settingKey = "Test/Paths"
    assert second.currentPath == "/a/file"


def test_a_directory_button_tells_the_new_folder(ctk, tmp_path):
    button = ctk.ctkDirectoryButton()
    heard = []
    button.connect("directoryChanged(QString)", heard.append)
    button.directory = str(tmp_path)
    assert heard == [str(tmp_path)]


def test_a_widget_without_a_stand_in_says_so(ctk, desktop):
    import slicer

    from Testing.desktop.stand_ins import MissingStandInError

    assert not isinstance(desktop, ctk.ctkThumbnailLabel)
    with pytest.raises(MissingStandInError, match="ctkThumbnailLabel"):
        ctk.ctkThumbnailLabel()
    with pytest.raises(MissingStandInError, match="qMRMLSegmentEditorWidget"):
        slicer.qMRMLSegmentEditorWidget()


FORM = """<ui version="4.0"><class>Form</class><widget class="QWidget" name="Form">
<layout class="QVBoxLayout" name="box"><item><widget class="{0}" name="inner">{1}</widget></item></layout></widget>
<customwidgets><customwidget><class>{0}</class><extends>QWidget</extends><header>x.h</header></customwidget>
</customwidgets></ui>"""


def test_a_form_with_a_widget_without_stand_in_is_not_loaded(desktop, tmp_path):
    import slicer

    (tmp_path / "form.ui").write_text(FORM.format("ctkRangeWidget", ""))
    with pytest.raises(NotImplementedError, match="ctkRangeWidget"):
        slicer.util.loadUI(str(tmp_path / "form.ui"))


def test_a_form_that_sets_an_unknown_property_is_not_loaded(desktop, tmp_path):
    import slicer

    wrong = '<property name="colapsed"><bool>true</bool></property>'
    (tmp_path / "form.ui").write_text(FORM.format("ctkCollapsibleButton", wrong))
    with pytest.raises(AttributeError, match="colapsed"):
        slicer.util.loadUI(str(tmp_path / "form.ui"))


def test_a_double_click_presses_a_button_twice(qt, desktop):
    button = qt.QPushButton("Press")
    desktop.show(button, (100, 30))
    clicks = []
    button.connect("clicked(bool)", clicks.append)
    desktop.double_click(button)
    assert len(clicks) == 2


def test_a_tooltip_reads_back_as_rich_text(qt, desktop):
    label = qt.QLabel("text")
    assert label.toolTip == ""
    label.toolTip = "1 < 2"
    assert label.toolTip == "<p>1 &lt; 2</p>"
    label.toolTip = "<b>bold</b>"
    assert label.toolTip == "<b>bold</b>"
