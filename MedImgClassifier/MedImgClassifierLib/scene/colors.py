"""The colours of evidence: one colour table per scene, the same as in the overlay picture of the report."""

from __future__ import annotations

from typing import Any

EVIDENCE_COLORS = "MedImgClassifier evidence"

# Inferno without its darkest part, which would look like shadow on the image, at eight even steps of evidence.
_ANCHORS = (
    (0.547, 0.137, 0.414),
    (0.658, 0.179, 0.373),
    (0.770, 0.236, 0.307),
    (0.861, 0.312, 0.231),
    (0.933, 0.418, 0.140),
    (0.976, 0.544, 0.044),
    (0.988, 0.675, 0.065),
    (0.970, 0.821, 0.239),
    (0.948, 0.949, 0.491),
)


def evidenceColorNode(scene: Any) -> Any:
    """The colour table node of evidence 0..255; made once, saved with the scene."""
    node = findEvidenceColorNode(scene)
    if node is not None:
        return node
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", EVIDENCE_COLORS)
    node.SetTypeToUser()
    node.SetHideFromEditors(False)  # the reader may want it for a colour legend
    colors = _interpolated()
    node.SetNumberOfColors(len(colors))
    for index, (red, green, blue) in enumerate(colors):
        node.SetColor(index, f"{index / 255:.2f}", red, green, blue, 1.0)
    return node


def findEvidenceColorNode(scene: Any) -> Any:
    """The colour table node of evidence, or None. By name: after loading a scene its id may be another."""
    found = scene.GetFirstNode(EVIDENCE_COLORS, "vtkMRMLColorTableNode")
    return found if found is not None and found.GetNumberOfColors() == 256 else None


def _interpolated() -> list[tuple[float, float, float]]:
    """[256] (red, green, blue), linear between the anchors."""
    colors = []
    for index in range(256):
        place = index / 255 * (len(_ANCHORS) - 1)
        part = min(int(place), len(_ANCHORS) - 2)
        low, high = _ANCHORS[part], _ANCHORS[part + 1]
        red, green, blue = (a + (place - part) * (b - a) for a, b in zip(low, high, strict=True))
        colors.append((red, green, blue))
    return colors
