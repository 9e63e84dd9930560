"""What a training loop feeds its network: images of the cache, changed, through the intensity operations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from MedImgClassifierLib.engine.preprocess import InputSpec

from ..cache import Indices, PreparedSet
from . import intensity_on_device
from .draws import image_keys
from .pipeline import augment
from .policy import Policy


def training_batch(
    prepared: PreparedSet,
    rows: Indices,
    spec: InputSpec,
    policy: Policy | None,
    seed: int,
    epoch: int,
    device: torch.device,
    repeats: Indices | None = None,
) -> Tensor:
    """float32 [len(rows), C, H, W] on `device`: some rows of the cache, augmented unless policy is None, then the
    intensity operations.

    repeats: `repeats_in_epoch` of these rows where an epoch draws images several times.
    With CUDA all is computed there, with `intensity_on_device`; otherwise on the CPU with the numpy code of inference:
    without a policy the tensor then has the bits of `prepared.inputs(rows, spec)`. (MPS has no float64, which
    percentiles need: it gets the finished batch.)
    """
    on_device = device.type == "cuda"
    images = torch.from_numpy(np.asarray(prepared.images[rows], np.float32))
    if on_device:
        images = images.to(device)
    if policy is not None:
        units, modalities = [prepared.units[n] for n in rows], [prepared.modalities[n] for n in rows]
        images = augment(images, policy, image_keys(seed, epoch, rows, repeats), modalities, units)
    if not on_device:
        return torch.from_numpy(prepared.inputs(rows, spec, images.numpy())).to(device)
    return inputs_on_device(prepared, rows, spec, images)


def inputs_on_device(prepared: PreparedSet, rows: Indices, spec: InputSpec, images: Tensor) -> Tensor:
    """`PreparedSet.inputs` for images that lie on a device: each of its unit's own operations."""
    units = np.array([prepared.units[n] for n in rows])
    out = torch.empty_like(images)
    for unit in dict.fromkeys(units.tolist()):
        chosen = torch.from_numpy(np.flatnonzero(units == unit)).to(images.device)
        out[chosen] = intensity_on_device.intensity(images[chosen], spec, unit)
    return out


def repeats_in_epoch(rows: Indices) -> Indices:
    """[n] how often each row of an epoch has come before in it: [4, 7, 4, 4] -> [0, 0, 1, 2]."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.searchsorted(ordered, ordered, side="left")
    out = np.empty(len(rows), np.int64)
    out[order] = np.arange(len(rows)) - first
    return out
