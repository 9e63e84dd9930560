"""Logits of a module for cached images, in batches, through the same intensity code as inference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from MedImgClassifierLib.engine.preprocess import InputSpec

from .cache import Indices, PreparedSet


def predict_logits(
    module: nn.Module, prepared: PreparedSet, rows: Indices, spec: InputSpec, *, batch: int = 256
) -> NDArray[np.float32]:
    """[len(rows), L] float32 logits, where the module is and in its evaluation mode; the module's mode is kept."""
    device = next(module.parameters()).device
    training, parts = module.training, []
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            images = torch.from_numpy(prepared.inputs(rows[start : start + batch], spec))
            logits = module(images.to(device, memory_format=torch.channels_last))
            parts.append(logits.float().cpu().numpy())
    module.train(training)
    return np.concatenate(parts) if parts else np.zeros((0, len(prepared.classes)), np.float32)
