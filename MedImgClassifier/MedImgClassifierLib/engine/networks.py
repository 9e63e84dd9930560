"""The closed registry of networks a bundle may name, readable without torch.

A bundle holds a name and options, never an import path. Each entry states how its class evidence is made and where
the cells of its class maps look in the input, so that evidence lands where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .errors import Refusal

if TYPE_CHECKING:
    from .torch_networks import Network

EvidenceMethod = Literal["closed_form", "head_gradient", "last_block", "none"]


class Cells(NamedTuple):
    """Where the cells of maps lie in the input image: cell (r, c) is centred on pixel `first_centre + stride * (r, c)`,
    counted from the centre of pixel (0, 0). Both are (rows, columns)."""

    first_centre: tuple[float, float]
    stride: tuple[float, float]


@dataclass(frozen=True)
class NetworkInfo:
    """evidence: 'closed_form' (global average pool + one linear layer: exact), 'head_gradient' (Grad-CAM through a
    fully connected head, as forward products), 'last_block' (Grad-CAM through the last transformer block, by
    autograd, so that it needs torch) or 'none' (what knows of no places). stride and first_centre: of its cells along
    both axes, in input pixels; a centre is that of the receptive field, in a transformer of the patch. head: name of
    the last linear layer in the weights. torchvision: its builder there, '' for our own. options: names a bundle may
    set."""

    evidence: EvidenceMethod
    stride: int
    first_centre: float
    head: str
    torchvision: str = ""
    options: frozenset[str] = frozenset()

    @property
    def cells(self) -> Cells:
        return Cells((self.first_centre, self.first_centre), (self.stride, self.stride))


# torchvision's ResNets step with odd kernels and symmetric padding, so that cell 0 is centred on pixel 0;
# VGG's 2x2 pools centre cells between pixels; AlexNet's unpadded 3x3 pools shift them inwards.
REGISTRY: Mapping[str, NetworkInfo] = {
    "alexnet": NetworkInfo("head_gradient", 32, 31.0, "net.classifier.6", "alexnet"),
    "vgg11_bn": NetworkInfo("head_gradient", 32, 15.5, "net.classifier.6", "vgg11_bn"),
    "vgg16_bn": NetworkInfo("head_gradient", 32, 15.5, "net.classifier.6", "vgg16_bn"),
    "resnet18": NetworkInfo("closed_form", 32, 0.0, "net.fc", "resnet18"),
    "resnet34": NetworkInfo("closed_form", 32, 0.0, "net.fc", "resnet34"),
    "resnet50": NetworkInfo("closed_form", 32, 0.0, "net.fc", "resnet50"),
    "vit_b_16": NetworkInfo("last_block", 16, 7.5, "net.heads.head", "vit_b_16", frozenset({"image_size"})),
    "narrow_resnet": NetworkInfo("closed_form", 8, 3.5, "head", options=frozenset({"widths", "blocks"})),
}

# All that a bundle may name: these networks, and what makes features without one (first_order.py).
ENCODERS: Mapping[str, NetworkInfo] = {**REGISTRY, "first_order": NetworkInfo("none", 1, 0.0, "head")}


def build(name: str, labels: int, channels: int = 1, **options: Any) -> Network:
    """A network with random weights. labels: outputs; channels: of the input images.

    Raises KeyError for a name and TypeError for an option outside the registry, ValueError for a value that an option
    cannot have, and Refusal(RESOURCE_MISSING_LIBRARY) where torch is not installed.
    """
    info = REGISTRY[name]
    unknown = set(options) - info.options
    if unknown:
        raise TypeError(f"network '{name}' has no option {sorted(unknown)}")
    try:
        from . import torch_networks
    except ModuleNotFoundError as missing:
        raise Refusal(
            "RESOURCE_MISSING_LIBRARY",
            library=missing.name,
            purpose="this network",
            command="pip install 'medimgclassifier[torch]'",
        ) from None
    return torch_networks.build(info.torchvision, info.evidence, labels, channels, options)
