"""ImageNet weights as the start of a backbone, checked by their hash, and the record of where they came from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import REGISTRY


@dataclass(frozen=True)
class Origin:
    """Where a backbone's first weights came from; carried into checkpoint and bundle.

    kind    'random' or 'imagenet'
    name    torchvision's name of the weights, or of the file;  url: address or '';  sha256: of the file
    """

    kind: Literal["random", "imagenet"]
    name: str = ""
    url: str = ""
    sha256: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def start_from(module: nn.Module, network: str, source: str) -> Origin:
    """Put the weights of `source` into a module built by the registry as `network`, all but its last layer.

    source: 'random' leaves the module as it is; 'imagenet' takes torchvision's first ImageNet weights from their
    published address; else a file or http(s) address of such weights (a mirror), whose name ends in the first
    digits of its SHA-256 as torchvision's do: resnet18-f37072fd.pth. The first convolution is summed over
    colour and shared evenly where the module has other than three channels. They are those of the network without
    options: where another stem or norm has weights of other names or shapes, they do not fit.

    Raises Refusal DATA_WEIGHTS for weights that cannot be had, whose hash differs, or that do not fit.
    """
    if source == "random":
        return Origin("random")
    builder = REGISTRY[network].torchvision
    if not builder:
        raise Refusal("DATA_WEIGHTS", path=source, reason=f"there are none for the network '{network}'")
    published = get_model_weights(builder)["IMAGENET1K_V1"] if source == "imagenet" else None
    url = published.url if published else source if urlparse(source).scheme in ("http", "https") else ""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name if url else Path(source)
    if file.exists():
        _checked_hash(file, source)  # torch.hub does not look at a file that is in its folder already
    digits = _digits(file, source)
    checked: dict[str, Any] = {"progress": False, "check_hash": True, "map_location": "cpu", "weights_only": True}
    try:
        if published:
            weights = published.get_state_dict(**checked)
        elif url:
            weights = torch.hub.load_state_dict_from_url(url, **checked)
        else:
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:  # no such file, no such address
        raise Refusal("DATA_WEIGHTS", path=source, reason=str(error)) from error
    except Exception as error:  # torch and its unpickler raise many kinds for a file that is none of theirs
        reason = f"it holds no state dictionary, or its SHA-256 does not begin with {digits}"
        raise Refusal("DATA_WEIGHTS", path=source, reason=reason) from error
    _fill(module, network, weights, source)
    return Origin("imagenet", str(published) if published else file.name, url, _checked_hash(file, source))


def _digits(file: Path, source: str) -> str:
    found = re.search(r"-([0-9a-f]{8,64})\.", file.name)
    if found is None:
        raise Refusal("DATA_WEIGHTS", path=source, reason="its name does not carry the first digits of its SHA-256")
    return found[1]


def _checked_hash(file: Path, source: str) -> str:
    """SHA-256 of a file, which begins with the digits in its name."""
    content_hash = hashlib.sha256(file.read_bytes()).hexdigest()
    if not content_hash.startswith(_digits(file, source)):
        raise Refusal("DATA_WEIGHTS", path=source, reason=f"the SHA-256 of '{file}' is not that of its name")
    return content_hash


def _fill(module: nn.Module, network: str, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy all weights but the last layer's, whose names carry the prefix 'net.' in the registry's modules."""
    own = module.state_dict()
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise Refusal("DATA_WEIGHTS", path=source, reason="it holds no state dictionary")
    head = REGISTRY[network].head
    kept = {f"net.{key}": value for key, value in weights.items() if not f"net.{key}".startswith(head + ".")}
    for key, value in kept.items():
        if key in own and value.ndim == 4 and value.shape[1] == 3 != own[key].shape[1]:  # the first convolution
            channels = own[key].shape[1]
            kept[key] = (value.sum(1, keepdim=True) / channels).expand(-1, channels, -1, -1)
    needed = {key for key in own if not key.startswith(head + ".") and not key.endswith("num_batches_tracked")}
    other = sorted((needed - set(kept)) | (set(kept) - set(own)))
    other = other or sorted(key for key in needed if kept[key].shape != own[key].shape)
    if other:
        reason = f"they do not fit the network '{network}' as it is to be built, beginning with '{other[0]}'"
        raise Refusal("DATA_WEIGHTS", path=source, reason=reason)
    module.load_state_dict(kept, strict=False)
