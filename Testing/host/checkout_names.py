"""Widget classes that the files of a Slicer checkout name and no panel here uses.

parameterNodeWrapper compares the classes of widgets with these; empty classes are enough for that, and nothing else
can be done with them.
"""

from __future__ import annotations

from PySide6 import QtWidgets

CTK = (
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkColorPickerButton",
    "ctkDirectoryButton",
    "ctkDoubleRangeSlider",
    "ctkDoubleSpinBox",
    "ctkRangeWidget",
)
SLICER = ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox")


def install() -> None:
    import ctk
    import slicer

    for module, names in ((ctk, CTK), (slicer, SLICER)):
        for name in names:
            if not hasattr(module, name):
                setattr(module, name, type(name, (QtWidgets.QWidget,), {"stand_in": True, "__module__": __name__}))
