"""Where in the image the answer comes from: class, opacity, threshold and colors of the overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .widgets import offer, showButton, showLine

if TYPE_CHECKING:
    from ..presenter import Shown, View


class EvidenceControls:
    """panel: Panel, whose parameter node has the choices; the overlay in the scene follows them."""

    def __init__(self, ui: Any, panel: Any) -> None:
        from ..scene import colors

        self._ui, self._panel = ui, panel
        self._colorMaps = {name: colors.colorMapTitle(name) for name in colors.COLOR_MAPS}
        offer(ui.colorMapSelector, list(self._colorMaps.values()), "")
        ui.evidenceClassSelector.connect("currentIndexChanged(int)", self._onClass)
        ui.colorMapSelector.connect("currentIndexChanged(int)", self._onColorMap)
        ui.segmentationButton.connect("clicked(bool)", lambda: panel.makeSegmentation())

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

    def _onClass(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.evidenceLabel = self._ui.evidenceClassSelector.itemText(index)

    def _onColorMap(self, index: int) -> None:
        if self._panel.settings and index >= 0:
            self._panel.settings.colorMap = list(self._colorMaps)[index]
