"""Upper part of the panel: model and its card, an input volume for each of its channels, restriction, runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from ..presenter import Input
from ..translation import _
from .widgets import noSignals, offer

if TYPE_CHECKING:
    from ..engine.card import Card, Channel

CHANNEL_ROLE = "input."
"""Prefix of the references of the parameter node to the volumes of further channels."""

RESTRICTION_ROLE = "restriction"
"""Its reference to the markups ROI or the segmentation that says which slices are classified."""

DEVICES = ("auto", "cpu", "cuda", "mps", "directml", "coreml")
RUNTIMES = ("auto", "onnxruntime", "openvino", "torch", "torch-compile")


class Inputs:
    """panel: Panel, which is told of changes by its `refresh`."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui, self._panel = ui, panel
        self._cards: dict[str, Card] = {}
        self._further: dict[str, Any] = {}  # selectors by channel
        self._channelsOf = ""
        self._segments: dict[str, str] = {}  # those that are offered, names by id
        offer(ui.runtimeSelector, [_("automatic"), *RUNTIMES[1:]], _("automatic"))
        offer(ui.deviceSelector, [_("automatic"), *DEVICES[1:]], _("automatic"))
        ui.bundleSelector.connect("currentIndexChanged(int)", self._onModel)
        ui.restrictionSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onRestriction)
        ui.segmentSelector.connect("currentIndexChanged(int)", self._onSegment)
        ui.runtimeSelector.connect("currentIndexChanged(int)", self._onRuntime)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._onDevice)
        self.reload()

    def reload(self) -> None:
        """Read what models there are again."""
        from ..engine.card import read_card

        found = self._panel.logic.bundles()
        self._stamps = _stamps(found)
        self._cards = {name: read_card(path, self._panel.language) for name, path in found.items()}
        self._channelsOf = ""

    def reloadChanged(self) -> None:
        """The same where a model has been added, replaced or removed on disk."""
        if _stamps(self._panel.logic.bundles()) != self._stamps:
            self.reload()

    @property
    def models(self) -> dict[str, Card]:
        return self._cards

    def card(self) -> Card | None:
        """Of the chosen model."""
        settings = self._panel.settings
        return self._cards.get(settings.bundle) if settings else None

    def channels(self) -> tuple[Channel, ...]:
        card = self.card()
        return card.channels if card else ()

    def volumes(self) -> dict[str, Any]:
        """Volume nodes by channel of the chosen model, in its order; None where none is chosen."""
        settings, channels = self._panel.settings, self.channels()
        if settings is None or not channels:
            return {}
        volumes = {channels[0].name: settings.inputVolume}
        for channel in channels[1:]:
            volumes[channel.name] = settings.parameterNode.GetNodeReference(CHANNEL_ROLE + channel.name)
        return volumes

    def situation(self) -> tuple[Input, ...]:
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

    def assign(self, onlyEmpty: bool = True) -> None:
        """Choose a volume for each channel of the model by modality and name; those chosen stay where onlyEmpty."""
        from ..scene.channels import assign

        settings, channels = self._panel.settings, self.channels()
        if settings is None or not channels:
            return
        wanted = [{"name": c.name, "modality": c.modalities, "units": c.units} for c in channels]
        found = assign(wanted, slicer.mrmlScene)
        for n, channel in enumerate(channels):
            chosen = found[channel.name]
            if chosen.node is None or (onlyEmpty and self.volumes()[channel.name] is not None):
                continue
            self._choose(n, channel.name, chosen.node)

    def _choose(self, n: int, channel: str, node: Any) -> None:
        if n == 0:
            self._panel.settings.inputVolume = node
        else:
            identifier = node.GetID() if node is not None else None
            self._panel.settings.parameterNode.SetNodeReferenceID(CHANNEL_ROLE + channel, identifier)

    def show(self, locked: bool) -> None:
        """Put model, card, channels and restriction on the widgets."""
        settings, ui = self._panel.settings, self._ui
        name = settings.bundle if settings else ""
        offer(ui.bundleSelector, list(self._cards), name)
        card = self._cards.get(name)
        ui.inputsCollapsibleButton.enabled = not locked
        ui.intendedUseLabel.text = _intendedUse(card) if card else ""
        ui.aboutCollapsibleButton.visible = card is not None
        if name != self._channelsOf:
            self._channelsOf = name
            ui.cardBrowser.setHtml(_asHtml(card) if card else "")
            self._makeChannels()
        for channel, selector in self._further.items():
            with noSignals(selector):
                selector.setCurrentNode(self.volumes().get(channel))
        self._showRestriction()
        if settings:
            with noSignals(ui.runtimeSelector, ui.deviceSelector):
                ui.runtimeSelector.currentIndex = (
                    RUNTIMES.index(settings.runtime) if settings.runtime in RUNTIMES else 0
                )
                ui.deviceSelector.currentIndex = DEVICES.index(settings.device) if settings.device in DEVICES else 0

    def _makeChannels(self) -> None:
        """A selector for each channel beyond the first, whose selector is always there."""
        layout = self._ui.channelsLayout
        while layout.rowCount() > 0:
            layout.removeRow(0)
        self._further = {}
        channels = self.channels()
        several = len(channels) > 1
        self._ui.inputSelectorLabel.text = channels[0].name + ":" if several else _("Input volume:")
        self._ui.inputSelector.toolTip = channels[0].words if channels else ""
        for channel in channels[1:]:
            selector = slicer.qMRMLNodeComboBox()
            selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
            selector.showChildNodeTypes = False
            selector.noneEnabled = True
            selector.addEnabled = False
            selector.removeEnabled = False
            selector.setMRMLScene(slicer.mrmlScene)
            selector.toolTip = channel.words
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._chooser(channel.name))
            layout.addRow(channel.name + ":", selector)
            self._further[channel.name] = selector
        self._ui.channelsWidget.visible = several

    def _chooser(self, channel: str) -> Any:
        def chosen(node: Any) -> None:
            if self._panel.settings:
                self._choose(1, channel, node)
                self._panel.refresh()

        return chosen

    def _showRestriction(self) -> None:
        settings, ui, node = self._panel.settings, self._ui, self._restrictionNode()
        with noSignals(ui.restrictionSelector):
            ui.restrictionSelector.setCurrentNode(node)
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        ui.segmentSelector.visible = isSegmentation
        self._segments = segmentNames(node) if isSegmentation else {}
        if isSegmentation:
            if not settings.segment and self._segments:
                settings.segment = next(iter(self._segments))
            offer(ui.segmentSelector, list(self._segments.values()), self._segments.get(settings.segment, ""))

    def restriction(self) -> dict[str, Any] | None:
        """The slices to classify, as scene.restriction.record tells them; None for all. Raises Refusal."""
        from ..scene import restriction

        settings, node = self._panel.settings, self._restrictionNode()
        if node is None:
            return None
        if node.IsA("vtkMRMLSegmentationNode"):
            first, last = restriction.slicesInSegment(settings.inputVolume, node, settings.segment)
            return restriction.record("segment", segmentNames(node)[settings.segment], first, last)
        first, last = restriction.slicesIn(settings.inputVolume, node)
        return restriction.record("roi", node.GetName(), first, last)

    def restrictionProblem(self) -> str:
        """Why the chosen restriction cannot be asked of the volume; '' where it can, or none is chosen."""
        node = self._restrictionNode()
        if node is None or not node.IsA("vtkMRMLSegmentationNode"):
            return ""
        names = segmentNames(node)
        if not names:
            return _("The segmentation has no segment to restrict to.")
        return "" if self._panel.settings.segment in names else _("Choose a segment: the one that was chosen is gone.")

    def _restrictionNode(self) -> Any:
        settings = self._panel.settings
        return settings.parameterNode.GetNodeReference(RESTRICTION_ROLE) if settings else None

    def _onRestriction(self, node: Any) -> None:
        if self._panel.settings:
            identifier = node.GetID() if node is not None else None
            if node is not self._restrictionNode():
                self._panel.settings.segment = ""
            self._panel.settings.parameterNode.SetNodeReferenceID(RESTRICTION_ROLE, identifier)

    def _onModel(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.bundle = self._ui.bundleSelector.itemText(index)
            self.assign()
            self._panel.refresh()

    def _onSegment(self, index: int) -> None:
        if self._panel.settings and 0 <= index < len(self._segments):
            self._panel.settings.segment = list(self._segments)[index]

    def _onRuntime(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.runtime = RUNTIMES[index]

    def _onDevice(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.device = DEVICES[index]


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


def _intendedUse(card: Card) -> str:
    if not card.usable:
        return card.problem
    return _("Intended use: {use}").format(use=card.intended_use)


def _asHtml(card: Card) -> str:
    """The card for a text browser; everything in it comes from a bundle and is escaped."""
    from html import escape

    parts = [f"<h3>{escape(card.title)} {escape(card.version)}</h3>"]
    for heading, lines in card.sections():
        parts.append(f"<p><b>{escape(heading)}</b><br>" + "<br>".join(escape(line) for line in lines) + "</p>")
    return "".join(parts)
