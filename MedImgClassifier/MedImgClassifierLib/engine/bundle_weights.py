"""The arrays of a bundle: the tensors of its files, and the head that is made of some of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal
from .first_order import NAMES as STATISTICS
from .heads import Head, LinearHead, read_stored
from .networks import REGISTRY

Tensors = Mapping[str, NDArray[Any]]


def saved(tensors: Tensors) -> bytes:
    """A safetensors file."""
    from safetensors.numpy import save

    # safetensors writes memory as it lies, so that a channels-last array would come back scrambled
    return save({name: np.array(tensor, order="C") for name, tensor in tensors.items()})


def tensors(path: Path, files: Mapping[str, bytes], name: str, network: str) -> dict[str, NDArray[Any]]:
    """The tensors of a file of the bundle. Raises Refusal: BUNDLE_MANIFEST (no such file), BUNDLE_WEIGHTS (damaged)."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    if name not in files:
        raise Refusal("BUNDLE_MANIFEST", path=path, where=name, reason="the file is not in the bundle")
    try:
        found: dict[str, NDArray[Any]] = load_tensors(files[name])
    except (SafetensorError, KeyError) as damaged:  # KeyError: a kind of number that numpy has not
        raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=f"{name}: {damaged}") from None
    for key, tensor in found.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=f"'{key}' holds values not finite")
    return found


def head(
    path: Path,
    files: Mapping[str, bytes],
    manifest: Mapping[str, Any],
    weights: Tensors,
    network: str,
    channels: int,
) -> Head:
    """What decides on the features: a layer of the network, or what lies in a file of its own.

    weights: of the network; channels: of the input. Raises Refusal: BUNDLE_MANIFEST (a tensor or file that is not
    there), BUNDLE_WEIGHTS (not such a head, or not one for these labels and features).
    """
    described, count = manifest["members"][0]["head"], len(manifest["labels"])
    try:
        if described["kind"] == LinearHead.kind:
            weight, bias = weights[described["weight"]], weights[described["bias"]]
            decides: Head = LinearHead(weight, bias)
            fits = weight.ndim == 2 and weight.shape[:1] == bias.shape == (count,)
            told = f"{list(weight.shape)} weights of the last layer"
        else:
            arrays = tensors(path, files, described["file"], network)
            decides = read_stored(described["kind"], described, arrays)
            fits, told = decides.labels == count, f"a head for {decides.labels}"
    except KeyError as wrong:
        raise Refusal("BUNDLE_MANIFEST", path=path, where="head", reason=wrong) from None
    except ValueError as wrong:
        raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=wrong) from None
    if not fits:
        raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=f"{count} labels, but {told}")
    _check_features(path, decides, network, weights, channels)
    return decides


def _check_features(path: Path, head: Head, network: str, weights: Tensors, channels: int) -> None:
    """Raise Refusal(BUNDLE_WEIGHTS) where the head reads other features than the encoder makes."""
    if network in REGISTRY:
        layer = weights.get(f"{REGISTRY[network].head}.weight")
        made = layer.shape[1] if layer is not None and layer.ndim == 2 else None
    else:
        made = channels * len(STATISTICS)
    if made is not None and made != head.features:
        reason = f"the head reads {head.features} features, and there are {made}"
        raise Refusal("BUNDLE_WEIGHTS", path=path, network=network, reason=reason)
