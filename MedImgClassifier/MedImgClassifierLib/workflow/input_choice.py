"""What is to be classified: a model, an input volume for each of its channels, the slices that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..presenter import Input
from ..translation import _

if TYPE_CHECKING:
    from ..engine.card import Card, Channel

CHANNEL_ROLE = "input."
"""Prefix of the references of the parameter node to the volumes of further channels."""

RESTRICTION_ROLE = "restriction"
"""Its reference to the markups ROI or the segmentation that says which slices are classified."""


class InputChoice:
    """workflow: Workflow, whose settings hold the choice."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        self._cards: dict[str, Card] = {}
        self.reload()

    def reload(self) -> None:
        """Read what models there are again."""
        from ..engine.card import read_card

        found = self._workflow.logic.bundles()
        self._stamps = _stamps(found)
        self._cards = {name: read_card(path, self._workflow.language) for name, path in found.items()}

    def reloadChanged(self) -> None:
        """The same where a model has been added, replaced or removed on disk."""
        if _stamps(self._workflow.logic.bundles()) != self._stamps:
            self.reload()

    @property
    def settings(self) -> Any:
        return self._workflow.settings

    @property
    def models(self) -> dict[str, Card]:
        return self._cards

    def card(self) -> Card | None:
        """Of the chosen model."""
        return self._cards.get(self.settings.bundle) if self.settings else None

    def channels(self) -> tuple[Channel, ...]:
        card = self.card()
        return card.channels if card else ()

    def volumes(self) -> dict[str, Any]:
        """Volume nodes by channel of the chosen model, in its order; None where none is chosen."""
        settings, channels = self.settings, self.channels()
        if settings is None or not channels:
            return {}
        volumes = {channels[0].name: settings.inputVolume}
        for channel in channels[1:]:
            volumes[channel.name] = settings.parameterNode.GetNodeReference(CHANNEL_ROLE + channel.name)
        return volumes

    def situation(self) -> tuple[Input, ...]:
        """As presenter.Situation takes it."""
        from ..scene.overlay import isEvidence

        inputs, seen = [], set()
        for channel, node in self.volumes().items():
            if node is None:
                inputs.append(Input(channel))
                continue
            problem: Any = ""
            if isEvidence(node):
                problem = "evidence"
            elif node.GetImageData() is None:
                problem = "no voxels"
            elif node.GetID() in seen:
                problem = "chosen twice"
            seen.add(node.GetID())
            inputs.append(Input(channel, node.GetName(), problem))
        return tuple(inputs)

    def chooseModel(self, name: str) -> None:
        """Choose a model, or the first where there is none of that name; none where there is none at all."""
        if self.settings and self.models:
            self.settings.bundle = name if name in self.models else next(iter(self.models))

    def assign(self, onlyEmpty: bool = True) -> None:
        """Choose a volume for each channel of the model by modality and name; those chosen stay where onlyEmpty."""
        from ..scene.channels import assign

        channels = self.channels()
        if self.settings is None or not channels:
            return
        wanted = [{"name": c.name, "modality": c.modalities, "units": c.units} for c in channels]
        found = assign(wanted, self._workflow.scene)
        for channel in channels:
            chosen = found[channel.name]
            if chosen.node is None or (onlyEmpty and self.volumes()[channel.name] is not None):
                continue
            self.chooseVolume(channel.name, chosen.node)

    def chooseVolume(self, channel: str, node: Any) -> None:
        """Choose the volume of a channel; None for none."""
        if channel == self.channels()[0].name:
            self.settings.inputVolume = node
        else:
            identifier = node.GetID() if node is not None else None
            self.settings.parameterNode.SetNodeReferenceID(CHANNEL_ROLE + channel, identifier)

    def restriction(self) -> dict[str, Any] | None:
        """The slices to classify, as scene.restriction.record tells them; None for all. Raises Refusal."""
        from ..scene import restriction

        settings, node = self.settings, self.restrictionNode()
        if node is None:
            return None
        if node.IsA("vtkMRMLSegmentationNode"):
            first, last = restriction.slicesInSegment(settings.inputVolume, node, settings.segment)
            return restriction.record("segment", segmentNames(node)[settings.segment], first, last)
        first, last = restriction.slicesIn(settings.inputVolume, node)
        return restriction.record("roi", node.GetName(), first, last)

    def restrictionProblem(self) -> str:
        """Why the chosen restriction cannot be asked of the volume; '' where it can, or none is chosen."""
        node = self.restrictionNode()
        if node is None or not node.IsA("vtkMRMLSegmentationNode"):
            return ""
        names = segmentNames(node)
        if not names:
            return _("The segmentation has no segment to restrict to.")
        return "" if self.settings.segment in names else _("Choose a segment: the one that was chosen is gone.")

    def restrictionNode(self) -> Any:
        """The markups ROI or segmentation that was chosen; None for none."""
        return self.settings.parameterNode.GetNodeReference(RESTRICTION_ROLE) if self.settings else None


def _stamps(bundles: Mapping[str, Path]) -> dict[str, Any]:
    """What differs once a manifest has been written anew; None for one that cannot be looked at."""
    stamps: dict[str, Any] = {}
    for name, path in bundles.items():
        try:
            status = (path / "manifest.json").stat()
            stamps[name] = (path, status.st_mtime_ns, status.st_size)
        except OSError:
            stamps[name] = None
    return stamps


def segmentNames(segmentationNode: Any) -> dict[str, str]:
    """Names of the segments by id, in their order."""
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return {identifier: segmentation.GetSegment(identifier).GetName() for identifier in ids}
