"""Logits of a module for cached images, in batches, through the same intensity code as inference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from MedImgClassifierLib.engine.preprocess import InputSpec

from .cache import Images, PreparedSet
from .roles import Rows, indices_of


def predict_logits(
    module: nn.Module,
    prepared: PreparedSet,
    rows: Rows,
    spec: InputSpec,
    images: Images | None = None,
    *,
    batch: int = 256,
) -> NDArray[np.float32]:
    """[len(rows), L] float32 logits, where the module is and in its evaluation mode; the module's mode is kept.

    images [len(rows), C, H, W]: what stands for the rows' own images, after geometry. Rows come from `roles`: those of
    the evaluate role cannot be had, nor predicted, without an entry in the log.
    """
    indices = indices_of(Rows, rows, prepared)
    device = next(module.parameters()).device
    training, parts = module.training, []
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(indices), batch):
            shown = None if images is None else images[start : start + batch]
            inputs = torch.from_numpy(prepared.inputs(indices[start : start + batch], spec, shown))
            logits = module(inputs.to(device, memory_format=torch.channels_last))
            parts.append(logits.float().cpu().numpy())
    module.train(training)
    return np.concatenate(parts) if parts else np.zeros((0, len(prepared.classes)), np.float32)
