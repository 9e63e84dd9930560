"""Where pixels go: mirror images, and one affine map with an elastic displacement in a single interpolation.

Channels of an image move together. What comes in from outside has the grey of the image's own border (its median, by
channel), so that no frame appears whose brightness is not the image's.
"""

from __future__ import annotations

from math import log

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import splines
from .draws import Draws, Floats
from .policy import Affine, Chance, Policy

ELASTIC_CELLS = 4
"""Cells of the displacement field along each side of the image."""


def moved(images: Tensor, policy: Policy, draws: Draws) -> Tensor:
    """A copy of images [B, C, H, W] after the policy's mirrorings (exact), affine maps and elastic displacements."""
    x = images.clone()
    for side, axis in (("columns", 3), ("rows", 2)):
        chosen = draws.choose(f"flip {side}", Chance(0.5 if side in policy.flips else 0.0))
        if len(chosen.rows):
            rows = torch.from_numpy(chosen.rows).to(x.device)
            x[rows] = x[rows].flip(axis)
    affine = draws.choose("affine", Chance(policy.affine.probability))
    elastic = draws.choose("elastic", policy.elastic)
    warped = np.union1d(affine.rows, elastic.rows)
    if not len(warped):
        return x
    height, width = x.shape[2:]
    maps = np.tile(np.eye(2, 3), (len(warped), 1, 1))
    maps[np.searchsorted(warped, affine.rows)] = _maps(policy.affine, affine.draws, height / width)
    grid = _grid(torch.from_numpy(maps.astype(np.float32)).to(x.device), height, width)
    if len(elastic.rows):
        within = torch.from_numpy(np.searchsorted(warped, elastic.rows)).to(x.device)
        grid.index_add_(0, within, _displacement(elastic.strength, elastic.draws, height, width, x.device))
    rows = torch.from_numpy(warped).to(x.device)
    part = x[rows]
    background = border_grey(part)
    # what lies outside is zero for grid_sample, so zero is made to be the background
    sampled = F.grid_sample(part.sub_(background), grid.permute(0, 2, 3, 1), align_corners=False)
    x[rows] = sampled.add_(background)
    return x


def border_grey(x: Tensor) -> Tensor:
    """[B, C, 1, 1] median of the outermost pixels."""
    border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], dim=-1)
    return border.median(dim=-1).values[..., None, None]


def _maps(affine: Affine, draws: Draws, aspect: float) -> Floats:
    """[n, 2, 3] from places (x, y) of the result to places of the image, both in -1..1 of width and height.

    aspect: height / width, without which a rotation of an oblong image would shear it.
    """
    drawn = draws.uniform("affine: map", 6) * 2 - 1
    angle = np.radians(affine.rotation_degrees) * drawn[:, 0]
    zoom, stretch = np.exp(log(affine.zoom) * drawn[:, 1]), np.exp(log(affine.stretch) / 2 * drawn[:, 2])
    shear = np.tan(np.radians(affine.shear_degrees) * drawn[:, 3])
    across, down = 1 / (zoom * stretch), stretch / zoom
    maps = np.empty((len(draws), 2, 3))
    maps[:, 0, 0] = np.cos(angle) * across
    maps[:, 0, 1] = (np.cos(angle) * shear - np.sin(angle)) * down * aspect
    maps[:, 1, 0] = np.sin(angle) * across / aspect
    maps[:, 1, 1] = (np.sin(angle) * shear + np.cos(angle)) * down
    maps[:, :, 2] = 2 * affine.shift * drawn[:, 4:]
    return maps


def _grid(maps: Tensor, height: int, width: int) -> Tensor:
    """[n, 2, height, width] where (x, y) each pixel of the result lies in the image; sums of a row and a column of
    numbers, which is several times as fast as torch's affine_grid on a CPU."""
    across = torch.arange(width, device=maps.device).mul(2).add(1).div(width).sub(1)
    down = torch.arange(height, device=maps.device).mul(2).add(1).div(height).sub(1)
    row = maps[:, :, 0, None] * across + maps[:, :, 2, None]
    column = maps[:, :, 1, None] * down
    return row[:, :, None, :] + column[:, :, :, None]


def _displacement(strength: Floats, draws: Draws, height: int, width: int, device: torch.device) -> Tensor:
    """[n, 2, height, width] smooth random displacements: a free-form deformation (Rueckert et al. 1999), bounded."""
    points = ELASTIC_CELLS + 3
    drawn = draws.uniform("elastic: control points", 2 * points * points) * 2 - 1
    moves = drawn.reshape(-1, 2, points, points) * (strength * 2 / ELASTIC_CELLS)[:, None, None, None]
    return splines.field(torch.from_numpy(moves.astype(np.float32)).to(device), height, width)
