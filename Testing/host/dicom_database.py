"""`slicer.dicomDatabase`: a few files and their header values, as a test fills them in."""

from __future__ import annotations

from PySide6 import QtCore
from PySide6.QtCore import Property


class ctkDICOMDatabase(QtCore.QObject):
    """Values are kept by file and tag ("0008,0060"); instances point to files."""

    stand_in = True

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, tuple[str, str]] = {}
        self._values: dict[tuple[str, str], str] = {}

    def _add(self, file: str, instance: str, series: str, **values: str) -> None:
        """For tests. values: by tag with an underscore, _0008_0060="CT"."""
        self._files[instance] = (file, series)
        for tag, value in values.items():
            self._values[file, tag.strip("_").replace("_", ",")] = value

    def fileForInstance(self, instance: str) -> str:
        return self._files.get(instance, ("", ""))[0]

    def filesForSeries(self, series: str) -> list[str]:
        return [file for file, s in self._files.values() if s == series]

    def instancesForSeries(self, series: str) -> list[str]:
        return [i for i, (_, s) in self._files.items() if s == series]

    def seriesForFile(self, file: str) -> str:
        return next((s for f, s in self._files.values() if f == file), "")

    def fileValue(self, file: str, tag: str) -> str:
        return self._values.get((file, tag), "")

    def instanceValue(self, instance: str, tag: str) -> str:
        return self.fileValue(self.fileForInstance(instance), tag)

    isOpen = Property(bool, lambda self: True)
