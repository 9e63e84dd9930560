"""The colour legend of evidence: what its colours mean, beside the slices that it covers."""

from __future__ import annotations

from typing import Any

import slicer

from ..translation import _
from . import nodes


def showLegend(evidenceNode: Any) -> bool:
    """Show a legend wherever the evidence is shown; False where this application has no colour legends.

    Made once; the same as a reader gets from the module Colors, who can move and restyle it there.
    """
    logic = _colorLogic(evidenceNode.GetScene())
    if logic is None:
        return False
    legend = logic.AddDefaultColorLegendDisplayNode(evidenceNode)
    if legend is None:
        return False
    # Cells count to 255, and a legend can only show what is counted.
    legend.SetLabelFormat("%.0f/255")
    legend.SetNumberOfLabels(5)
    legend.SetVisibility(True)
    retitleLegend(evidenceNode)
    return True


def _colorLogic(scene: Any) -> Any:
    """That of the module Colors; its class alone where there are no modules (slicer-core) but its nodes are known;
    None where there is neither."""
    colors = getattr(getattr(slicer, "modules", None), "colors", None)
    if colors is not None:
        return colors.logic()
    known = scene.IsNodeClassRegistered("vtkMRMLColorLegendDisplayNode")
    return getattr(slicer, "vtkSlicerColorLogic", None) if known else None


def hideLegend(evidenceNode: Any) -> None:
    """Remove the legend of evidence; nothing happens where there is none."""
    legend = legendOf(evidenceNode)
    if legend is not None:
        evidenceNode.GetScene().RemoveNode(legend)


def retitleLegend(evidenceNode: Any) -> None:
    """Let the legend, where there is one, name the class and the method of the evidence as it is now."""
    legend = legendOf(evidenceNode)
    if legend is not None:
        label, method = (evidenceNode.GetAttribute(name) for name in (nodes.LABEL, nodes.EVIDENCE_METHOD))
        title = _("{label} ({method})")
        nothing = _("nothing speaks for it")
        legend.SetTitleText(title.format(label=label, method=nothing if method == nodes.NO_EVIDENCE else method))


def legendOf(evidenceNode: Any) -> Any:
    """The legend's display node of evidence, or None."""
    displays = (evidenceNode.GetNthDisplayNode(n) for n in range(evidenceNode.GetNumberOfDisplayNodes()))
    return next((node for node in displays if node is not None and node.IsA("vtkMRMLColorLegendDisplayNode")), None)
