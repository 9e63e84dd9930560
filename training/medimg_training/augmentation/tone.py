"""How bright a place is: bias field, window, gamma and colour. x in 0..1 goes in and comes out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import splines
from .kinds import Selection

BIAS_CELLS = 2
"""Cells of the bias field along each side: slower than anatomy."""


def bias_field(chosen: Selection) -> Tensor:
    """A slow gain, as of a receive coil, between exp(-strength) and exp(strength); the brightest stays within 1."""
    points, channels = BIAS_CELLS + 3, chosen.x.shape[1]
    drawn = chosen.draws.uniform("bias field: control points", channels * points * points) * 2 - 1
    logarithm = drawn.reshape(-1, channels, points, points) * chosen.strength[:, None, None, None]
    coefficients = torch.from_numpy(logarithm.astype(np.float32)).to(chosen.x.device)
    gained = splines.field(coefficients, *chosen.x.shape[2:]).exp_().mul_(chosen.x)
    return gained.div_(gained.amax(dim=(2, 3), keepdim=True).clamp_(min=1))


def window(chosen: Selection) -> Tensor:
    """Up to `strength` of the range is cut off at the bright end, up to `strength` of the mean grey at the dark end;
    what is left is spread over 0..1. (A share of the range at the dark end would empty a mostly dark image.)"""
    side = chosen.column((chosen.per_channel("window: side") + 1) / 2)
    strength = chosen.column(chosen.strength)
    dark = side * strength * chosen.x.mean(dim=(2, 3), keepdim=True)
    bright = 1 - (1 - side) * strength
    return chosen.x.sub(dark).mul_(1 / (bright - dark)).clamp_(0, 1)


def calibrated_window(chosen: Selection) -> Tensor:
    """Another window on values that mean something: a gain about 0 (water, no uptake), and a shift."""
    gain = np.exp(np.sign(chosen.per_channel("calibrated window: side")) * chosen.strength[:, None])
    largest = chosen.strength * chosen.kinds.calibrated_span
    shift = chosen.column(chosen.per_channel("calibrated window: shift") * largest[:, None])
    scaled = chosen.column(gain)
    # gain * (low + span * x) + shift, brought back to 0..1 of low..low + span
    offset = ((scaled - 1) * chosen.low + shift) / _positive(chosen.span)
    return chosen.x.mul(scaled).add_(offset).clamp_(0, 1)


def gamma(chosen: Selection) -> Tensor:
    """x to the power of exp(strength) or exp(-strength)."""
    exponent = np.exp(np.sign(chosen.per_channel("gamma: side")) * chosen.strength[:, None])
    return chosen.x.pow(chosen.column(exponent))


def colour(chosen: Selection) -> Tensor:
    """A gain for each channel between exp(-strength) and exp(strength): stain, white balance."""
    drawn = chosen.draws.uniform("colour: gain", chosen.x.shape[1]) * 2 - 1
    return chosen.x.mul(chosen.column(np.exp(drawn * chosen.strength[:, None]))).clamp_(0, 1)


def _positive(span: Tensor) -> Tensor:
    """The span, 1 where the image is of one grey."""
    return torch.where(span > 0, span, torch.ones_like(span))
