"""What is chosen in the viewer, kept in the scene as the module's panel reads it when Slicer opens that scene."""

from __future__ import annotations

from typing import Any

import slicer

MODULE = "MedImgClassifier"


class SceneSettings:
    """The attributes of MedImgClassifierParameterNode (MedImgClassifier.py), as its wrapper writes them in a scene:
    numbers, truth values and texts as parameters, nodes as references. parameterNode: the node that holds them."""

    _NODES = ("inputVolume", "resultTable")
    _DEFAULTS = {  # noqa: RUF012 - never changed
        "bundle": "",
        "segment": "",
        "runtime": "auto",
        "device": "auto",
        "evidenceLabel": "",
        "overlayVisible": True,
        "overlayOpacity": 0.5,
        "overlayThreshold": 0.25,
        "colorMap": "inferno",
        "legendVisible": False,
    }

    parameterNode: Any  # noqa: N815 - as Slicer's wrapper calls it

    def __init__(self, scene: Any) -> None:
        self.__dict__["parameterNode"] = _parameter_node(scene)

    def __getattr__(self, name: str) -> Any:
        if name in self._NODES:
            return self.parameterNode.GetNodeReference(name)
        default = self._DEFAULTS.get(name)
        if default is None:
            raise AttributeError(name)
        if not self.parameterNode.HasParameter(name):
            return default
        text = self.parameterNode.GetParameter(name)
        if isinstance(default, bool):
            return text == "True"
        return float(text) if isinstance(default, float) else text

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._NODES:
            self.parameterNode.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        elif name in self._DEFAULTS:
            self.parameterNode.SetParameter(name, str(value))
        else:
            raise AttributeError(name)


def _parameter_node(scene: Any) -> Any:
    """The module's singleton, found or made."""
    node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
    if node is None:
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(MODULE)
        node.SetName(MODULE)
        node.SetModuleName(MODULE)
        node.SetAttribute("ModuleName", MODULE)  # by which Slicer finds it
        node = scene.AddNode(node)
    return node
