"""All that changes while a network is fitted, which is what a checkpoint holds."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from MedImgClassifierLib.engine.errors import Refusal

from .pretrained import Origin
from .recipe import Recipe


class FitState:
    """A network on its way, with its optimiser, its average, and how far it is.

    epoch, batch  what comes next;  step  optimiser steps done
    sums          [3] of this epoch so far: loss, gradient norm, steps whose gradient norm was finite
    seconds       spent on the batches of this epoch so far
    """

    def __init__(self, recipe: Recipe, module: nn.Module, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.module: nn.Module = module.to(device).to(memory_format=torch.channels_last)
        self.average = deepcopy(self.module).requires_grad_(False).eval() if recipe.ema_decay else None
        self.optimizer = _optimizer(recipe, self.module)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp == "float16")
        self.origin = Origin("random")
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        self.epoch, self.batch, self.seconds = epoch, 0, 0.0
        self.sums = torch.zeros(3, device=self.device)

    @property
    def fitted(self) -> nn.Module:
        """The network to evaluate: the averaged one where there is one."""
        return self.module if self.average is None else self.average

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def set_rate(self, steps: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step, steps)

    def update(self, loss: Tensor) -> None:
        """One step along the gradients that the parameters hold, which are let go; loss: of the batch, no gradient."""
        parameters = list(self.module.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.recipe.clip_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.batch += 1
        self._update_average()
        known = norm.isfinite()  # in float16 it now and then is not: the scaler leaves that step out
        self.sums += torch.stack([loss, torch.where(known, norm, 0.0), known.float()])

    def refuse_divergence(self) -> None:
        """Raises Refusal DATA_DIVERGED where a loss of this epoch or a weight is not a finite number."""
        floats = [value for value in self.module.state_dict().values() if value.is_floating_point()]
        # one number that is none makes a sum none; looking at each takes eight times as long
        if not all(bool(value.sum().isfinite()) for value in [self.sums[0], *floats]):
            raise Refusal("DATA_DIVERGED", epoch=self.epoch)

    def summary(self) -> dict[str, float]:
        """Mean loss, last rate and mean gradient norm (before clipping) of this epoch so far."""
        loss, norm, known = (float(value) for value in self.sums)
        return {"loss": loss / self.batch, "rate": self.rate, "gradient_norm": norm / max(1.0, known)}

    def to_dict(self) -> dict[str, Any]:
        """Everything, in what torch.load reads with weights_only."""
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        return {
            "module": self.module.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": [torch.get_rng_state(), *cuda],
            "origin": self.origin.to_json(),
            "epoch": self.epoch,
            "within": {"batch": self.batch, "sums": self.sums, "seconds": self.seconds},
            "step": self.step,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `to_dict` gave."""
        self.module.load_state_dict(state["module"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"][0])
        if self.device.type == "cuda" and state["random"][1:]:
            torch.cuda.set_rng_state_all(state["random"][1:])
        self.origin = Origin(**state["origin"])
        self.step, self.history = state["step"], state["history"]
        self.begin_epoch(state["epoch"])
        if within := state.get("within"):  # older checkpoints are all of an epoch's end
            self.batch, self.seconds = within["batch"], within["seconds"]
            self.sums = within["sums"].to(self.device)

    def _update_average(self) -> None:
        """Exponential moving average of weights and batch statistics, shorter while there are few steps."""
        if self.average is None or self.recipe.ema_decay is None:
            return
        decay = min(self.recipe.ema_decay, self.step / (self.step + 10))
        for mean, value in zip(self.average.state_dict().values(), self.module.state_dict().values(), strict=True):
            mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)


def _optimizer(recipe: Recipe, module: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            module.parameters(), recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay
        )
    matrices = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]  # biases and normalisation are not decayed
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.learning_rate)
