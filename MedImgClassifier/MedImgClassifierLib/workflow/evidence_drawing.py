"""The overlay in the slice views as the settings want it: class, opacity, threshold, colors, legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..engine.result import Classification


class EvidenceDrawing:
    """Draws what has changed since it was drawn last. settings: of workflow.Workflow, None where there are none."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._drawn: Any = None

    def leaveViewsAlone(self, settings: Any, table: Any) -> None:
        """Take what the settings say for shown already: entering a face changes nobody's views."""
        self._drawn = _choices(settings, table)

    def drawAnew(self) -> None:
        """The next `draw` lays the overlay over the views again: there is a new answer."""
        self._drawn = None

    def draw(self, settings: Any, table: Any, classification: Classification | None) -> None:
        """Make the overlay what the settings say, where they have changed since it was drawn."""
        from ..scene import colors, evidence_choice, legend, overlay, result_nodes

        self._hideOthers(table)
        choices = _choices(settings, table)
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
        if settings.colorMap in colors.COLOR_MAPS:
            overlay.setColorMap(evidence, settings.colorMap)
        if isNew:  # views to which the reader has given another foreground since keep that
            volume = result_nodes.resultOf(table).volume
            overlay.showOverlay(self._scene, volume, evidence, settings.overlayOpacity, settings.overlayThreshold)
        overlay.setOpacity(self._scene, evidence, settings.overlayOpacity)
        overlay.setThreshold(evidence, settings.overlayThreshold)
        if settings.legendVisible:
            legend.showLegend(evidence)
        else:
            legend.hideLegend(evidence)

    def _hideOthers(self, table: Any) -> None:
        """Evidence of a result that is not shown, or is no more, says nothing about what the face says."""
        from ..scene import nodes, overlay, result_nodes

        own = result_nodes.resultOf(table).evidence if table is not None else None
        for node in nodes.nodesOfClass(self._scene, "vtkMRMLScalarVolumeNode"):
            if overlay.isEvidence(node) and node is not own and overlay.viewsShowing(self._scene, node):
                overlay.hideOverlay(self._scene, node)


def _choices(settings: Any, table: Any) -> Any:
    """What decides how the overlay looks; in front what decides whether it is seen."""
    if settings is None or table is None:
        return None
    shown = (table.GetID(), settings.overlayVisible, settings.evidenceLabel)
    return (
        *shown,
        settings.overlayOpacity,
        settings.overlayThreshold,
        settings.colorMap,
        settings.legendVisible,
    )
