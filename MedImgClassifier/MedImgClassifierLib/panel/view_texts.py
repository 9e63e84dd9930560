"""Class and probability at the edge of the slice views. Not part of the scene: written anew from the result."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
import vtk


class ViewTexts:
    """Writes at the upper edge, which Slicer's own annotations never use."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}

    def show(self, texts: Mapping[str, str]) -> None:
        """texts: by slice view; views without one lose theirs."""
        for name in self._written.keys() - texts.keys():
            self._write(name, "")
        for name, text in texts.items():
            if self._written.get(name, "") != text:
                self._write(name, text)

    def clear(self) -> None:
        self.show({})

    def _write(self, name: str, text: str) -> None:
        layoutManager = slicer.app.layoutManager()  # there is none without a main window
        widget = layoutManager.sliceWidget(name) if layoutManager else None
        if widget is not None:
            view = widget.sliceView()
            view.cornerAnnotation().SetText(vtk.vtkCornerAnnotation.UpperEdge, text)
            view.scheduleRender()
        if text and widget is not None:
            self._written[name] = text
        else:
            self._written.pop(name, None)
