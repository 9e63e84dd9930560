"""What covers the image: noise of the acquisition, and a square that is missing."""

from __future__ import annotations

import torch
from torch import Tensor

from .draws import Floats
from .kinds import Selection

CALIBRATED_NOISE = 0.2
"""Of the span of a calibrated unit: a strength of 1 is 200 HU or 2 SUV."""


def gaussian_noise(chosen: Selection) -> Tensor:
    """Independent in every pixel and channel. Its standard deviation is `strength` of the image's, or of 200 HU or
    2 SUV where values are calibrated."""
    x, count = chosen.x, chosen.x[0].numel()
    calibrated = chosen.column(chosen.kinds.calibrated_span * CALIBRATED_NOISE)
    size = torch.where(calibrated > 0, calibrated / torch.where(chosen.span > 0, chosen.span, 1), _deviation(x))
    pair = chosen.draws.normal_pair("noise", (count + 1) // 2, x.device)
    drawn = torch.cat(pair, dim=1)[:, :count].view_as(x)
    return drawn.mul_(size * chosen.column(chosen.strength)).add_(x).clamp_(0, 1)


def rician_noise(chosen: Selection) -> Tensor:
    """The magnitude of a complex number whose parts have Gaussian noise of `strength` of the image's standard
    deviation: what an MR image shows (Gudbjartsson and Patz 1995). Air, which is 0, becomes grey."""
    x = chosen.x
    size = _deviation(x) * chosen.column(chosen.strength)
    real, imaginary = chosen.draws.normal_pair("noise", x[0].numel(), x.device)
    real = real.view_as(x).mul_(size).add_(x)
    return real.hypot_(imaginary.view_as(x).mul_(size)).clamp_(0, 1)


def _deviation(x: Tensor) -> Tensor:
    """[n, C, 1, 1]: unlike the range it hardly knows of a few bright pixels, beside which all else is dark."""
    return (x - x.mean(dim=(2, 3), keepdim=True)).square_().mean(dim=(2, 3), keepdim=True).sqrt_()


def cutout(chosen: Selection) -> Tensor:
    """A square (in shares of height and width) around a random place becomes the image's mean (DeVries and Taylor
    2017); a part of it may lie outside."""
    centre = chosen.draws.uniform("cutout: centre", 2)
    hidden = _within(chosen, centre[:, 0], 2) & _within(chosen, centre[:, 1], 3)
    return torch.where(hidden, chosen.x.mean(dim=(2, 3), keepdim=True), chosen.x)


def _within(chosen: Selection, centre: Floats, axis: int) -> Tensor:
    """[n, 1, H, 1] or [n, 1, 1, W] which rows or columns the square covers."""
    shape = [1, 1, 1, 1]
    shape[axis] = chosen.x.shape[axis]
    place = (torch.arange(shape[axis], device=chosen.x.device).view(shape) + 0.5) / shape[axis]
    return (place - chosen.column(centre)).abs() <= chosen.column(chosen.strength / 2)
