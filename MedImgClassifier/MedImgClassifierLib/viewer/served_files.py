"""Files of this computer that the page may open: those under one folder, named by their paths in it, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..engine.errors import Refusal

MOST = 2000
"""Entries of a folder that are listed."""

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm", ".ima", ".zip", ".png", ".jpg", ".jpeg")


class ServedFiles:
    """root: the folder. Raises Refusal INPUT_NOT_FOUND where it is none."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise Refusal("INPUT_NOT_FOUND", path=root)
        self._root = root.resolve()

    def place(self, path: str) -> Path:
        """Where a file or folder lies. Raises Refusal INPUT_NOT_FOUND for what is not there or leads out of the root,
        also by a link: the two are not told apart."""
        try:
            place = (self._root / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            place = None
        if place is None or not place.is_relative_to(self._root):
            raise Refusal("INPUT_NOT_FOUND", path=path)
        return place

    def listing(self, path: str) -> dict[str, Any]:
        """{path, up, entries: [{name, path, folder}]} of a folder: folders first, then files that may be images.

        Raises Refusal as `place`, and where the folder cannot be read.
        """
        folder = self.place(path)
        try:
            found = sorted(folder.iterdir(), key=lambda entry: (not entry.is_dir(), entry.name.lower()))
        except OSError:
            raise Refusal("INPUT_NOT_FOUND", path=path) from None
        entries = [
            {"name": entry.name, "path": str(entry.relative_to(self._root)), "folder": entry.is_dir()}
            for entry in found
            if self._is_offered(entry)
        ]
        inside = str(folder.relative_to(self._root)) if folder != self._root else ""
        up = str(Path(inside).parent) if inside else ""
        return {"path": inside, "up": "" if up == "." else up, "entries": entries[:MOST]}

    def _is_offered(self, entry: Path) -> bool:
        """DICOM files often have no ending; hidden ones, and links that lead out, are passed over."""
        if entry.name.startswith(".") or not entry.resolve().is_relative_to(self._root):
            return False
        return entry.is_dir() or not entry.suffix or entry.name.lower().endswith(ENDINGS)
