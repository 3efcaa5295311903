"""Qt behaves towards Python as it does inside Slicer: what fails there fails here."""

from __future__ import annotations

import pytest


def test_a_property_is_an_attribute_and_not_a_method(qt):
    label = qt.QLabel("before")
    label.text = "after"
    assert label.text == "after"
    with pytest.raises(TypeError):
        label.text()


def test_setters_and_methods_that_are_no_properties_stay_methods(qt):
    box = qt.QComboBox()
    box.addItems(["one", "two"])
    box.setCurrentIndex(1)
    assert (box.currentText, box.count, box.itemText(0)) == ("two", 2, "one")
    qt.QTimer.singleShot(0, lambda: None)


def test_a_misspelt_property_is_an_error(qt):
    button = qt.QPushButton("Go")
    with pytest.raises(AttributeError, match="enable"):
        button.enable = True
    with pytest.raises(AttributeError, match="show"):
        button.show = True


def test_a_class_of_the_modules_own_may_have_new_attributes(qt):
    class Own(qt.QWidget):
        pass

    widget = Own()
    widget.anything = 1
    assert widget.anything == 1


def test_a_property_refuses_a_value_of_another_kind(qt):
    with pytest.raises(ValueError, match="maximum"):
        qt.QProgressBar().maximum = "many"


def test_a_signal_is_connected_by_its_signature(qt):
    heard = []
    button = qt.QPushButton()
    button.checkable = True
    button.connect("clicked()", lambda: heard.append("clicked"))
    button.connect("clicked(bool)", heard.append)
    button.connect("toggled(bool)", lambda checked: heard.append(("toggled", checked)))
    button.click()
    assert sorted(map(str, heard)) == ["('toggled', True)", "True", "clicked"]


def test_a_function_gets_no_more_arguments_than_it_takes(qt):
    heard = []
    button = qt.QPushButton()
    button.connect("clicked(bool)", lambda: heard.append("none"))
    button.connect("clicked()", lambda checked="default": heard.append(checked))
    button.click()
    assert sorted(heard) == ["default", "none"]


def test_disconnecting_ends_it(qt):
    heard = []
    button = qt.QPushButton()
    button.connect("clicked()", heard.clear)
    button.connect("clicked(bool)", heard.append)
    assert button.disconnect("clicked(bool)", heard.append)
    assert not button.disconnect("clicked(bool)", heard.append)
    button.click()
    assert heard == []


@pytest.mark.parametrize("signal", ["clickd()", "clicked(int)", "currentIndexChanged(QString)"])
def test_a_signal_that_qt_does_not_have_is_an_error(qt, signal):
    with pytest.raises(RuntimeError, match="has no signal"):
        qt.QComboBox().connect(signal, print)


def test_a_signal_can_call_a_slot_by_name(qt):
    spin, slider = qt.QSpinBox(), qt.QSlider()
    spin.connect("valueChanged(int)", slider, "setValue(int)")
    spin.value = 7
    assert slider.value == 7


def test_the_signal_form_of_pyside_works_too(qt):
    heard = []
    spin = qt.QSpinBox()
    spin.valueChanged.connect(heard.append)
    spin.value = 3
    assert heard == [3]


def test_names_that_pythonqt_adds(qt):
    label = qt.QLabel()
    label.name = "title"
    assert (label.objectName, label.className()) == ("title", "QLabel")
    label.delete()


def test_settings_are_not_those_of_the_person_who_runs_the_tests(qt, desktop):
    settings = qt.QSettings()
    settings.setValue("DeepReg/answer", 42)
    assert settings.fileName().startswith(desktop.application.temporaryPath)


def test_a_dialog_that_would_wait_is_an_error(qt):
    from Testing.desktop.dialogs import UnansweredDialogError

    box = qt.QMessageBox()
    box.text = "Really?"
    with pytest.raises(UnansweredDialogError, match=r"Really\?"):
        box.exec_()
    with pytest.raises(UnansweredDialogError, match="Choose a folder"):
        qt.QFileDialog.getExistingDirectory(None, "Choose a folder")
    with pytest.raises(UnansweredDialogError, match="openUrl"):
        qt.QDesktopServices.openUrl(qt.QUrl("https://example.org"))
    with pytest.raises(UnansweredDialogError, match="QMenu"):
        qt.QMenu().exec_(qt.QPoint(0, 0))


def test_messages_of_slicer_are_logged_instead_of_shown(desktop, caplog):
    import slicer

    slicer.util.errorDisplay("It went wrong.")
    assert "It went wrong." in caplog.text


def test_an_error_in_a_slot_reaches_the_test(qt, desktop):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    with pytest.raises(ZeroDivisionError):
        desktop.process_events()


def test_an_error_in_an_observer_of_the_scene_reaches_the_test(desktop):
    def fail(caller, event):
        raise LookupError("observer")

    tag = desktop.scene.AddObserver(desktop.scene.NodeAddedEvent, fail)
    desktop.scene.AddNewNodeByClass("vtkMRMLModelNode")
    desktop.scene.RemoveObserver(tag)
    with pytest.raises(LookupError, match="observer"):
        desktop.process_events()


def test_waiting_runs_the_event_loop(qt, desktop):
    fired = []
    qt.QTimer.singleShot(20, lambda: fired.append(True))
    assert desktop.wait_until(lambda: bool(fired), seconds=5)
    assert not desktop.wait_until(lambda: False, seconds=0.05)
