"""The host speaks like PythonQt to the code, and tells tests what Slicer would only print or swallow."""

from __future__ import annotations

from typing import Any

import pytest


def test_properties_are_attributes() -> None:
    import qt

    box = qt.QCheckBox()
    box.text, box.checked = "Overlay", True
    assert (box.text, box.checked) == ("Overlay", True)
    with pytest.raises(TypeError):
        box.checked()


def test_read_only_property_is_not_written() -> None:
    import qt

    with pytest.raises(AttributeError):
        qt.QComboBox().count = 3


def test_new_attribute_on_a_cpp_object_is_an_error(slicer: Any) -> None:
    import ctk
    import qt

    for widget in (qt.QLabel(), ctk.ctkSliderWidget(), slicer.qMRMLNodeComboBox(), slicer.app):
        with pytest.raises(AttributeError):
            widget.textt = "misspelt"


def test_new_attribute_on_a_python_subclass_is_allowed(slicer: Any) -> None:
    import qt

    label = type("Label", (qt.QLabel,), {})()
    label.reader = "A"
    widget = type("Widget", (slicer.qMRMLWidget,), {})()
    widget.reader = "B"
    assert (label.reader, widget.reader) == ("A", "B")


def test_connect_drops_surplus_arguments() -> None:
    import qt

    button, calls = qt.QPushButton(), []
    assert button.connect("clicked(bool)", lambda: calls.append("none"))
    assert button.connect("clicked(bool)", lambda checked: calls.append(checked))
    assert button.connect("clicked()", lambda *rest: calls.append(rest))
    button.click()
    assert calls == ["none", False, ()]


def test_disconnected_slot_is_not_called() -> None:
    import qt

    button, calls = qt.QPushButton(), []
    slot = lambda: calls.append(1)  # noqa: E731
    button.connect("clicked(bool)", slot)
    assert button.disconnect("clicked(bool)", slot)
    assert not button.disconnect("clicked(bool)", slot)
    button.click()
    assert calls == []


def test_connection_outlives_the_wrapper_that_made_it() -> None:
    import gc

    import qt

    view, calls = qt.QTableView(), []
    slot = lambda index: calls.append(index)  # noqa: E731
    view.horizontalHeader().connect("sectionClicked(int)", slot)
    gc.collect()
    view.horizontalHeader().sectionClicked.emit(2)
    assert view.horizontalHeader().disconnect("sectionClicked(int)", slot)
    view.horizontalHeader().sectionClicked.emit(3)
    assert calls == [2]


def test_unknown_signal_prints_and_returns_false_and_is_a_fault(
    recorded: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    import qt

    assert qt.QPushButton().connect("pushed(bool)", lambda: None) is False
    assert "QPushButton::pushed(bool)" in capsys.readouterr().err
    (fault,) = recorded
    assert fault.kind == "signal"


@pytest.mark.parametrize(
    ("widget", "signal"),
    [
        ("QCheckBox", "checkStateChanged(Qt::CheckState)"),  # of Qt 6 only
        ("QComboBox", "currentIndexChanged(QString)"),  # of Qt 5 only
        ("QSpinBox", "valueChanged(QString)"),
    ],
)
def test_signal_of_one_qt_only_is_unknown(widget: str, signal: str, recorded: list[Any]) -> None:
    import qt

    assert getattr(qt, widget)().connect(signal, lambda *_: None) is False
    assert len(recorded) == 1


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        ("QTimer", "timeout()"),
        ("QMenu", "aboutToShow()"),
        ("QAction", "triggered(bool)"),
        ("QProcess", "finished(int,QProcess::ExitStatus)"),
        ("QShortcut", "activated()"),
        ("QComboBox", "currentTextChanged(QString)"),
        ("QItemSelectionModel", "selectionChanged(QItemSelection,QItemSelection)"),
    ],
)
def test_signals_that_both_have_are_connected(kind: str, signal: str) -> None:
    import qt

    owner, table = qt.QWidget(), qt.QTableWidget()
    made = {"QShortcut": lambda: qt.QShortcut(owner), "QItemSelectionModel": table.selectionModel}
    assert made.get(kind, getattr(qt, kind))().connect(signal, lambda *_: None) is True


def test_const_references_in_a_signature_are_read_as_qt_reads_them() -> None:
    import qt

    edit, texts = qt.QLineEdit(), []
    assert edit.connect("textChanged(const QString &)", texts.append)
    edit.text = "a"
    assert texts == ["a"]


def test_exception_in_a_slot_is_printed_swallowed_and_recorded(
    recorded: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    import qt

    button = qt.QPushButton()
    button.connect("clicked(bool)", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in capsys.readouterr().err
    (error,) = recorded
    assert isinstance(error, ZeroDivisionError)


def test_exception_in_an_observer_is_recorded(slicer: Any, recorded: list[Any]) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.Modified()
    assert [type(e) for e in recorded] == [ZeroDivisionError]


def test_what_is_recorded_fails_a_test() -> None:
    from host import faults

    faults.note("signal", "there is no such signal")
    with pytest.raises(AssertionError, match="there is no such signal"):
        faults.check()
    faults.check()


def test_methods_of_a_later_qt_are_not_there() -> None:
    import qt

    with pytest.raises(AttributeError):
        qt.QFormLayout().setRowVisible  # noqa: B018
    margins = qt.QVBoxLayout().contentsMargins()  # a property in Qt 6, a method in Qt 5
    assert margins.left() >= 0


def test_enumerations_are_found_on_class_and_object() -> None:
    import qt

    layout = qt.QFormLayout()
    assert layout.FieldRole == qt.QFormLayout.FieldRole
    assert qt.QMessageBox.Ok == qt.QMessageBox.StandardButton.Ok


def test_timer_runs() -> None:
    import time

    import qt
    import slicer

    timer, ticks = qt.QTimer(), []
    timer.interval = 1
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    end = time.monotonic() + 5
    while not ticks and time.monotonic() < end:
        slicer.app.processEvents()
    timer.stop()
    assert ticks
