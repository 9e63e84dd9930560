"""Class evidence: raw maps on the network's own grid, placed in the patient.

A raw map times its number of cells sums to what the image (not the bias) adds to the logit where the network ends in
a global average pool and one linear layer (Zhou et al. 2016); elsewhere it is Grad-CAM (Selvaraju et al. 2017). Maps
keep their sign; what a reader sees is the positive part, scaled once per case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .heads import LinearHead
from .networks import NetworkInfo
from .result import Evidence, Placement

Maps = NDArray[np.float32]


def class_maps(method: str, maps: Maps, head: LinearHead) -> Maps:
    """The runtime's maps as class maps [N, L, h, w], signed.

    'closed_form': maps [N, D, h, w] are features before pooling, and d logit / d feature is weight / (h * w) in every
    cell. 'head_gradient': maps are class maps already.
    """
    if method == "head_gradient":
        return maps
    count, depth, height, width = maps.shape
    weight = head.weight / np.float32(height * width)
    return np.asarray((weight @ maps.reshape(count, depth, height * width)).reshape(count, -1, height, width))


def place(maps: Maps, pixels: Placement, network: NetworkInfo) -> Evidence:
    """Class maps [N, L, h, w] with the place of their cells, from that of the network's input pixels."""
    start = network.first_centre * (pixels.column_step_lps + pixels.row_step_lps)
    cells = Placement(
        origins_lps=pixels.origins_lps + start,
        column_step_lps=pixels.column_step_lps * network.stride,
        row_step_lps=pixels.row_step_lps * network.stride,
    )
    scale = np.maximum(maps.max(axis=(0, 2, 3)), 0).astype(np.float64)
    return Evidence(maps, scale, cells, network.evidence)
