"""Where the files that travel with the code are: shipped bundles and schemas.

Three layouts, one question. In the source tree and in Slicer's installed tree `Resources` lies beside the
package; a wheel carries the same folders inside the package, as `_resources`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from .engine.errors import Refusal

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "_resources", _PACKAGE.parent / "Resources")


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
    """Shipped bundle folders by name, in alphabetical order. Raises Refusal(RESOURCE_NOT_INSTALLED)."""
    manifests = sorted(path("Models").glob("*/manifest.json"))
    return {manifest.parent.name: manifest.parent for manifest in manifests}
