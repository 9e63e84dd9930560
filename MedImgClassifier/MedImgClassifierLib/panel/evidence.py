"""Where in the image the answer comes from: class, opacity, threshold and colors of the overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from .widgets import offer, showButton, showLine

if TYPE_CHECKING:
    from ..engine.result import Classification
    from ..presenter import Shown, View


class EvidenceControls:
    """panel: Panel, whose parameter node has the choices; the overlay in the scene follows them."""

    def __init__(self, ui: Any, panel: Any) -> None:
        from ..scene import colors

        self._ui, self._panel = ui, panel
        self._colorMaps = {name: colors.colorMapTitle(name) for name in colors.COLOR_MAPS}
        self._drawn: Any = None
        offer(ui.colorMapSelector, list(self._colorMaps.values()), "")
        ui.evidenceClassSelector.connect("currentIndexChanged(int)", self._onClass)
        ui.colorMapSelector.connect("currentIndexChanged(int)", self._onColorMap)
        ui.segmentationButton.connect("clicked(bool)", lambda: panel.makeSegmentation())

    def leaveViewsAlone(self) -> None:
        """Take what the settings say for shown already: entering the panel changes nobody's views."""
        self._drawn = self._choices()

    def show(self, view: View, shown: Shown | None) -> None:
        ui, settings = self._ui, self._panel.settings
        ui.evidenceCollapsibleButton.enabled = view.evidence.enabled
        offer(ui.evidenceClassSelector, shown.evidence_labels if shown else (), shown.evidence_label if shown else "")
        offer(
            ui.colorMapSelector,
            list(self._colorMaps.values()),
            self._colorMaps.get(settings.colorMap, "") if settings else "",
        )
        showLine(ui.evidenceNoteLabel, view.evidence_note)
        showButton(ui.segmentationButton, view.segmentation)

    def draw(self, table: Any, classification: Classification | None) -> None:
        """Make the overlay what the settings say, where they have changed since it was drawn."""
        from ..scene import evidence_choice, legend, overlay, result_nodes

        self._hideOthers(table)
        choices, settings = self._choices(), self._panel.settings
        if choices is None:
            self._drawn = None
            return
        if classification is None:  # without its record nobody can tell what it is
            evidence_choice.hideEvidence(table)
            self._drawn = None
            return
        if choices == self._drawn:
            return
        if settings.evidenceLabel not in evidence_choice.offeredLabels(table, classification):
            return
        isNew = self._drawn is None or choices[:2] != self._drawn[:2]
        self._drawn = choices
        if not settings.overlayVisible:
            evidence_choice.hideEvidence(table)
            return
        evidence = evidence_choice.chooseEvidence(table, classification, settings.evidenceLabel)
        if settings.colorMap in self._colorMaps:
            overlay.setColorMap(evidence, settings.colorMap)
        if isNew:  # views to which the reader has given another foreground since keep that
            volume = result_nodes.resultOf(table).volume
            overlay.showOverlay(table.GetScene(), volume, evidence, settings.overlayOpacity, settings.overlayThreshold)
        overlay.setOpacity(table.GetScene(), evidence, settings.overlayOpacity)
        overlay.setThreshold(evidence, settings.overlayThreshold)
        if settings.legendVisible:
            legend.showLegend(evidence)
        else:
            legend.hideLegend(evidence)

    def _hideOthers(self, table: Any) -> None:
        """Evidence of a result that is not shown, or is no more, says nothing about what the panel says."""
        from ..scene import nodes, overlay, result_nodes

        own = result_nodes.resultOf(table).evidence if table is not None else None
        for node in nodes.nodesOfClass(slicer.mrmlScene, "vtkMRMLScalarVolumeNode"):
            if overlay.isEvidence(node) and node is not own and overlay.viewsShowing(slicer.mrmlScene, node):
                overlay.hideOverlay(slicer.mrmlScene, node)

    def drawAnew(self) -> None:
        """The next `draw` lays the overlay over the views again: there is a new answer."""
        self._drawn = None

    def _choices(self) -> Any:
        """What decides how the overlay looks; in front what decides whether it is seen."""
        p, table = self._panel.settings, self._panel.table()
        if table is None:
            return None
        shown = (table.GetID(), p.overlayVisible, p.evidenceLabel)
        return (*shown, p.overlayOpacity, p.overlayThreshold, p.colorMap, p.legendVisible)

    def _onClass(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.evidenceLabel = self._ui.evidenceClassSelector.itemText(index)

    def _onColorMap(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.colorMap = list(self._colorMaps)[index]
