"""`slicer.app`: one application object with its settings, language, modules and extensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

NAME = "Stand-in host"
VERSION = (5, 12)


class qSlicerModuleManager(QtCore.QObject):
    """Knows the modules of `slicer.modules`."""

    stand_in = True
    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def module(self, name: str) -> Any:
        import slicer

        return getattr(slicer.modules, name.lower(), None)


class qSlicerExtensionsManagerModel(QtCore.QObject):
    """Extensions by name. A test says what is installed and whether the server has more; installing is recorded."""

    stand_in = True
    extensionInstalled = Signal(str)
    modelUpdated = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._installed: list[str] = []
        self._on_server: list[str] = []

    def _set(self, installed: list[str] | None = None, on_server: list[str] | None = None) -> None:
        self._installed, self._on_server = list(installed or ()), list(on_server or ())

    def isExtensionInstalled(self, name: str) -> bool:
        return name in self._installed

    isExtensionEnabled = isExtensionInstalled

    def installExtensionFromServer(self, name: str, restart: bool = True, update: bool = False) -> bool:
        if name not in self._on_server:
            return False
        self._installed.append(name)
        self.extensionInstalled.emit(name)
        return True

    installedExtensions = Property("QStringList", lambda self: self._installed)
    interactive = Property(bool, lambda self: False, lambda self, value: None)


class qSlicerApplication(QtCore.QObject):
    """Of an application that was started with --testing, without or with a main window."""

    stand_in = True
    startupCompleted = Signal()

    def __init__(self, qt_application: QtWidgets.QApplication, logic: Any, home: str) -> None:
        super().__init__()
        self._qt, self._logic, self._home = qt_application, logic, home
        self._modules, self._extensions = qSlicerModuleManager(), qSlicerExtensionsManagerModel()
        self._layout: Any = None
        self._testing = True
        self._locale = "en_US"
        self._temporary = str(Path(home, "temporary"))
        Path(self._temporary).mkdir()
        self._translators: list[QtCore.QTranslator] = []
        self._settings = QtCore.QSettings()

    def applicationLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        import slicer

        return slicer.mrmlScene

    def moduleManager(self) -> qSlicerModuleManager:
        return self._modules

    def extensionsManagerModel(self) -> qSlicerExtensionsManagerModel:
        return self._extensions

    def layoutManager(self) -> Any:
        return self._layout

    def dicomDatabase(self) -> Any:
        import slicer

        return slicer.dicomDatabase

    def settings(self) -> QtCore.QSettings:
        return self._settings

    userSettings = settings
    revisionUserSettings = settings

    def topLevelWidgets(self) -> list[Any]:
        return list(self._qt.topLevelWidgets())

    def testingEnabled(self) -> bool:
        return self._testing

    def processEvents(self, *flags: Any) -> None:
        self._qt.processEvents(*flags)

    def setOverrideCursor(self, cursor: Any) -> None:
        self._qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._qt.restoreOverrideCursor()

    def clipboard(self) -> Any:
        return self._qt.clipboard()

    def palette(self) -> Any:
        return self._qt.palette()

    def pauseRender(self) -> None:
        """There is nothing that renders by itself."""

    resumeRender = pauseRender

    def translate(self, context: str, text: str, disambiguation: str | None = None, n: int = -1) -> str:
        return str(QtCore.QCoreApplication.translate(context, text, disambiguation, n))

    def loadTranslations(self, folder: str) -> None:
        """Install every translation in a folder whose file name ends in the language: `*_zh-CN.qm`, else `*_zh.qm`."""
        for locale in dict.fromkeys((self._locale, self._locale.split("_")[0])):
            spellings = (locale.replace("-", "_"), locale.replace("_", "-"))
            files = sorted({f for s in spellings for f in Path(folder).glob(f"*{s}.qm")})
            for file in files:
                translator = QtCore.QTranslator()
                if not translator.load(str(file)):
                    return
                self._qt.installTranslator(translator)
                self._translators.append(translator)
            if files:
                return

    def _set_language(self, locale: str) -> None:
        for translator in self._translators:
            self._qt.removeTranslator(translator)
        self._translators.clear()
        self._locale = locale

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def moduleDocumentationUrl(self, name: str) -> str:
        return f"https://example.org/{name}"

    applicationName = Property(str, lambda self: NAME)
    applicationVersion = Property(str, lambda self: "{}.{}.0".format(*VERSION))
    majorVersion = Property(int, lambda self: VERSION[0])
    minorVersion = Property(int, lambda self: VERSION[1])
    revision = Property(str, lambda self: "0")
    applicationLocaleName = Property(str, lambda self: self._locale)
    temporaryPath = Property(str, lambda self: self._temporary, lambda self, path: setattr(self, "_temporary", path))
    extensionsInstallPath = Property(str, lambda self: str(Path(self._home, "Extensions")))
    slicerHome = Property(str, lambda self: self._home)
