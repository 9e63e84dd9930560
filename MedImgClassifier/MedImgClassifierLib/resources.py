"""Where the files that travel with the code are (shipped bundles, schemas), and the user's folder of imported bundles.

Three layouts of shipped files, one question. In the source tree and in Slicer's installed tree `Resources` lies beside
the package; a wheel carries the same folders inside the package, as `_resources`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path, PurePosixPath

from .engine.errors import Refusal

USER_FOLDER = "MEDIMG_BUNDLES"
"""Environment variable that names another folder for imported bundles."""

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "_resources", _PACKAGE.parent / "Resources")
_IMPORTED = re.compile(r"[a-z0-9][a-z0-9-]{0,63}-[0-9]+\.[0-9]+\.[0-9]+")  # id-version


def path(name: str) -> Path:
    """Absolute path of a shipped file or folder, e.g. 'Models/body-region' or 'Schemas/bundle.schema.json'.

    Raises ValueError when the name leaves the resources, Refusal(RESOURCE_NOT_INSTALLED) when it is not there.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise ValueError(f"'{name}' is not a path below the resources")
    for root in _ROOTS:
        if (root / parts).exists():
            return root / parts
    places = " and ".join(str(root) for root in _ROOTS)
    raise Refusal("RESOURCE_NOT_INSTALLED", name=name, places=places)


def bundles() -> dict[str, Path]:
    """Bundle folders by name: the shipped ones, then the imported ones. None is checked.

    Raises Refusal(RESOURCE_NOT_INSTALLED).
    """
    shipped = shipped_bundles()
    return shipped | {name: folder for name, folder in imported_bundles().items() if name not in shipped}


def shipped_bundles() -> dict[str, Path]:
    """Shipped bundle folders by name, in alphabetical order. Raises Refusal(RESOURCE_NOT_INSTALLED)."""
    manifests = sorted(path("Models").glob("*/manifest.json"))
    return {manifest.parent.name: manifest.parent for manifest in manifests}


def imported_bundles() -> dict[str, Path]:
    """Folders of the bundles that the user has imported by name, 'id-version', in alphabetical order."""
    try:
        folders = sorted(user_folder().iterdir())
    except (Refusal, OSError):  # nothing was imported there; importing says what is wrong
        return {}
    return {folder.name: folder for folder in folders if _IMPORTED.fullmatch(folder.name) and folder.is_dir()}


def user_folder() -> Path:
    """The folder for imported bundles: of the environment variable MEDIMG_BUNDLES, else below the platform's folder
    for a user's data. It need not exist yet. Raises Refusal(RESOURCE_BUNDLE_FOLDER) where the user has no home."""
    try:
        if os.environ.get(USER_FOLDER):
            return Path(os.environ[USER_FOLDER]).expanduser().absolute()
        if sys.platform == "win32":
            data = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
        elif sys.platform == "darwin":
            data = Path.home() / "Library" / "Application Support"
        else:
            data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError as homeless:
        raise Refusal("RESOURCE_BUNDLE_FOLDER", path="~", reason=homeless) from None
    return Path(data).absolute() / "MedImgClassifier" / "Bundles"


def remove(name: str) -> Path:
    """Remove an imported bundle whole, and return where it was.

    Raises Refusal: USAGE_BUNDLE_SHIPPED, USAGE_BUNDLE_UNKNOWN, RESOURCE_BUNDLE_FOLDER (it stays whole then).
    """
    imported = imported_bundles()
    if name in shipped_bundles():
        raise Refusal("USAGE_BUNDLE_SHIPPED", name=name)
    if name not in imported:
        raise Refusal("USAGE_BUNDLE_UNKNOWN", name=name, known=", ".join(imported) or "none")
    folder = imported[name]
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{name}.removed-", dir=folder.parent))
        try:
            folder.rename(aside / name)  # in one step, so that no half of a bundle is ever listed
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as failed:
        raise Refusal("RESOURCE_BUNDLE_FOLDER", path=folder.parent, reason=failed.strerror or failed) from None
    return folder
