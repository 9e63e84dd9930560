"""Upper part of the panel: model and its card, an input volume for each of its channels, restriction, runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from ..translation import _
from ..workflow.input_choice import RESTRICTION_ROLE, InputChoice, segmentNames
from .widgets import noSignals, offer

if TYPE_CHECKING:
    from ..engine.card import Card

DEVICES = ("auto", "cpu", "cuda", "mps", "directml", "coreml")
RUNTIMES = ("auto", "onnxruntime", "openvino", "torch", "torch-compile")


class Inputs(InputChoice):
    """The choice, on widgets. panel: Panel, which is told of changes by its `refresh`."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui, self._panel = ui, panel
        self._further: dict[str, Any] = {}  # selectors by channel
        self._channelsOf = ""
        self._segments: dict[str, str] = {}  # those that are offered, names by id
        super().__init__(panel)
        offer(ui.runtimeSelector, [_("automatic"), *RUNTIMES[1:]], _("automatic"))
        offer(ui.deviceSelector, [_("automatic"), *DEVICES[1:]], _("automatic"))
        ui.bundleSelector.connect("currentIndexChanged(int)", self._onModel)
        ui.restrictionSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onRestriction)
        ui.segmentSelector.connect("currentIndexChanged(int)", self._onSegment)
        ui.runtimeSelector.connect("currentIndexChanged(int)", self._onRuntime)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._onDevice)

    def reload(self) -> None:
        super().reload()
        self._channelsOf = ""

    def show(self, locked: bool) -> None:
        """Put model, card, channels and restriction on the widgets."""
        settings, ui = self.settings, self._ui
        name = settings.bundle if settings else ""
        offer(ui.bundleSelector, list(self.models), name)
        card = self.models.get(name)
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
            if self.settings:
                self.chooseVolume(channel, node)
                self._panel.refresh()

        return chosen

    def _showRestriction(self) -> None:
        settings, ui, node = self.settings, self._ui, self.restrictionNode()
        with noSignals(ui.restrictionSelector):
            ui.restrictionSelector.setCurrentNode(node)
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        ui.segmentSelector.visible = isSegmentation
        self._segments = segmentNames(node) if isSegmentation else {}
        if isSegmentation:
            if not settings.segment and self._segments:
                settings.segment = next(iter(self._segments))
            offer(ui.segmentSelector, list(self._segments.values()), self._segments.get(settings.segment, ""))

    def _onRestriction(self, node: Any) -> None:
        if self.settings:
            identifier = node.GetID() if node is not None else None
            if node is not self.restrictionNode():
                self.settings.segment = ""
            self.settings.parameterNode.SetNodeReferenceID(RESTRICTION_ROLE, identifier)

    def _onModel(self, index: int) -> None:
        if self.settings and index >= 0:
            self.settings.bundle = self._ui.bundleSelector.itemText(index)
            self.assign()
            self._panel.refresh()

    def _onSegment(self, index: int) -> None:
        if self.settings and 0 <= index < len(self._segments):
            self.settings.segment = list(self._segments)[index]

    def _onRuntime(self, index: int) -> None:
        if self.settings and index >= 0:
            self.settings.runtime = RUNTIMES[index]

    def _onDevice(self, index: int) -> None:
        if self.settings and index >= 0:
            self.settings.device = DEVICES[index]


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
