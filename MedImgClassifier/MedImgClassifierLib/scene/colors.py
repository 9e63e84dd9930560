"""The colours of evidence: a few colour tables of our own, each made when it is first used."""

from __future__ import annotations

from typing import Any

from ..engine.appearance import EVIDENCE_ANCHORS
from ..translation import _

EVIDENCE_COLORS = "MedImgClassifier evidence"
"""Name of the table that is used first; that of another one ends with its key."""

DEFAULT_COLOR_MAP = "inferno"

# All start without the darkest part of their model, which would look like shadow on the image, and grow lighter all
# the way, so that more evidence is more light for every reader. Even steps of evidence.
_ANCHORS = {
    "inferno": EVIDENCE_ANCHORS,
    "viridis": (
        (0.254, 0.265, 0.530),
        (0.191, 0.407, 0.556),
        (0.128, 0.567, 0.551),
        (0.208, 0.719, 0.473),
        (0.565, 0.842, 0.263),
        (0.993, 0.906, 0.144),
    ),
    # One hue, told apart by lightness alone and from grey by any colour vision.
    "blue": (
        (0.000, 0.280, 0.560),
        (0.100, 0.480, 0.780),
        (0.337, 0.706, 0.914),
        (0.780, 0.920, 1.000),
    ),
}

COLOR_MAPS = tuple(_ANCHORS)
"""Keys of the colour maps, the one that is used first in front."""


def colorMapTitle(colorMap: str) -> str:
    """What a reader calls a colour map."""
    return {"inferno": _("Red to yellow"), "viridis": _("Blue to yellow"), "blue": _("Blue only")}[colorMap]


def evidenceColorNode(scene: Any, colorMap: str = DEFAULT_COLOR_MAP) -> Any:
    """The colour table node of evidence 0..255; made once per colour map, saved with the scene.

    Raises ValueError for a colour map that is none of COLOR_MAPS.
    """
    if colorMap not in _ANCHORS:
        raise ValueError(f"no colour map '{colorMap}'")
    node = findEvidenceColorNode(scene, colorMap)
    if node is not None:
        return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", _nodeName(colorMap))
    node.SetTypeToUser()
    node.SetHideFromEditors(False)  # the reader may want it for a colour legend
    colors = _interpolated(_ANCHORS[colorMap])
    node.SetNumberOfColors(len(colors))
    for index, (red, green, blue) in enumerate(colors):
        node.SetColor(index, f"{index / 255:.2f}", red, green, blue, 1.0)
    return node


def findEvidenceColorNode(scene: Any, colorMap: str = DEFAULT_COLOR_MAP) -> Any:
    """The colour table node of a colour map, or None. By name: after loading a scene its id may be another."""
    found = scene.GetFirstNode(_nodeName(colorMap), "vtkMRMLColorTableNode")
    return found if found is not None and found.GetNumberOfColors() == 256 else None


def findEvidenceColorNodes(scene: Any) -> list[Any]:
    """All colour table nodes of evidence that are in the scene."""
    found = (findEvidenceColorNode(scene, colorMap) for colorMap in COLOR_MAPS)
    return [node for node in found if node is not None]


def _nodeName(colorMap: str) -> str:
    return EVIDENCE_COLORS if colorMap == DEFAULT_COLOR_MAP else f"{EVIDENCE_COLORS} {colorMap}"


def _interpolated(anchors: tuple[tuple[float, float, float], ...]) -> list[tuple[float, float, float]]:
    """[256] (red, green, blue), linear between the anchors."""
    colors = []
    for index in range(256):
        place = index / 255 * (len(anchors) - 1)
        part = min(int(place), len(anchors) - 2)
        low, high = anchors[part], anchors[part + 1]
        red, green, blue = (a + (place - part) * (b - a) for a, b in zip(low, high, strict=True))
        colors.append((red, green, blue))
    return colors
