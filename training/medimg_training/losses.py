"""Losses: what a prediction costs for each class that could be the truth, [B, L], weighed by the targets [B, L].

All are linear in the targets, so that hard labels, label smoothing and mixed images (mixup) take one way, and a sum
over parts of a batch is that of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .recipe import Recipe

Costs = Callable[[Tensor], Tensor]
"""logits [B, L] -> cost [B, L] of each class if it were the truth."""


def cross_entropy(logits: Tensor) -> Tensor:
    """-log p of each class."""
    return -logits.log_softmax(1)


def focal(logits: Tensor, gamma: float) -> Tensor:
    """-(1 - p)^gamma log p of each class (Lin et al. 2017): images that are right already count little."""
    log_p = logits.log_softmax(1)
    rest = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).eps)  # 1 - p; a power of 0 may have no gradient
    return -(rest**gamma) * log_p


def ranked_probability_score(logits: Tensor) -> Tensor:
    """Mean over the L - 1 thresholds of (P(class <= k) - [truth <= k])^2, for classes in their order.

    A proper scoring rule (Epstein 1969) in which a far miss costs more than a near one; L - 1 times it is the squared
    earth mover's distance of Hou et al. 2016.
    """
    count = logits.shape[1]
    below = logits.softmax(1).cumsum(1)[:, None, :-1]  # [B, 1, L - 1]
    truth = torch.ones(count, count, device=logits.device, dtype=logits.dtype).triu()[:, :-1]  # [L, L - 1]
    return (below - truth).square().mean(2)


@dataclass(frozen=True)
class Loss:
    """The loss of a recipe on one fit role.

    costs       what a prediction costs, for each truth
    weights     [L] weight of each class
    adjustment  [L] added to the logits, 0 where there is none
    smoothing   share of a target that is spread over all classes evenly
    """

    costs: Costs
    weights: Tensor
    adjustment: Tensor
    smoothing: float

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum over the images of float32 logits [B, L] and targets [B, L], whose rows sum to 1.

        The mean over a batch is this divided by its `weight`.
        """
        costs = self.costs(logits + self.adjustment) * self.weights
        share = self.smoothing / costs.shape[1]
        return (1 - self.smoothing) * (targets * costs).sum() + share * costs.sum()

    def weight(self, targets: Tensor) -> Tensor:
        """How many images targets [B, L] count as: B without class weights."""
        return (targets * self.weights).sum()


def loss_of(recipe: Recipe, counts: NDArray[np.float64], device: torch.device) -> Loss:
    """The loss of a recipe. counts: [L] of each class among the images that are fitted, all positive."""
    costs: dict[str, Costs] = {
        "cross_entropy": cross_entropy,
        "focal": lambda logits: focal(logits, recipe.focal_gamma),
        "ordinal": ranked_probability_score,
    }
    even = np.ones(len(counts))
    weights = counts.sum() / (len(counts) * counts) if recipe.class_weights == "balanced" else even
    adjustment = recipe.logit_adjustment * np.log(counts / counts.sum())
    weights, adjustment = (torch.from_numpy(values).float().to(device) for values in (weights, adjustment))
    return Loss(costs[recipe.loss], weights, adjustment, recipe.label_smoothing)
