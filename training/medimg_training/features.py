"""From images to features for classical heads: a network that stays as it is, statistics, or the pixels themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.first_order import first_order
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.resize import resize
from MedImgClassifierLib.engine.runtimes import Runtime

from .cache import Images, Indices, PreparedSet

if TYPE_CHECKING:
    from MedImgClassifierLib.engine.torch_networks import Network

Encode = Callable[[Images], NDArray[np.float32]]
"""Network input [n, C, H, W] -> features [n, D]; each image by itself."""

PIXELS = 16


def features_of(
    encode: Encode, prepared: PreparedSet, rows: Indices, spec: InputSpec, *, batch: int = 64
) -> NDArray[np.float32]:
    """[len(rows), D] features of some rows, through the intensity code of inference. Raises ValueError for no rows."""
    if not len(rows):
        raise ValueError("no rows to make features of")
    starts = range(0, len(rows), batch)
    return np.concatenate([encode(prepared.inputs(rows[start : start + batch], spec)) for start in starts])


def of_network(module: Network) -> Encode:
    """What the last linear layer of a network gets, in evaluation mode; the module's mode is kept."""
    import torch

    def encode(images: Images) -> NDArray[np.float32]:
        training, device = module.training, next(module.parameters()).device
        module.eval()
        with torch.inference_mode():
            x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
            features, _ = module.encode(x, False)
        module.train(training)
        return np.asarray(features.float().cpu().numpy())

    return encode


def of_runtime(runtime: Runtime) -> Encode:
    """The features that a bundle's runtime makes."""
    return lambda images: runtime.encode(images, maps=False).features


def statistics(images: Images) -> NDArray[np.float32]:
    """First-order statistics of each channel (engine/first_order.py)."""
    return first_order(images)


def pixels(images: Images) -> NDArray[np.float32]:
    """The image itself at 16 x 16, antialiased: what a network must beat to have learned more than where it is
    bright. For baselines only, no bundle holds it."""
    return resize(images, PIXELS, PIXELS).reshape(len(images), -1)
