"""The menu by which a result is saved where the reader wants it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer

from ..translation import _
from ..workflow.result_files import Kind, fileName, writeFile
from .widgets import addAction, chosenPath


class ExportMenu:
    """panel: Panel, which has the result."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._panel = panel
        self._menu = qt.QMenu(ui.exportButton)
        texts: dict[Kind, str] = {
            "csv": _("Table (CSV)..."),
            "json": _("Record (JSON)..."),
            "html": _("Report with pictures (HTML)..."),
        }
        for kind, text in texts.items():
            addAction(self._menu, text, partial(self._ask, kind))
        ui.exportButton.setMenu(self._menu)

    def _ask(self, kind: Kind) -> None:
        name, pattern = fileName(self._panel.table(), kind), f"(*.{kind})"
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export the result"), name, pattern)
        if path := chosenPath(chosen):
            self.export(kind, Path(path if path.endswith(f".{kind}") else f"{path}.{kind}"))

    def export(self, kind: Kind, path: Path) -> None:
        """Write the file, and say what became of it."""

        def write() -> None:
            writeFile(self._panel, kind, path)
            self._panel.say(_("Saved {path}").format(path=path))

        self._panel.attempt(write)
