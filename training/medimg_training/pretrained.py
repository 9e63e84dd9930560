"""What a backbone starts from, checked by its hash, and the record of where that came from.

Weights that are not here and cannot be had are told apart from those that are damaged or do not fit, so that a table of
comparisons can say "not run: weights absent" for the ones and stop for the others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.errors import Refusal, first_line
from MedImgClassifierLib.engine.networks import REGISTRY

_ABSENT = (FileNotFoundError, URLError, ConnectionError, TimeoutError)


BUNDLE = "bundle:"


@dataclass(frozen=True)
class Origin:
    """Where a backbone's first weights came from; carried into checkpoint and bundle.

    kind     'random'; 'imagenet'; 'bundle'; 'fold': fitted before, on the fit role of the same fold
    name     torchvision's name of the weights or of the file; the bundle's id; the fold's name
    version  of the bundle, else '';  url: address or ''
    sha256   of the file; of the bundle's manifest; of the tensors of a fold's network
    """

    kind: Literal["random", "imagenet", "bundle", "fold"]
    name: str = ""
    url: str = ""
    sha256: str = ""
    version: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        """For a reader: `random`, `ImageNet NAME@SHA256`, `bundle ID VERSION@SHA256`, `trained in this fold (...)`."""
        if self.kind == "random":
            return "random"
        if self.kind == "fold":
            return f"trained in this fold ({self.name}@{self.sha256})"
        named = f"bundle {self.name} {self.version}" if self.kind == "bundle" else f"ImageNet {self.name}"
        return f"{named}@{self.sha256}"


def trained_in_fold(module: nn.Module, fold: str) -> Origin:
    """The origin of a network that was fitted on the fit role of the fold in which its features are used.

    fold: its name, e.g. 'fold 2 of 5'. The hash is of names, types, shapes and bytes of the state dictionary.
    """
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return Origin("fold", fold, sha256=digest.hexdigest())


def start_from(
    module: nn.Module,
    network: str,
    source: str,
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
) -> Origin:
    """Put the weights of `source` into a module that the registry built as `network` with `options`.

    source: 'random' leaves the module as it is; 'imagenet' takes torchvision's first ImageNet weights from their
    published address; 'bundle:PATH' those of a bundle of the same network, options and number of channels (PATH may be
    a bundle's name); else a file or http(s) address of ImageNet weights (a mirror), whose name ends in the first
    digits of its SHA-256 as torchvision's do: resnet18-f37072fd.pth. The first convolution of ImageNet weights is
    summed over colour and shared evenly where the module has other than three channels. They are those of the network
    without options: where another stem or norm has weights of other names or shapes, they do not fit. The last layer
    stays random, unless a bundle has the very `classes`.

    Raises Refusal DATA_WEIGHTS_ABSENT where there is no such file, or no network to have it from; DATA_WEIGHTS for
    weights whose hash differs or that do not fit; what loading a bundle raises (BUNDLE_NOT_FOUND, ...).
    """
    if source == "random":
        return Origin("random")
    if source.startswith(BUNDLE):
        return _from_bundle(module, network, source.removeprefix(BUNDLE), options or {}, tuple(classes))
    return _from_imagenet(module, network, source)


def _from_bundle(
    module: nn.Module, network: str, source: str, options: Mapping[str, Any], classes: tuple[str, ...]
) -> Origin:
    loaded = bundle.load(resources.bundles().get(source, Path(source)))
    there, wanted = _described(loaded.network, loaded.network_options), _described(network, options)
    if there != wanted:
        raise Refusal("DATA_WEIGHTS", path=source, reason=f"they are of {there}, not of {wanted}")
    head, own = REGISTRY[network].head + ".", module.state_dict()
    same_head = classes == tuple(label.name for label in loaded.labels)
    kept = {k: torch.tensor(v) for k, v in loaded.weights.items() if same_head or not k.startswith(head)}
    needed = {key for key in own if same_head or not key.startswith(head)}
    if needed != set(kept) or any(kept[key].shape != own[key].shape for key in needed):
        raise Refusal("DATA_WEIGHTS", path=source, reason=f"they do not fit the network '{network}'")
    module.load_state_dict(kept, strict=False)
    return Origin("bundle", loaded.id, sha256=loaded.manifest_sha256, version=str(loaded.manifest["version"]))


def _described(network: str, options: Mapping[str, Any]) -> str:
    return f"{network} {json.dumps(dict(options), sort_keys=True)}"  # in which tuples and lists are alike


def _from_imagenet(module: nn.Module, network: str, source: str) -> Origin:
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
    except _ABSENT as error:  # no such file, no such address, no network
        raise Refusal("DATA_WEIGHTS_ABSENT", path=source, reason=first_line(error) or repr(error)) from error
    except OSError as error:  # a folder that may not be read or written, a full disk
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
