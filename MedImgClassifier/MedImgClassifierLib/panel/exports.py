"""Saving a result where the reader wants it: table, record or report. Written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer

from .. import presenter
from ..translation import _
from .widgets import addAction, chosenPath

if TYPE_CHECKING:
    from ..engine.result import Classification


class ExportMenu:
    """panel: Panel, which has the result."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._panel = panel
        self._menu = qt.QMenu(ui.exportButton)
        for text, suffix, write in (
            (_("Table (CSV)..."), ".csv", self.writeCsv),
            (_("Record (JSON)..."), ".json", self.writeJson),
            (_("Report with pictures (HTML)..."), ".html", self.writeHtml),
        ):
            addAction(self._menu, text, partial(self._ask, suffix, write))
        ui.exportButton.setMenu(self._menu)

    def _ask(self, suffix: str, write: Callable[[Path], None]) -> None:
        name = re.sub(r'[\\/:*?"<>|]', "_", self._panel.table().GetName()) + suffix
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export the result"), name, f"(*{suffix})")
        if path := chosenPath(chosen):
            self.export(Path(path if path.endswith(suffix) else path + suffix), write)

    def export(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write beside the place and move there; say what went wrong."""
        from ..engine.errors import Refusal

        try:
            with tempfile.TemporaryDirectory(prefix=".medimg-", dir=path.parent) as folder:
                write(Path(folder) / path.name)
                os.replace(Path(folder) / path.name, path)
        except OSError as failed:
            self._panel.showRefusal(Refusal("USAGE_FILE_NOT_WRITTEN", path=path, reason=failed.strerror or str(failed)))
        except Refusal as refusal:
            self._panel.showRefusal(refusal)
        else:
            slicer.util.showStatusMessage(_("Saved {path}").format(path=path), 5000)

    def _result(self) -> Classification:
        """The classification, which says itself that it is out of date where it is."""
        shown = self._panel.shown()
        classification: Classification = shown.classification
        if not shown.out_of_date:
            return classification
        provenance = {**classification.provenance, "out_of_date": list(shown.out_of_date)}
        return replace(classification, provenance=provenance)

    def writeCsv(self, path: Path) -> None:
        from ..engine.report import write_csv

        write_csv(self._result(), path)

    def writeJson(self, path: Path) -> None:
        from ..engine.report import write_json

        write_json(self._result(), path)

    def writeHtml(self, path: Path) -> None:
        """With the pictures of the volume, unless it is gone or no longer the one that was classified."""
        from ..engine.html_report import write_html
        from ..scene import result_nodes
        from ..scene.volumes import volumeFromNode

        shown, found = self._panel.shown(), self._panel.currentVerdict()
        facts = found and {
            "verdict": found.verdict,
            "corrected": found.correctedClass,
            "comment": found.comment,
            "time": found.time,
        }
        node = result_nodes.resultOf(self._panel.table()).volume
        volume = volumeFromNode(node) if node is not None and not shown.out_of_date else None
        write_html(
            shown.classification,
            volume,
            path,
            language=self._panel.language,
            verdict=facts,
            out_of_date=[presenter.reason_in_words(reason) for reason in shown.out_of_date],
            card=self._panel.inputs.card(),
            current=shown.row,
        )
