"""How the nodes of a result are marked, and by which attributes and reference roles they are found again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PREFIX = "MedImgClassifier."

BUNDLE = PREFIX + "Bundle"
NOTICE = PREFIX + "Notice"
INTENDED_USE = PREFIX + "IntendedUse"
ROLE = PREFIX + "Role"

MODALITY = PREFIX + "Modality"
RESAMPLED = PREFIX + "Resampled"
LARGEST_SHIFT_MM = PREFIX + "LargestShiftMm"

LABEL = PREFIX + "Label"
EVIDENCE_METHOD = PREFIX + "EvidenceMethod"
NO_EVIDENCE = "none"

PREVIOUS_FOREGROUND = PREFIX + "PreviousForeground"
PREVIOUS_OPACITY = PREFIX + "PreviousOpacity"

VOLUME_ROLE = PREFIX + "Volume"
EVIDENCE_ROLE = PREFIX + "Evidence"
SERIES_ROLE = PREFIX + "Series"
CHART_ROLE = PREFIX + "Chart"
PROVENANCE_ROLE = PREFIX + "Provenance"

VERDICT_KIND = "verdict"

BINDING = PREFIX + "Binding"
OUT_OF_DATE = PREFIX + "OutOfDate"
OUT_OF_DATE_TEXT = PREFIX + "OutOfDateText"


def inputRole(n: int) -> str:
    """Reference role of the nth input. By number: a channel may bear any name, a role may not."""
    return f"{PREFIX}Input{n}"


def nodesOfClass(scene: Any, className: str) -> list[Any]:
    """All nodes of a class and its subclasses (GetNodesByClass would leak its collection)."""
    return [scene.GetNthNodeByClass(n, className) for n in range(scene.GetNumberOfNodesByClass(className))]


@contextmanager
def oneEvent(node: Any) -> Iterator[None]:
    """Changes of a node, told once: each would draw the views again."""
    modifying = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(modifying)


def bundleName(bundle: Mapping[str, str]) -> str:
    """'id version' of a bundle: what tells one result of a volume from another."""
    return f"{bundle['id']} {bundle['version']}"


def findNode(scene: Any, className: str, role: str, volumeNode: Any, bundle: str) -> Any:
    """The node of a role ('results', VERDICT_KIND) that stands for a volume and a bundle ('id version'), or None."""
    for node in nodesOfClass(scene, className):
        ours = node.GetAttribute(ROLE) == role and node.GetAttribute(BUNDLE) == bundle
        if ours and node.GetNodeReferenceID(VOLUME_ROLE) == volumeNode.GetID():
            return node
    return None


def signNode(node: Any, bundle: Mapping[str, str], role: str) -> None:
    """Write on a node where it comes from, what it is for, and that it is not for diagnosis."""
    from ..engine.result import NOTICE as noticeText

    node.SetAttribute(BUNDLE, bundleName(bundle))
    node.SetAttribute(NOTICE, noticeText)
    node.SetAttribute(INTENDED_USE, bundle.get("intended_use", ""))
    node.SetAttribute(ROLE, role)
