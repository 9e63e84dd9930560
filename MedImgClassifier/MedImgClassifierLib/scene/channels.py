"""Which volumes of a scene a bundle's channels want: proposed by modality, units and name, for a reader to check."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..translation import _
from . import nodes
from .overlay import isEvidence
from .volumes import modalityOf, unitsOf

# What series are called, as words of a name. A word of one kind speaks against all others.
_KINDS = {
    "T1": ("t1", "t1w", "t1n", "mprage", "spgr"),
    "T1c": ("t1c", "t1ce", "t1gd", "t1post", "t1km"),
    "T2": ("t2", "t2w"),
    "FLAIR": ("flair", "t2flair", "t2f", "tirm"),
    "PD": ("pd", "pdw"),
    "ADC": ("adc",),
    "DWI": ("dwi", "dwib", "trace"),
    "SWI": ("swi", "swan"),
    "CT": ("ct", "cct", "cta"),
    "PET": ("pet", "pt", "suv"),
}
_CONTRAST = {"gd", "post", "postcontrast", "contrast", "ce", "km", "c"}
_RULES = (  # where all of the first are said, the second are not meant
    ({"FLAIR"}, {"T1", "T2"}),
    ({"ADC"}, {"DWI"}),
    ({"T1c"}, {"T1"}),
)
_WORDS = {word: kind for kind, words in _KINDS.items() for word in words}
_MODALITIES = {"CT": "CT", "PET": "PT"}


class Proposal(NamedTuple):
    """The volume node for a channel (None: the reader chooses), and why, in words for a tooltip."""

    node: Any
    why: str


class _Match(NamedTuple):
    rank: tuple[int, ...]  # the larger, the better
    why: str


def assign(channels: Sequence[Mapping[str, Any]], scene: Any) -> dict[str, Proposal]:
    """A volume of the scene for each channel {name, modality [..], units [..]} of a bundle, none twice.

    A volume of another modality or other units is never proposed, and where several channels are to be told apart,
    only one that its name or its modality tells from the rest: a guess would classify the wrong image. A bundle of
    one channel gets the volume that is shown in the views, or else the first that fits. The same scene gives the same.
    """
    volumes = [node for node in nodes.nodesOfClass(scene, "vtkMRMLScalarVolumeNode") if _isImage(node)]
    shown = {view.GetBackgroundVolumeID() for view in nodes.nodesOfClass(scene, "vtkMRMLSliceCompositeNode")}
    pairs = []
    for c, channel in enumerate(channels):
        for v, node in enumerate(volumes):
            match = _match(channel, channels, node, node.GetID() in shown)
            if match is not None:
                pairs.append((match.rank, -c, -v, match.why))
    taken: dict[int, tuple[int, str]] = {}  # volume and why, by channel
    for _rank, c, v, why in sorted(pairs, reverse=True):
        if -c not in taken and -v not in (volume for volume, _why in taken.values()):
            taken[-c] = (-v, why)
    proposals = {}
    for c, channel in enumerate(channels):
        volume, why = taken.get(c, (None, _whyNone(channel)))
        proposals[channel["name"]] = Proposal(None if volume is None else volumes[volume], why)
    return proposals


def _isImage(node: Any) -> bool:
    """Whether a node can be chosen in the panel, whose selector leaves out labels, colour and tensors."""
    image = node.GetImageData()
    isScalar = node.GetClassName() == "vtkMRMLScalarVolumeNode"
    return isScalar and image is not None and image.GetNumberOfScalarComponents() == 1 and not isEvidence(node)


def _match(
    channel: Mapping[str, Any], channels: Sequence[Mapping[str, Any]], node: Any, isShown: bool
) -> _Match | None:
    """How well a volume fits a channel; None where it must not be proposed."""
    modality = modalityOf(node)
    if not _unitsFit(channel, node) or (modality and channel["modality"] and modality not in channel["modality"]):
        return None
    named, spoken = _kinds(channel["name"]), _kinds(node.GetName() or "")
    byName = bool(named) and named <= spoken
    expected = {_MODALITIES[kind] for kind in named if kind in _MODALITIES}
    if (named and spoken and not byName) or (expected and modality and modality not in expected):
        return None
    others = [other for other in channels if other is not channel]
    isKnown = bool(modality and channel["modality"])
    onlyThis = isKnown and all(other["modality"] and modality not in other["modality"] for other in others)
    if others and not (byName or onlyThis):
        return None
    extra = len(spoken - named) if byName else 0
    rank = (int(isShown and not others), int(byName), -extra, int(isKnown))
    return _Match(rank, _why(byName, modality if isKnown else "", isShown))


def _unitsFit(channel: Mapping[str, Any], node: Any) -> bool:
    """Whether voxels are of units that a channel takes; unknown ('arbitrary') ones may be any but colour."""
    units = unitsOf(node)
    return units in channel["units"] or (units == "arbitrary" and set(channel["units"]) != {"RGB"})


def _kinds(name: str) -> set[str]:
    """What a name says of the kind of image: {'FLAIR'} of 'AX T2_FLAIR'; b-values as 'b1000'."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    found = {_WORDS[word] for word in words if word in _WORDS}
    if "T1" in found and _CONTRAST & set(words):
        found.add("T1c")
    for said, notMeant in _RULES:
        if said <= found:
            found -= notMeant
    return found | {word for word in words if re.fullmatch(r"b\d{1,5}", word)}


def _why(byName: bool, modality: str, isShown: bool) -> str:
    reasons = []
    if byName:
        reasons.append(_("its name"))
    if modality:
        reasons.append(_("its modality ({modality})").format(modality=modality))
    if isShown:
        reasons.append(_("it is shown in the views"))
    return _("Chosen for {reasons}.").format(reasons=", ".join(reasons)) if reasons else _("The first that fits.")


def _whyNone(channel: Mapping[str, Any]) -> str:
    text = _("No volume is named like '{name}' or told from the others by its modality ({modalities}): choose one.")
    return text.format(name=channel["name"], modalities=", ".join(channel["modality"]) or _("any"))
