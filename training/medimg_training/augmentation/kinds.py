"""What an image is, and so which changes mean something for it.

=====================================  ======  =================  =====  ==========  ======  ========
kind                                   window  calibrated_window  gamma  bias field  colour  noise
=====================================  ======  =================  =====  ==========  ======  ========
HU, SUVbw: values mean something       no      yes                no     no          no      Gaussian
RGB: channels share one range          yes     no                 yes    no          yes     Gaussian
MR: contrast is arbitrary              yes     no                 yes    yes         no      Rician
'' unknown: may be MR                  yes     no                 yes    yes         no      Gaussian
any other (CR, DX, US, CT pictures)    yes     no                 yes    no          no      Gaussian
=====================================  ======  =================  =====  ==========  ======  ========
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .draws import Chosen, Draws, Floats, Mask, Rows

CALIBRATED_SPANS = {"HU": 1000.0, "SUVbw": 10.0}
"""What a strength of 1 is in calibrated units: from air to water, and a high uptake. The range of the image itself
would depend on a metal clip or on the bladder."""


@dataclass(frozen=True)
class Kinds:
    """Of each of B images: calibrated_span in its units, 0 where values mean nothing; is it RGB, MR, perhaps MR."""

    calibrated_span: Floats
    rgb: Mask
    mr: Mask
    perhaps_mr: Mask

    @classmethod
    def of(cls, modalities: Sequence[str], units: Sequence[str]) -> Kinds:
        spans = np.array([CALIBRATED_SPANS.get(unit, 0.0) for unit in units])
        rgb = np.array([unit == "RGB" for unit in units], bool)
        mr = np.array([modality == "MR" for modality in modalities], bool) & (spans == 0) & ~rgb
        unknown = np.array([modality == "" for modality in modalities], bool) & (spans == 0) & ~rgb
        return cls(spans, rgb, mr, mr | unknown)

    @property
    def calibrated(self) -> Mask:
        return self.calibrated_span > 0

    def at(self, rows: Rows) -> Kinds:
        return Kinds(self.calibrated_span[rows], self.rgb[rows], self.mr[rows], self.perhaps_mr[rows])


@dataclass(frozen=True)
class Selection:
    """The images that one operation changes.

    x: [n, C, H, W] in 0..1; value = low + span * x with low, span [n, C, 1, 1]; strength [n]
    """

    x: Tensor
    low: Tensor
    span: Tensor
    strength: Floats
    draws: Draws
    kinds: Kinds

    @classmethod
    def of(cls, chosen: Chosen, x: Tensor, low: Tensor, span: Tensor, kinds: Kinds) -> Selection:
        draws, strength = chosen.draws, chosen.strength
        if len(chosen.rows) == len(x):
            return cls(x, low, span, strength, draws, kinds)
        rows = torch.from_numpy(chosen.rows).to(x.device)
        return cls(x[rows], low[rows], span[rows], strength, draws, kinds.at(chosen.rows))

    def per_channel(self, name: str) -> Floats:
        """[n, C] evenly in -1..1: one number for each channel, one for all channels of an RGB image."""
        drawn = self.draws.uniform(name, self.x.shape[1]) * 2 - 1
        return np.where(self.kinds.rgb[:, None], drawn[:, :1], drawn)

    def column(self, values: Floats) -> Tensor:
        """[n] or [n, C] numbers as float32 [n, 1 or C, 1, 1] on the device of the images."""
        return torch.from_numpy(values.astype(np.float32)).to(self.x.device).reshape(len(values), -1, 1, 1)
