"""Which class's evidence stands in the scene, and whether it is seen: the reader's choices for a result.

Evidence for another class is made from the record that every result carries, so this works on a reopened scene.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..translation import _
from . import nodes, result_nodes
from .overlay import changeClass, hideOverlay
from .slice_link import isElsewhere

if TYPE_CHECKING:
    from ..engine.result import Classification


def recordedClassification(table: Any) -> Classification | None:
    """The Classification that a results table stands for; None where its record was deleted or is no record."""
    from ..engine.result import Classification

    record = result_nodes.resultOf(table).provenance
    if record is None:
        return None
    try:
        return Classification.from_json(json.loads(record.GetText()))
    except (ValueError, KeyError, TypeError):
        return None


def offeredLabels(table: Any, classification: Classification) -> list[str]:
    """Names of the classes whose evidence can be shown, in the model's order; none where the volume is gone."""
    result = result_nodes.resultOf(table)
    if classification.evidence is None or result.evidence is None or result.volume is None:
        return []
    return [label.name for label in classification.labels]


def shownLabel(table: Any) -> str:
    """Name of the class whose evidence stands in the scene for a result; '' where there is none."""
    evidence = result_nodes.resultOf(table).evidence
    return (evidence.GetAttribute(nodes.LABEL) or "") if evidence is not None else ""


def speaksFor(classification: Classification, label: str) -> bool:
    """Whether any place in the case speaks for a class."""
    names = [known.name for known in classification.labels]
    return classification.evidence is not None and bool(classification.evidence.scale[names.index(label)] > 0)


def chooseEvidence(table: Any, classification: Classification, label: str) -> Any:
    """Let the evidence node of a result show the evidence for a class; returns that node.

    It is the same node with another name: views, threshold, colours and legend stay as the reader has them. If
    anything fails, it is left as it was. Raises ValueError for an unknown class.
    """
    result = result_nodes.resultOf(table)
    if label == shownLabel(table):
        return result.evidence
    index = [known.name for known in classification.labels].index(label)
    changeClass(result.evidence, classification, index, result.volume)
    result.evidence.SetName(_("{name} evidence for {label}").format(name=table.GetName(), label=label))
    return result.evidence


def hideEvidence(table: Any) -> None:
    """Give the slice views that show a result's evidence their earlier foreground back."""
    evidence = result_nodes.resultOf(table).evidence
    if evidence is not None:
        hideOverlay(table.GetScene(), evidence)


def bringIntoView(volumeNode: Any) -> None:
    """Show a volume in the slice views if none shows it, so that its evidence is seen."""
    if isElsewhere(volumeNode):
        for view in nodes.nodesOfClass(volumeNode.GetScene(), "vtkMRMLSliceCompositeNode"):
            view.SetBackgroundVolumeID(volumeNode.GetID())
            view.SetForegroundVolumeID(None)  # it belonged to what was shown there
