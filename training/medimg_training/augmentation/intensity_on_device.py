"""The intensity operations of `engine.preprocess` on tensors: for images that were augmented on a GPU.

The numpy code is the truth. Clip, window, percentiles and z-scores of two fixed numbers give its very bits (sorting is
exact, the interpolation between two values is made in float64 with numpy's own formula); mean and standard deviation
of an image are sums in another order, and the result differs from numpy's by at most 1e-5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from MedImgClassifierLib.engine.preprocess import Clip, InputSpec, IntensityOp, Percentile, Scope, Window, ZScore


def intensity(images: Tensor, spec: InputSpec, units: str) -> Tensor:
    """The intensity list on a copy of images float32 [N, C, H, W], on a device that knows float64 (CPU, CUDA)."""
    out = images.clone()
    for op in spec.intensity:
        if op.units in ("", units):
            out = _applied(out, op)
    return out


def _applied(x: Tensor, op: IntensityOp) -> Tensor:
    match op:
        case Clip():
            return x.clamp_(op.low, op.high)
        case Window():
            x.sub_(op.center - op.width / 2).mul_(1 / op.width)
            return x.clamp_(0, 1)
        case Percentile():
            low, high = percentiles(x, op.low, op.high, op.scope)
            scaled = x.sub_(low.float()).mul_((1 / (high - low)).float()).clamp_(0, 1)
            return torch.where(high > low, scaled, 0)
        case ZScore(scope="fixed"):
            return x.sub_(op.mean).mul_(1 / op.std)
        case ZScore():
            mean, std = _moments(x, op.scope)
            return x.sub_(mean.float()).mul_((1 / std.clamp(min=1e-6)).float())


def percentiles(x: Tensor, low: float, high: float, scope: Scope) -> tuple[Tensor, Tensor]:
    """float64 [N, C, 1, 1], as numpy.percentile(method='linear') of each channel's pixels in scope."""
    ordered = x.flatten(2).sort(dim=2).values
    total = ordered.shape[2]
    below = (ordered == ordered[..., :1]).sum(dim=2, keepdim=True) if scope == "foreground" else 0
    below = torch.as_tensor(below, device=x.device).expand(*ordered.shape[:2], 1)
    below = torch.where(below == total, 0, below)  # an image of one grey is all foreground
    return _at_share(ordered, below, low), _at_share(ordered, below, high)


def _at_share(ordered: Tensor, below: Tensor, percent: float) -> Tensor:
    """The percentile of ordered[..., below:], in numpy's arithmetic: the difference in float32, the rest in float64."""
    last = ordered.shape[2] - 1 - below
    place = last.double() * (percent / 100)
    before = place.floor()
    after = torch.minimum(before + 1, last.double())
    a = ordered.gather(2, below + before.long())
    b = ordered.gather(2, below + after.long())
    share, difference = place - before, (b - a).double()
    value = torch.where(share < 0.5, a.double() + difference * share, b.double() - difference * (1 - share))
    return value[..., None]


def _moments(x: Tensor, scope: Scope) -> tuple[Tensor, Tensor]:
    """float64 [N, C, 1, 1] mean, and standard deviation of the pixels in scope about their mean."""
    values = x.double()
    inside = x > x.amin(dim=(2, 3), keepdim=True)
    if scope == "slice":
        inside = torch.ones_like(inside)
    inside |= ~inside.any(dim=(2, 3), keepdim=True).expand_as(inside)
    count = inside.sum(dim=(2, 3), keepdim=True)
    mean = (values * inside).sum(dim=(2, 3), keepdim=True) / count
    # numpy subtracts the mean, rounded to float32, before it takes the standard deviation: that changes no deviation
    std = (((values - mean) ** 2) * inside).sum(dim=(2, 3), keepdim=True).div(count).sqrt()
    return mean, std
