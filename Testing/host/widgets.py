"""The stand-ins for ctk and qMRML widgets, by name, and where code finds them.

Each has the real widget's properties, signals and slots as far as needed and no others, so that a call that the real
widget lacks fails here too: a test holds them against the table of the real headers (tables/).
"""

from __future__ import annotations

from typing import Any

import slicer

from . import ctk_widgets, mrml_widget, node_selectors, plot_view, table_view

CTK = {
    cls.__name__: cls
    for cls in (
        ctk_widgets.ctkCollapsibleButton,
        ctk_widgets.ctkComboBox,
        ctk_widgets.ctkDoubleSlider,
        ctk_widgets.ctkMessageBox,
        ctk_widgets.ctkPathLineEdit,
        ctk_widgets.ctkSliderWidget,
    )
}
SLICER = {
    cls.__name__: cls
    for cls in (
        mrml_widget.qMRMLWidget,
        node_selectors.qMRMLColorTableComboBox,
        node_selectors.qMRMLNodeComboBox,
        node_selectors.qMRMLSegmentSelectorWidget,
        plot_view.qMRMLPlotView,
        plot_view.qMRMLPlotViewControllerWidget,
        plot_view.qMRMLPlotWidget,
        table_view.qMRMLTableModel,
        table_view.qMRMLTableView,
    )
}


def install(ctk: Any) -> None:
    """Put the stand-ins where code looks for them: module `ctk` and package `slicer`."""
    for name, cls in CTK.items():
        setattr(ctk, name, cls)
    for name, cls in SLICER.items():
        setattr(slicer, name, cls)
