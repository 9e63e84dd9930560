"""The nodes of one result as a group: added or renewed together or not at all, found again, removed together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import slicer

from ..translation import _
from . import binding, hierarchy, nodes, results
from .colors import findEvidenceColorNodes
from .out_of_date import markOutOfDate
from .overlay import addEvidence, fillEvidence, hideOverlay, isEvidence

if TYPE_CHECKING:
    from ..engine.result import Classification

TABLE_KIND = "results"


class ResultNodes(NamedTuple):
    """What stands for one classification. The table refers to all others, by id and not by name."""

    table: Any
    volume: Any  # the reference input, on which the result lies; None where the reader deleted it
    evidence: Any  # None where the classification holds none, or refuses a class
    series: tuple[Any, ...]
    chart: Any  # None where the classification refuses a class
    provenance: Any
    inputs: Mapping[str, Any]  # {channel: volume node, None where it was deleted}; empty where unknown

    def made(self) -> list[Any]:
        """The nodes that were made for the result and are still there; none is observed by one before it."""
        return [node for node in (self.table, *self.series, self.chart, self.provenance, self.evidence) if node]


def addResult(
    scene: Any,
    volumeNode: Any,
    classification: Classification,
    label: int | None = None,
    channels: Mapping[str, Any] | None = None,
    places: Mapping[str, binding.Place] | None = None,
) -> ResultNodes:
    """Show everything that a scene shows of a classification.

    label: whose evidence is shown; None takes the most frequent one. channels: {channel: volume node} of a bundle of
    several inputs, volumeNode among them as the one on which the result lies; None where it is the only one.
    places: {channel: where the volume lay when its voxels were taken}; None where it has not moved since.
    An earlier result of the same volume and bundle is renewed in its own nodes, so that views, plots and whatever
    else refers to them show the new one, with threshold and colours as the reader chose them. If anything fails, the
    scene is left as it was.
    """
    import numpy as np

    if label is None:
        label = int(np.argmax(classification.counts()))
    text = results.recordText(classification)  # the slowest first, while nothing is touched
    earlier = findResult(scene, volumeNode, nodes.bundleName(classification.bundle))
    with allOrNothing(scene, earlier.made() if earlier else ()):
        result = _fill(scene, earlier, volumeNode, classification, label, text)
        _signAndRefer(result, classification)
        inputs = channels or {_onlyChannel(classification): volumeNode}
        binding.bind(result.table, inputs, classification, places=places)
        hierarchy.placeBeside(volumeNode, _groupOf(scene, result, classification), _name(volumeNode, classification))
    if earlier is not None:
        _removeNodes(scene, [node for node in earlier.made() if node not in result.made()])
    return resultOf(result.table)


def _fill(
    scene: Any, earlier: ResultNodes | None, volumeNode: Any, classification: Classification, label: int, text: str
) -> ResultNodes:
    """The nodes of a result, those of an earlier one as far as it goes, with the content of a classification."""
    name = _name(volumeNode, classification)
    table = earlier.table if earlier else _addTable(scene, name)
    record, chart = (earlier.provenance, earlier.chart) if earlier else (None, None)
    evidence, series = None, list(earlier.series if earlier else ())[: len(classification.labels)]
    if earlier:
        markOutOfDate(table, ())
    record = record or scene.AddNewNodeByClass("vtkMRMLTextNode", f"{name} results.json")
    results.fillRecord(record, text)
    results.fillTable(table, classification)
    if classification.refused:
        return ResultNodes(table, volumeNode, None, (), None, record, {})
    chart = chart or results.addChart(scene, _("{name} probabilities").format(name=name))
    series += [results.addSeries(scene, n) for n in range(len(series), len(classification.labels))]
    results.fillSeries(series, classification, table)
    results.fillChart(chart, classification, series)
    if classification.evidence is not None:
        evidence = _fillEvidence(scene, earlier and earlier.evidence, name, volumeNode, classification, label)
    return ResultNodes(table, volumeNode, evidence, tuple(series), chart, record, {})


def _addTable(scene: Any, name: str) -> Any:
    """A table node that is known as a results table when the scene tells that it was added."""
    table = slicer.vtkMRMLTableNode()
    table.SetName(name)
    table.SetAttribute(nodes.ROLE, TABLE_KIND)
    return scene.AddNode(table)


def _fillEvidence(
    scene: Any, evidence: Any, name: str, volumeNode: Any, classification: Classification, label: int
) -> Any:
    title = _("{name} evidence for {label}").format(name=name, label=classification.labels[label].name)
    if evidence is None:
        return addEvidence(scene, classification, label, volumeNode, title)[0]
    if evidence.GetAttribute(nodes.LABEL) != classification.labels[label].name:  # what the reader named stays
        evidence.SetName(title)
    fillEvidence(evidence, classification, label, volumeNode)
    return evidence


def _name(volumeNode: Any, classification: Classification) -> str:
    return f"{volumeNode.GetName()} {classification.bundle['id']}"


def _groupOf(scene: Any, result: ResultNodes, classification: Classification) -> list[Any]:
    """What stands in the folder of a result: also the verdict on one that was removed."""
    bundle = nodes.bundleName(classification.bundle)
    verdict = nodes.findNode(scene, "vtkMRMLTextNode", nodes.VERDICT_KIND, result.volume, bundle)
    return [*result.made(), verdict] if verdict else result.made()


def _onlyChannel(classification: Classification) -> str:
    """Name of the channel of a bundle that has but one."""
    return next(iter(classification.provenance.get("inputs", {})), "image")


def _signAndRefer(result: ResultNodes, classification: Classification) -> None:
    table = result.table
    signed = [(table, TABLE_KIND), (result.provenance, "provenance"), (result.chart, "chart")]
    for node, role in (*signed, (result.evidence, "evidence"), *((series, "series") for series in result.series)):
        if node is not None:
            nodes.signNode(node, classification.bundle, role)
    table.SetNodeReferenceID(nodes.VOLUME_ROLE, result.volume.GetID())
    for role, node in (
        (nodes.PROVENANCE_ROLE, result.provenance),
        (nodes.CHART_ROLE, result.chart),
        (nodes.EVIDENCE_ROLE, result.evidence),
    ):
        if node is not None:  # what the result no longer has is removed, and the reference to it with it
            table.SetNodeReferenceID(role, node.GetID())
    for n, series in enumerate(result.series):
        table.SetNthNodeReferenceID(nodes.SERIES_ROLE, n, series.GetID())


def resultOf(table: Any) -> ResultNodes:
    """The result that a results table stands for, through its references."""
    count = table.GetNumberOfNodeReferences(nodes.SERIES_ROLE)
    series = [table.GetNthNodeReference(nodes.SERIES_ROLE, n) for n in range(count)]
    inputs = {name: table.GetNodeReference(nodes.inputRole(n)) for n, name in enumerate(binding.channels(table))}
    return ResultNodes(
        table=table,
        volume=table.GetNodeReference(nodes.VOLUME_ROLE),
        evidence=table.GetNodeReference(nodes.EVIDENCE_ROLE),
        series=tuple(node for node in series if node is not None),
        chart=table.GetNodeReference(nodes.CHART_ROLE),
        provenance=table.GetNodeReference(nodes.PROVENANCE_ROLE),
        inputs=inputs,
    )


def findResult(scene: Any, volumeNode: Any, bundle: str) -> ResultNodes | None:
    """The result of a volume by a bundle ('id version'), or None."""
    table = nodes.findNode(scene, "vtkMRMLTableNode", TABLE_KIND, volumeNode, bundle)
    return None if table is None else resultOf(table)


def resultTables(scene: Any) -> list[Any]:
    """The results tables of a scene."""
    tables = nodes.nodesOfClass(scene, "vtkMRMLTableNode")
    return [table for table in tables if table.GetAttribute(nodes.ROLE) == TABLE_KIND]


def removeResult(scene: Any, table: Any) -> None:
    """Remove a result by its table, with display and storage nodes; views get their earlier foreground back.

    A reviewer's verdict on it stays.
    """
    _removeNodes(scene, resultOf(table).made())


def _removeNodes(scene: Any, group: Iterable[Any]) -> None:
    for node in group:
        if isEvidence(node):
            hideOverlay(scene, node)
        removeNode(node)
    if not any(isEvidence(node) for node in nodes.nodesOfClass(scene, "vtkMRMLScalarVolumeNode")):
        for colors in findEvidenceColorNodes(scene):
            removeNode(colors)


def removeNode(node: Any) -> None:
    """Remove a node from its scene with its display and storage nodes and its subject hierarchy item."""
    scene, helpers = node.GetScene(), []
    if node.IsA("vtkMRMLDisplayableNode"):
        helpers += [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        helpers += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    hierarchy.removeItem(node)
    scene.RemoveNode(node)
    for helper in helpers:
        if helper is not None:
            scene.RemoveNode(helper)


@contextmanager
def allOrNothing(scene: Any, changed: Iterable[Any] = ()) -> Iterator[None]:
    """Should anything inside raise: remove every node that was added, and give the changed ones their content back.

    Each of the changed nodes tells its changes once, at the end, in the order given.
    """
    before = {scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())}
    kept = [(node, _copyOf(node)) for node in changed]
    with ExitStack() as events:
        for node, _copy in reversed(kept):
            events.callback(node.EndModify, node.StartModify())
        try:
            yield
        except BaseException:
            for node, copy in kept:
                node.Copy(copy)
            added = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
            for node in reversed(added):
                if node not in before and scene.IsNodePresent(node):
                    hierarchy.removeItem(node)
                    scene.RemoveNode(node)
            raise


def _copyOf(node: Any) -> Any:
    """What a node holds, in one of its kind outside the scene."""
    copy = node.CreateNodeInstance()
    copy.Copy(node)
    return copy
