"""How much memory a training step takes, counted on tensors without content (torch's device 'meta'): nothing is
computed or allocated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from MedImgClassifierLib.engine.networks import build

COPIES_OF_WEIGHTS = 4  # weights, gradients and two moments of AdamW


def training_bytes(
    network: str, options: Mapping[str, Any], *, labels: int, channels: int, size: int, batch: int
) -> int:
    """Bytes of weights, optimiser and what the backward pass keeps of a batch in float32; temporary space of the
    convolutions comes on top. Raises ValueError or RuntimeError where the network does not take this size."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # so that no storage is counted under the number of one that has gone
    with torch.device("meta"):
        module = build(network, labels=labels, channels=channels, **options).train()
        images = torch.empty(batch, channels, size, size)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(images)
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    return COPIES_OF_WEIGHTS * weights + sum(kept.values())
