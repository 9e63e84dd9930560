"""Class evidence: raw maps on a coarse grid over the network's input, placed in the patient.

A raw map times its number of cells sums to what the image (not the bias) adds to the logit where the network ends in
a global average pool and one linear layer (Zhou et al. 2016); elsewhere it is Grad-CAM (Selvaraju et al. 2017), or
what hiding a place takes from the logit (occlusion.py). Maps keep their sign; what a reader sees is the positive part,
scaled once per case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .networks import Cells
from .result import Evidence, Placement


def place(maps: NDArray[np.float32], pixels: Placement, cells: Cells, method: str) -> Evidence:
    """Class maps [N, L, h, w] with the place of their cells, from that of the network's input pixels.

    cells: where they lie in the input; method: how the maps were made, as the result names it.
    """
    row, column = cells.first_centre
    at = Placement(
        origins_lps=pixels.origins_lps + column * pixels.column_step_lps + row * pixels.row_step_lps,
        column_step_lps=pixels.column_step_lps * cells.stride[1],
        row_step_lps=pixels.row_step_lps * cells.stride[0],
    )
    scale = np.maximum(maps.max(axis=(0, 2, 3)), 0).astype(np.float64)
    return Evidence(maps, scale, at, method)
