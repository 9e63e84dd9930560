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
    """evidence: 'closed_form' (global average pool + one linear layer: exact), 'head_gradient' (Grad-CAM through what
    else the head has, as forward products), 'last_block' (Grad-CAM through the last transformer block, by autograd,
    so that it needs torch) or 'none' (what knows of no places). stride and first_centre: of its cells along both axes,
    in input pixels; a centre is that of the receptive field, in a transformer of the patch. head: name of the last
    linear layer in the weights. torchvision: its builder there, '' for our own. options: names a bundle may set."""

    evidence: EvidenceMethod
    stride: int
    first_centre: float
    head: str
    torchvision: str = ""
    options: frozenset[str] = frozenset()

    def cells(self, options: Mapping[str, Any]) -> Cells:
        """Of the network with these options. The stem that halves the image twice centres cells on pixels, as what
        follows it does, so that without it only the stride changes."""
        stride = self.stride // 4 if options.get("stem") == "small" else self.stride
        return Cells((self.first_centre, self.first_centre), (stride, stride))


CHOICES: Mapping[str, tuple[str, ...]] = {"stem": ("imagenet", "small"), "norm": ("batch", "group")}
"""Options that are one of a few words, the first where none is given. stem: of a ResNet, 'small' for images of about 32
pixels. norm: 'group' puts group norms in the place of batch norms."""

_NORM, _STEM_AND_NORM = frozenset({"norm"}), frozenset({"stem", "norm"})

# The ResNets and EfficientNets of torchvision step with odd kernels and symmetric padding, so that cell 0 is centred on
# pixel 0; VGG's 2x2 pools and ConvNeXt's 4x4 and 2x2 steps centre cells between pixels; AlexNet's unpadded 3x3 pools
# shift them inwards.
REGISTRY: Mapping[str, NetworkInfo] = {
    "alexnet": NetworkInfo("head_gradient", 32, 31.0, "net.classifier.6", "alexnet"),
    "vgg11_bn": NetworkInfo("head_gradient", 32, 15.5, "net.classifier.6", "vgg11_bn", _NORM),
    "vgg16_bn": NetworkInfo("head_gradient", 32, 15.5, "net.classifier.6", "vgg16_bn", _NORM),
    "resnet18": NetworkInfo("closed_form", 32, 0.0, "net.fc", "resnet18", _STEM_AND_NORM),
    "resnet34": NetworkInfo("closed_form", 32, 0.0, "net.fc", "resnet34", _STEM_AND_NORM),
    "resnet50": NetworkInfo("closed_form", 32, 0.0, "net.fc", "resnet50", _STEM_AND_NORM),
    "efficientnet_b0": NetworkInfo("closed_form", 32, 0.0, "net.classifier.1", "efficientnet_b0", _NORM),
    "convnext_tiny": NetworkInfo("head_gradient", 32, 15.5, "net.classifier.2", "convnext_tiny"),
    "vit_b_16": NetworkInfo("last_block", 16, 7.5, "net.heads.head", "vit_b_16", frozenset({"image_size"})),
    "narrow_resnet": NetworkInfo("closed_form", 8, 3.5, "head", options=_NORM | {"widths", "blocks"}),
}

# All that a bundle may name: these networks, and what makes features without one (first_order.py).
ENCODERS: Mapping[str, NetworkInfo] = {**REGISTRY, "first_order": NetworkInfo("none", 1, 0.0, "head")}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises TypeError for an option that the network has not, ValueError for a value that is not one of CHOICES.
    Numbers are checked where the network is built."""
    unknown = set(options) - ENCODERS[name].options
    if unknown:
        raise TypeError(f"network '{name}' has no option {sorted(unknown)}")
    for option, words in CHOICES.items():
        if option in options and options[option] not in words:
            raise ValueError(f"{option} {options[option]!r:.40} is none of {', '.join(words)}")


def build(name: str, labels: int, channels: int = 1, **options: Any) -> Network:
    """A network with random weights. labels: outputs; channels: of the input images.

    Raises KeyError for a name and TypeError for an option outside the registry, ValueError for a value that an option
    cannot have, and Refusal(RESOURCE_MISSING_LIBRARY) where torch is not installed.
    """
    check_options(name, options)
    try:
        from . import torchvision_networks
    except ModuleNotFoundError as missing:
        raise Refusal(
            "RESOURCE_MISSING_LIBRARY",
            library=missing.name,
            purpose="this network",
            command="pip install 'medimgclassifier[torch]'",
        ) from None
    return torchvision_networks.build(REGISTRY[name].torchvision, labels, channels, options)
