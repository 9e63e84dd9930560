"""Evidence for any network on any runtime, without a gradient: hide a place, see what it takes from each logit.

Zeiler & Fergus (2014). The input is divided into GRID x GRID cells, and an occluder of 2 x 2 cells steps over them, one
cell at a time and half over the border at the edges. A cell's value is the mean of logit(image) - logit(occluded image)
over the four occluders that cover it, each of which hides all of it: so a thing no larger than a cell is hidden whole
wherever it lies, and its own cell still stands out, since a neighbour shares only two of the four. 7 x 7 cells are the
grid of a ResNet's last maps for 224 pixels, where an edge of a cell is the edge of a transformer's patch too.

The occluder is filled with the mean of the image, channel by channel: within the range of its values however they were
scaled, and without making it darker or brighter. Zero is air in one bundle and the middle of the window in another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .findings import Finding
from .networks import Cells

METHOD = "occlusion"
GRID = 7
FORWARDS = (GRID + 1) ** 2
"""Images that the network sees for the evidence of one slice: one per place of the occluder."""

Images = NDArray[np.float32]


def occlusion_maps(
    images: Images,
    logits: NDArray[np.float64],
    decide: Callable[[Images], NDArray[np.float64]],
    batch: int,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Class maps [N, L, GRID, GRID], signed, in logits.

    images [N, C, H, W]: the network's input. logits [N, L]: its answer to them. decide: from at most `batch` images to
    their logits; no more occluded images than these are in memory. progress: called before each batch with the fraction
    done; raising from it cancels. Raises ValueError for images of fewer than GRID rows or columns.
    """
    count, _, height, width = images.shape
    if min(height, width) < GRID:
        raise ValueError(f"images of {height} x {width} pixels cannot be divided into {GRID} x {GRID} cells")
    fill = images.mean(axis=(2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    rows, columns = _reaches(height), _reaches(width)
    total = count * FORWARDS
    lost = np.empty((total, logits.shape[1]), np.float32)
    for start in range(0, total, batch):
        if progress is not None:
            progress(start / total)
        wanted = np.arange(start, min(start + batch, total))
        slices, places = wanted // FORWARDS, wanted % FORWARDS
        occluded = images[slices]
        for image, slice_, place in zip(occluded, slices, places, strict=True):
            image[:, rows[place // len(columns)], columns[place % len(columns)]] = fill[slice_]
        lost[wanted] = logits[slices] - decide(occluded)
    by_place = lost.reshape(count, GRID + 1, GRID + 1, -1).transpose(0, 3, 1, 2)
    upper, lower = by_place[:, :, :-1], by_place[:, :, 1:]
    return np.asarray((upper[..., :-1] + upper[..., 1:] + lower[..., :-1] + lower[..., 1:]) / 4, np.float32)


def cells(height: int, width: int) -> Cells:
    """Where the cells of occlusion maps lie in an input of this size.

    They divide it evenly. Occluders end between pixels, so that a cell's edge is off by half a pixel at most where GRID
    does not divide the size.
    """
    stride = (height / GRID, width / GRID)
    return Cells(((stride[0] - 1) / 2, (stride[1] - 1) / 2), stride)


def _reaches(size: int) -> list[slice]:
    """Pixels along one axis that each of the GRID + 1 occluders hides: the cell before it and the cell after it."""
    edges = [round(cell * size / GRID) for cell in range(GRID + 1)]
    return [slice(edges[max(n - 1, 0)], edges[min(n + 1, GRID)]) for n in range(GRID + 1)]


def seconds(seconds_per_image: float, slices: int) -> float:
    """What the evidence of so many slices takes, from what one image takes in a full batch."""
    return seconds_per_image * slices * FORWARDS


def instead(network: str, runtime: str, duration: float) -> Finding:
    """What to say where the network's own evidence was asked for and cannot be had: it needs torch, and `runtime` runs
    the network. duration: of occlusion instead, in seconds, which is offered and never done unasked."""
    facts = {"network": network, "runtime": runtime, "duration": _in_words(duration)}
    return Finding.of("EVIDENCE_NOT_AVAILABLE", "warn", **facts)


def only(network: str, head: str, duration: float) -> Finding:
    """What to say where the network's own evidence was asked for and there is none on any runtime: a head that is not
    linear is not explained by the network's maps, and statistics of an image know of no places. Arguments as of
    `instead`; head: its kind."""
    facts = {"network": network, "head": head, "duration": _in_words(duration)}
    return Finding.of("EVIDENCE_OCCLUSION_ONLY", "warn", **facts)


def _in_words(duration: float) -> str:
    if duration < 90:
        return f"{max(1, round(duration))} s"
    return f"{round(duration / 60)} min" if duration < 5400 else f"{duration / 3600:.1f} h"
