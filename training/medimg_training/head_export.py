"""A bundle of a frozen encoder and a classical head.

A linear head takes the place of the network's last layer, whose class maps then explain the answer exactly as before.
Any other lies in a file of its own; the last layer, which nothing reads, is written as zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine import bundle, first_order, selftest
from MedImgClassifierLib.engine.heads import AnyHead, LinearHead
from MedImgClassifierLib.engine.networks import ENCODERS
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.result import Label

from .evaluation.figures import Figures
from .heads_fit import FittedHead


@dataclass(frozen=True)
class FrozenEncoder:
    """What makes the features: a network of the registry with its whole state, or first-order statistics.

    origin: of the weights, for the record.
    """

    network: str
    options: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    origin: str

    @classmethod
    def first_order(cls) -> FrozenEncoder:
        return cls(first_order.NETWORK, {}, {}, "none: statistics have no weights")


def weights_with(encoder: FrozenEncoder, head: AnyHead) -> dict[str, NDArray[Any]]:
    """The encoder's state with the head as its last layer; zeros there for a head that is not linear."""
    layer = ENCODERS[encoder.network].head
    names = (f"{layer}.weight", f"{layer}.bias")
    rest = {name: array for name, array in encoder.weights.items() if name not in names}
    if isinstance(head, LinearHead):
        return rest | dict(zip(names, (head.weight, head.bias), strict=True))
    if encoder.network == first_order.NETWORK:
        return rest
    zeros = (np.zeros((head.labels, head.features), np.float32), np.zeros(head.labels, np.float32))
    return rest | dict(zip(names, zeros, strict=True))


def export_head(
    folder: Path,
    encoder: FrozenEncoder,
    fitted: FittedHead,
    spec: InputSpec,
    labels: Sequence[Label],
    *,
    identity: Mapping[str, Any],
    units: str,
    card: str,
    evaluation: Mapping[str, Figures],
    data: Mapping[str, Any],
    onnx: bool = True,
) -> Path:
    """Write `folder` as a bundle, whole or not at all, and return it; arguments as of `export.export`.

    onnx: with an ONNX form, so that no torch is needed, where there is a network and `spec` fixes the images' size.
    Raises Refusal BUNDLE_MANIFEST, BUNDLE_WEIGHTS, ... where it would not load, RESOURCE_MISSING_LIBRARY.
    """
    network, options = encoder.network, encoder.options
    weights = weights_with(encoder, fitted.head)
    stored = None if isinstance(fitted.head, LinearHead) else fitted.head
    graph = None
    if onnx and network != first_order.NETWORK and spec.size is not None:
        graph = _graph(encoder, weights, fitted.head, spec)
    return bundle.write(
        folder,
        identity=identity,
        labels=labels,
        spec=spec,
        network=network,
        network_options=options,
        weights=weights,
        selftest=selftest.of_network(spec, network, options, weights, units, stored),
        selftest_units=units,
        card=card,
        training={"head": fitted.to_json(), "origin": encoder.origin, "data": dict(data)},
        evaluation=[{"data": name, "figures": figures.to_json()} for name, figures in evaluation.items()],
        onnx=graph,
        head=stored,
    )


def _graph(encoder: FrozenEncoder, weights: Mapping[str, NDArray[Any]], head: AnyHead, spec: InputSpec) -> bytes:
    from .onnx_export import features_to_onnx, to_onnx

    assert spec.size is not None
    make = to_onnx if isinstance(head, LinearHead) else features_to_onnx
    return make(encoder.network, encoder.options, weights, head.labels, spec.network_channels, *spec.size)
