"""Subject hierarchy: whose images a volume holds, and a result's nodes together in a folder beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer

from . import nodes

RESULT_FOLDER = "result folder"


def describeInput(volumeNode: Any) -> dict[str, str]:
    """{patient, study, series, name} of a volume for its reader, from the DICOM attributes of the subject hierarchy.

    '' where it knows nothing. It names a patient: for the screen only, never for a log.
    """
    hierarchy, item = itemOf(volumeNode)

    def fact(tag: str) -> str:
        if not item:
            return ""
        name = f"DICOM.{tag}"
        found = hierarchy.GetItemAttribute(item, name) or hierarchy.GetAttributeFromItemAncestor(item, name)
        return " ".join((found or "").replace("^", " ").split())

    identity, date = fact("PatientID"), fact("StudyDate")
    if len(date) == 8 and date.isdigit():
        date = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return {
        "patient": " ".join(part for part in (fact("PatientName"), identity and f"({identity})") if part),
        "study": " ".join(part for part in (fact("StudyDescription"), date) if part),
        "series": ": ".join(part for part in (fact("SeriesNumber"), fact("SeriesDescription")) if part),
        "name": volumeNode.GetName() or "",
    }


def itemOf(node: Any) -> tuple[Any, int]:
    """(subject hierarchy node, item of a node in it); (None, 0) without a hierarchy, which is never made here."""
    hierarchy = _hierarchyOf(node.GetScene())
    return hierarchy, (hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0)


def addToHierarchy(volumeNode: Any, seriesUid: str) -> None:
    """Make the hierarchy that Slicer would make for a volume that it loads, with its series UID ('' for none)."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volumeNode.GetScene())
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), volumeNode)
    if seriesUid:
        hierarchy.SetItemUID(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName(), seriesUid)


def placeBeside(volumeNode: Any, group: Iterable[Any], name: str) -> None:
    """Put nodes of one result into their folder, which is made beside the volume where none of them has one yet.

    Nodes that the reader has put elsewhere stay there. Nothing is done where the hierarchy does not know the volume.
    """
    hierarchy, volumeItem = itemOf(volumeNode)
    if not volumeItem:
        return
    placed = list(group)
    beside = hierarchy.GetItemParent(volumeItem) or hierarchy.GetSceneItemID()
    folder = folderOf(placed)
    if not folder:
        folder = hierarchy.CreateFolderItem(beside, name)
        hierarchy.SetItemAttribute(folder, nodes.ROLE, RESULT_FOLDER)
    for node in placed:
        item = hierarchy.GetItemByDataNode(node)
        if not item:
            hierarchy.CreateItem(folder, node)
        elif hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID():  # where Slicer puts what is new
            hierarchy.SetItemParent(item, folder)


def folderOf(group: Iterable[Any]) -> int:
    """Item of the result folder that holds any of these nodes; 0 for none."""
    for node in group:
        hierarchy, item = itemOf(node)
        folder = hierarchy.GetItemParent(item) if item else 0
        if folder and hierarchy.GetItemAttribute(folder, nodes.ROLE) == RESULT_FOLDER:
            return int(folder)
    return 0


def removeItem(node: Any) -> None:
    """Take a node that is about to go out of the hierarchy, and its result folder with it once that is empty.

    Slicer does the first itself; a scene without the application would keep an item of nothing.
    """
    hierarchy, item = itemOf(node)
    if not item:
        return
    folder = folderOf([node])
    hierarchy.RemoveItem(item, False, False)
    if folder and not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder, False, False)


def _hierarchyOf(scene: Any) -> Any:
    """The one hierarchy of a scene (those that came with an import are merged by asking for it), or None."""
    if scene is None or not scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode"):
        return None
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
