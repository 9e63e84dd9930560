"""From a network of the registry to its ONNX form, which runtimes without torch run (docs/bundles.md).

One input `images` float32 [batch, C, H, W]; outputs `logits` [batch, L], `features` [batch, D] (what the last linear
layer gets) and, where evidence can be written as forward products, `class_maps` [batch, L, h, w]. Only the batch is
free. The same weights and libraries give the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import REGISTRY, build
from MedImgClassifierLib.engine.torch_networks import Network, fuse_batch_norms

if TYPE_CHECKING:
    import onnx

OPSET = 18
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
_IN_THE_GRAPH = ("closed_form", "head_gradient")  # evidence that is products of the forward pass


def require_libraries() -> None:
    """Raise Refusal(RESOURCE_MISSING_LIBRARY) where what writes or checks an ONNX form is not installed."""
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            command = "pip install 'medimgclassifier[train]'"
            raise Refusal("RESOURCE_MISSING_LIBRARY", library=library, purpose="the ONNX form", command=command)


def has_class_maps(network: str) -> bool:
    """Whether the ONNX form of a network carries its evidence; where not, evidence needs torch."""
    return REGISTRY[network].evidence in _IN_THE_GRAPH


def to_onnx(
    network: str,
    options: Mapping[str, Any],
    weights: Mapping[str, NDArray[Any]],
    labels: int,
    channels: int,
    rows: int,
    columns: int,
) -> bytes:
    """The float32 ONNX form of a network with its weights: operators of the standard set, everything in one file.

    weights: the network's whole state. rows, columns: of the images. Batch norms are folded into convolutions, as
    the torch runtime does. Raises Refusal(RESOURCE_MISSING_LIBRARY).
    """
    require_libraries()
    module = build(network, labels, channels, **options)
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    maps = has_class_maps(network)
    exported = _Outputs(fuse_batch_norms(module.eval().requires_grad_(False)), maps).eval()
    outputs = ["logits", "features", *(["class_maps"] if maps else [])]
    return _exported(exported, network, outputs, torch.zeros(2, channels, rows, columns))


def features_to_onnx(
    network: str,
    options: Mapping[str, Any],
    weights: Mapping[str, NDArray[Any]],
    labels: int,
    channels: int,
    rows: int,
    columns: int,
) -> bytes:
    """The float32 ONNX form for a head that is no layer of the network: `features` is its only output, for neither the
    last layer's logits nor its class maps say anything of that head's answer. Arguments and refusals as of `to_onnx`.
    """
    require_libraries()
    module = build(network, labels, channels, **options)
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    exported = _Features(fuse_batch_norms(module.eval().requires_grad_(False))).eval()
    return _exported(exported, network, ["features"], torch.zeros(2, channels, rows, columns))


def _exported(module: nn.Module, name: str, outputs: list[str], example: Tensor) -> bytes:
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        verbose=False,
        optimize=True,
        opset_version=OPSET,
        input_names=["images"],
        output_names=outputs,
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
    )
    model = cast("onnx.ModelProto", cast(Any, program).model_proto)
    model.graph.name = name
    return tidy(model)


def own_logits(graph: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, L] the graph's output `logits`, which other programs read; ours make them of the features (heads.py)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"images": images})[0])


class _Outputs(nn.Module):
    """The network with the outputs of its ONNX form."""

    def __init__(self, network: Network, maps: bool) -> None:
        super().__init__()
        self.network, self.maps = network, maps

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features, class_maps = self.network.encode(images, self.maps)
        logits = self.network.head(features)
        return (logits, features) if class_maps is None else (logits, features, class_maps)


class _Features(nn.Module):
    """The network up to its last layer."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.encode(images, False)[0]


def tidy(model: onnx.ModelProto) -> bytes:
    """The file of a graph without what no runtime needs: notes (the exporter writes source lines with the paths of this
    computer into them), names of nodes, shapes in between, constants that stand twice, long names of tensors."""
    graph = model.graph
    _strip(model)
    graph.ClearField("value_info")
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    constants: dict[bytes, str] = {}
    for constant in list(graph.initializer):
        name = constant.name
        constant.ClearField("name")
        content = hashlib.sha256(constant.SerializeToString(deterministic=True)).digest()
        if content in constants:
            graph.initializer.remove(constant)
        constant.name = names[name] = constants.setdefault(content, f"c{len(constants)}")
    for node in graph.node:
        node.ClearField("name")
        for name in node.output:
            names.setdefault(name, f"t{len(names)}")
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]
    return bytes(model.SerializeToString(deterministic=True))


def _strip(message: Any) -> None:
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in value if hasattr(value, "__len__") else (value,):
                _strip(part)
