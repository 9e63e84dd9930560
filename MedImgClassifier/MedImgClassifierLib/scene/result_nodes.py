"""The nodes of one result as a group: added together or not at all, found again, replaced and removed together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from . import nodes
from .colors import findEvidenceColorNode
from .overlay import addEvidence, exchangeEvidence, hideOverlay, isEvidence
from .results import addProbabilitySeries, addProvenance, addResultsTable
from .translation import _

if TYPE_CHECKING:
    from ..engine.result import Classification

TABLE_KIND = "results"


class ResultNodes(NamedTuple):
    """What stands for one classification of one volume. The table refers to all others, by id and not by name."""

    table: Any
    volume: Any  # None where the reader deleted it
    evidence: Any  # None where the classification holds none, or refuses a class
    series: tuple[Any, ...]
    chart: Any  # None where the classification refuses a class
    provenance: Any


def addResult(scene: Any, volumeNode: Any, classification: Classification, label: int | None = None) -> ResultNodes:
    """Add everything that a scene shows of a classification; an earlier result of the same volume and bundle goes.

    label: whose evidence is added; None takes the most frequent one. Views that showed the earlier evidence
    show the new one. If anything fails, the scene is left as it was.
    """
    import numpy as np

    if label is None:
        label = int(np.argmax(classification.counts()))
    earlier = findResult(scene, volumeNode, nodes.bundleName(classification.bundle))
    with allOrNothing(scene):
        result = _addNodes(scene, volumeNode, classification, label)
    if earlier is not None:
        if earlier.evidence is not None and result.evidence is not None:
            exchangeEvidence(scene, earlier.evidence, result.evidence)
        removeResult(scene, earlier.table)
    return result


def _addNodes(scene: Any, volumeNode: Any, classification: Classification, label: int) -> ResultNodes:
    name = f"{volumeNode.GetName()} {classification.bundle['id']}"
    table = addResultsTable(scene, classification, name)
    provenance = addProvenance(scene, classification, f"{name} results.json")
    evidence, chart = None, None
    series: list[Any] = []
    if not classification.refused:
        series, chart = addProbabilitySeries(scene, classification, table, f"{name} {_('probabilities')}")
        if classification.evidence is not None:
            title = _("{name} evidence for {label}").format(name=name, label=classification.labels[label].name)
            evidence, _speaks = addEvidence(scene, classification, label, volumeNode, title)
    result = ResultNodes(table, volumeNode, evidence, tuple(series), chart, provenance)
    _signAndRefer(result, classification)
    return result


def _signAndRefer(result: ResultNodes, classification: Classification) -> None:
    bundle = classification.bundle
    nodes.signNode(result.table, bundle, TABLE_KIND)
    nodes.signNode(result.provenance, bundle, "provenance")
    result.table.SetNodeReferenceID(nodes.VOLUME_ROLE, result.volume.GetID())
    result.table.SetNodeReferenceID(nodes.PROVENANCE_ROLE, result.provenance.GetID())
    if result.chart is not None:
        nodes.signNode(result.chart, bundle, "chart")
        result.table.SetNodeReferenceID(nodes.CHART_ROLE, result.chart.GetID())
    for series in result.series:
        nodes.signNode(series, bundle, "series")
        result.table.AddNodeReferenceID(nodes.SERIES_ROLE, series.GetID())
    if result.evidence is not None:
        nodes.signNode(result.evidence, bundle, "evidence")
        result.table.SetNodeReferenceID(nodes.EVIDENCE_ROLE, result.evidence.GetID())


def resultOf(table: Any) -> ResultNodes:
    """The result that a results table stands for, through its references."""
    count = table.GetNumberOfNodeReferences(nodes.SERIES_ROLE)
    series = [table.GetNthNodeReference(nodes.SERIES_ROLE, n) for n in range(count)]
    return ResultNodes(
        table=table,
        volume=table.GetNodeReference(nodes.VOLUME_ROLE),
        evidence=table.GetNodeReference(nodes.EVIDENCE_ROLE),
        series=tuple(node for node in series if node is not None),
        chart=table.GetNodeReference(nodes.CHART_ROLE),
        provenance=table.GetNodeReference(nodes.PROVENANCE_ROLE),
    )


def findResult(scene: Any, volumeNode: Any, bundle: str) -> ResultNodes | None:
    """The result of a volume by a bundle ('id version'), or None."""
    for table in nodes.nodesOfClass(scene, "vtkMRMLTableNode"):
        ours = table.GetAttribute(nodes.ROLE) == TABLE_KIND and table.GetAttribute(nodes.BUNDLE) == bundle
        if ours and table.GetNodeReferenceID(nodes.VOLUME_ROLE) == volumeNode.GetID():
            return resultOf(table)
    return None


def removeResult(scene: Any, table: Any) -> None:
    """Remove a result by its table, with display and storage nodes; views get their earlier foreground back."""
    result = resultOf(table)
    if result.evidence is not None:
        hideOverlay(scene, result.evidence)
    for node in (result.evidence, result.chart, *result.series, result.provenance, result.table):
        if node is not None:
            _removeWithHelpers(scene, node)
    remaining = nodes.nodesOfClass(scene, "vtkMRMLScalarVolumeNode")
    colors = findEvidenceColorNode(scene)
    if colors is not None and not any(isEvidence(node) for node in remaining):
        _removeWithHelpers(scene, colors)


def _removeWithHelpers(scene: Any, node: Any) -> None:
    helpers = []
    if node.IsA("vtkMRMLDisplayableNode"):
        helpers += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        helpers += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for helper in helpers:
        if helper is not None:
            scene.RemoveNode(helper)


@contextmanager
def allOrNothing(scene: Any) -> Iterator[None]:
    """Remove every node that was added inside, should anything raise."""
    before = {scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())}
    try:
        yield
    except BaseException:
        added = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
        for node in reversed(added):
            if node not in before and scene.IsNodePresent(node):
                scene.RemoveNode(node)
        raise
