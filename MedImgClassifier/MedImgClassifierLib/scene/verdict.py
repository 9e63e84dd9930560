"""What a reviewer says of a result: a node of its own, which neither another run nor removing the result takes away."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import slicer

from . import hierarchy, nodes, result_nodes

FORMAT = "medimgclassifier-verdict"
VERSION = 1

Opinion = Literal["agree", "disagree", "unsure"]


class Verdict(NamedTuple):
    """A verdict and what it was given on.

    correctedClass   '' for none; known: whether the model has that class ('' counts as known)
    time             of the reviewer's verdict, UTC, '2024-05-06T07:08:09Z'
    judged           answer, bundle {id, version, manifest_sha256}, inputs {channel: content_sha256}, record_sha256
    standing         'current': on the result that is in the scene; 'earlier': on one that was made anew since;
                     'removed': there is no result any more
    """

    verdict: Opinion
    correctedClass: str
    comment: str
    time: str
    known: bool
    judged: Mapping[str, Any]
    standing: Literal["current", "earlier", "removed"]

    @property
    def earlier(self) -> bool:
        """Whether it was given on another result than the one in the scene."""
        return self.standing == "earlier"


def readVerdict(scene: Any, volumeNode: Any, bundle: str) -> Verdict | None:
    """The verdict on a volume's result by a bundle ('id version'); None where none was given, or it cannot be read."""
    node = _find(scene, volumeNode, bundle)
    document = None if node is None else _parsed(node.GetText())
    if document is None:
        return None
    return Verdict(
        verdict=document["verdict"],
        correctedClass=document["corrected_class"],
        comment=document["comment"],
        time=document["time"],
        known=document["class_of_model"],
        judged=document["judged"],
        standing=_standing(scene, volumeNode, bundle, document["judged"]),
    )


def writeVerdict(
    scene: Any, volumeNode: Any, bundle: str, verdict: Opinion, correctedClass: str = "", comment: str = ""
) -> Verdict:
    """Write a verdict on the result of a volume by a bundle ('id version'), in the place of an earlier verdict.

    correctedClass: any text; one that is no class of the model is kept and flagged.
    Raises ValueError where there is no such result with its record, for another verdict than the three, and for a
    corrected class with 'agree'; then the scene is as it was.
    """
    if verdict not in ("agree", "disagree", "unsure"):
        raise ValueError(f"no verdict '{verdict}'")
    correctedClass = correctedClass.strip()
    if verdict == "agree" and correctedClass:
        raise ValueError("whoever agrees corrects no class")
    result = result_nodes.findResult(scene, volumeNode, bundle)
    record = _record(result)
    if result is None or record is None:
        raise ValueError("there is no result to judge")
    document = {
        "format": FORMAT,
        "version": VERSION,
        "verdict": verdict,
        "corrected_class": correctedClass,
        "class_of_model": not correctedClass or correctedClass in [label["name"] for label in record["labels"]],
        "comment": comment,
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "judged": _judged(result, record),
    }
    with result_nodes.allOrNothing(scene):
        node = _find(scene, volumeNode, bundle) or _add(scene, volumeNode, bundle, record["bundle"])
        hierarchy.placeBeside(volumeNode, [*result.made(), node], result.table.GetName())
        node.SetText(json.dumps(document, ensure_ascii=False, indent=1))
    written = readVerdict(scene, volumeNode, bundle)
    assert written is not None
    return written


def _find(scene: Any, volumeNode: Any, bundle: str) -> Any:
    return nodes.findNode(scene, "vtkMRMLTextNode", nodes.VERDICT_KIND, volumeNode, bundle)


def _add(scene: Any, volumeNode: Any, bundle: str, of: Mapping[str, str]) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", f"{volumeNode.GetName()} {of['id']} review")
    node.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
    node.SetAttribute(nodes.ROLE, nodes.VERDICT_KIND)
    node.SetAttribute(nodes.BUNDLE, bundle)
    node.SetNodeReferenceID(nodes.VOLUME_ROLE, volumeNode.GetID())
    return node


def _record(result: result_nodes.ResultNodes | None) -> Mapping[str, Any] | None:
    """results.json of a result; None where it was deleted or is none."""
    if result is None or result.provenance is None:
        return None
    try:
        record = json.loads(result.provenance.GetText())
        return record if {"answer", "bundle", "labels"} <= record.keys() else None
    except (ValueError, AttributeError):
        return None


def _judged(result: result_nodes.ResultNodes, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "answer": record["answer"],
        "bundle": {key: record["bundle"].get(key, "") for key in ("id", "version", "manifest_sha256")},
        "inputs": {
            channel: facts.get("content_sha256", "")
            for channel, facts in record.get("provenance", {}).get("inputs", {}).items()
        },
        "record_sha256": _recordSha256(result),
    }


_hashes: dict[str, tuple[int, str]] = {}
"""(MTime, SHA-256 of the text) by node id. VTK counts all modifications of a process: no two nodes share an MTime."""


def _recordSha256(result: result_nodes.ResultNodes) -> str:
    """Of a result's record, hashed once for each modification: it may have megabytes, and a scrolling reader asks."""
    nodeId, modified = result.provenance.GetID(), result.provenance.GetMTime()
    known = _hashes.get(nodeId)
    if known is None or known[0] != modified:
        known = (modified, hashlib.sha256(result.provenance.GetText().encode()).hexdigest())
        _hashes[nodeId] = known
    return known[1]


def _standing(
    scene: Any, volumeNode: Any, bundle: str, judged: Mapping[str, Any]
) -> Literal["current", "earlier", "removed"]:
    result = result_nodes.findResult(scene, volumeNode, bundle)
    if result is None or result.provenance is None:
        return "removed"
    return "current" if _recordSha256(result) == judged["record_sha256"] else "earlier"


def _parsed(text: str) -> dict[str, Any] | None:
    """A verdict's document; None for anything else."""
    kinds = {"verdict": str, "corrected_class": str, "comment": str, "time": str, "class_of_model": bool}
    try:
        document = json.loads(text)
        if document["format"] != FORMAT or document["version"] != VERSION:
            return None
        if not all(isinstance(document[key], kind) for key, kind in kinds.items()):
            return None
        return document if isinstance(document["judged"]["record_sha256"], str) else None
    except (ValueError, TypeError, KeyError):
        return None
