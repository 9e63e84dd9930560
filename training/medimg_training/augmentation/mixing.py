"""Two images and their targets made into one, after the intensity operations: mixup and cutmix.

The partner comes from the batch by nature; here it is the next image in an order that the images' keys give, so that a
batch in another order is mixed in the same way. A batch that holds other images is not.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from torch import Tensor

from .draws import Draws, Floats, Keys, Rows
from .policy import Policy


def mix(images: Tensor, targets: Tensor, keys: Keys, policy: Policy) -> tuple[Tensor, Tensor]:
    """Images [B, C, H, W] and soft targets [B, L], some of them mixed with another image of the batch.

    mixup (Zhang et al. 2018): lambda * own + (1 - lambda) * partner.
    cutmix (Yun et al. 2019): a rectangle with a share 1 - lambda of the area, cut at the border, is the partner's; the
    targets are weighed with the share that is left of each.
    Copies where something was mixed; B = 1 has no partner and stays as it is.
    """
    if not len(images) == len(targets) == len(keys):
        raise ValueError("images, targets and keys must be as many")
    draws = Draws(keys)
    which = draws.uniform("mix: which", 1)[:, 0]
    blended = np.flatnonzero(which < policy.mixup.probability)
    upto = policy.mixup.probability + policy.cutmix.probability
    pasted = np.flatnonzero((which >= policy.mixup.probability) & (which < upto))
    if len(images) < 2 or not len(blended) + len(pasted):
        return images, targets
    partner = _partners(draws)
    out, soft = images.clone(), targets.clone()
    if len(blended):
        rows, others = _indices(blended, partner, images.device)
        own = _share(draws.of(blended), policy.mixup.alpha)
        out[rows] = torch.lerp(images[others], images[rows], _column(own, images, 4))
        soft[rows] = torch.lerp(targets[others], targets[rows], _column(own, targets, 2))
    if len(pasted):
        rows, others = _indices(pasted, partner, images.device)
        inside = _rectangles(draws.of(pasted), policy.cutmix.alpha, images)
        out[rows] = torch.where(inside, images[others], images[rows])
        own_share = 1 - inside.float().mean(dim=(1, 2, 3))
        soft[rows] = torch.lerp(targets[others], targets[rows], own_share[:, None].to(targets.dtype))
    return out, soft


def _partners(draws: Draws) -> Rows:
    """[B] the next image in the order of a number drawn for each; nobody is its own partner."""
    order = np.argsort(draws.uniform("mix: order", 1)[:, 0], kind="stable")
    partner = np.empty(len(order), np.int64)
    partner[order] = np.roll(order, -1)
    return partner


def _share(draws: Draws, alpha: float) -> Floats:
    """[n] drawn from Beta(alpha, alpha) by its inverse distribution function."""
    drawn: NDArray[np.float64] = betaincinv(alpha, alpha, draws.uniform("mix: share", 1)[:, 0])
    return drawn


def _rectangles(draws: Draws, alpha: float, images: Tensor) -> Tensor:
    """[n, 1, H, W] where the partner is seen: sides sqrt(1 - lambda) of the image's, centre anywhere in it."""
    height, width = images.shape[2:]
    half = np.sqrt(1 - _share(draws, alpha)) / 2
    centre = draws.uniform("mix: centre", 2)

    def covered(axis: int, size: int) -> NDArray[np.bool_]:
        first = np.round((centre[:, axis] - half) * size)[:, None]
        stop = np.round((centre[:, axis] + half) * size)[:, None]
        place = np.arange(size)
        return np.asarray((place >= first) & (place < stop))

    inside = covered(0, height)[:, None, :, None] & covered(1, width)[:, None, None, :]
    return torch.from_numpy(inside).to(images.device)


def _indices(rows: Rows, partner: Rows, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(rows).to(device), torch.from_numpy(partner[rows]).to(device)


def _column(values: Floats, like: Tensor, dimensions: int) -> Tensor:
    return torch.from_numpy(values).to(like.device, like.dtype).reshape(-1, *[1] * (dimensions - 1))
