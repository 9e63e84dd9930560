"""The menu beside the models: import one from a file or folder, remove an imported one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer

from ..translation import _
from .widgets import addAction, chosenPath


class ModelMenu:
    """panel: Panel, which runs an import as it runs a classification."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._panel = panel
        self._menu = qt.QMenu(ui.bundleMenuButton)
        addAction(self._menu, _("Import from file..."), self.importFile)
        addAction(self._menu, _("Import from folder..."), self.importFolder)
        self._menu.addSeparator()
        self._remove = addAction(self._menu, _("Remove this model"), self.removeModel)
        self._menu.connect("aboutToShow()", self._onAboutToShow)
        ui.bundleMenuButton.setMenu(self._menu)

    def importFile(self) -> None:
        pattern = _("Models") + " (*.zip)"
        found = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Import a model"), "", pattern)
        self._import(found)

    def importFolder(self) -> None:
        self._import(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Import a model")))

    def _import(self, chosen: Any) -> None:
        if path := chosenPath(chosen):
            self._panel.importModel(Path(path))

    def removeModel(self) -> None:
        from .. import resources
        from ..engine.errors import Refusal

        name = self._panel.settings.bundle
        question = _("Remove the imported model '{name}' from this computer? Results in the scene stay.")
        if not slicer.util.confirmOkCancelDisplay(question.format(name=name)):
            return
        try:
            resources.remove(name)
        except Refusal as refusal:
            self._panel.showRefusal(refusal)
        self._panel.reloadModels()

    def _onAboutToShow(self) -> None:
        from .. import resources

        settings = self._panel.settings
        self._remove.enabled = settings is not None and settings.bundle in resources.imported_bundles()
