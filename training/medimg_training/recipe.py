"""Recipe: every choice of a training, in one record that is hashed into checkpoint and bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import cos, pi
from typing import Any, Literal

from .augmentation.policy import Policy

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # cross-entropy, stochastic gradient descent with momentum 0.9, constant step
    "sgd": {"optimizer": "sgd", "learning_rate": 0.001, "weight_decay": 0.0},
    # decoupled weight decay, short linear warm-up, cosine to zero (Loshchilov & Hutter 2017, 2019)
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.05},
}

LossName = Literal["cross_entropy", "focal", "ordinal"]
Sampler = Literal["natural", "balanced", "group_balanced"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The number of epochs is a fixed budget: nothing is selected on the way.

    network, network_options  a name of the engine's registry and its keyword arguments
    batch             images of one optimiser step
    sampler           'natural': every image once an epoch; 'balanced': each class equally often;
                      'group_balanced': each group (patient) equally often, however many slices it has
    images_per_class  images that 'balanced' draws of each class in an epoch; None: as many as make it as long as a
                      natural one. A number alone chooses that sampler
    class_weights     'balanced' weighs the loss by n / (L * n_class) of the fitted images
    loss              'cross_entropy'; 'focal' (Lin et al. 2017) with focal_gamma; 'ordinal': the ranked probability
                      score (Epstein 1969) of classes in their order
    logit_adjustment  tau of Menon et al. 2021: tau * log of the class's share of the fitted images is added to
                      the logits, in training only; 0: off
    accumulate        a batch passes the network in so many parts, for less memory; the step is that of the whole
    clip_norm         longest gradient (2-norm over all weights) of a step, longer ones are scaled down; None: off
    warm_up           share of all steps in which the rate rises linearly; None: 0 for SGD, a twentieth for AdamW
    amp               'bfloat16' or 'float16' run the forward pass in that precision
    ema_decay         keep an exponential moving average of the weights and return it; None: off
    augmentation      'none', an augmentation.Policy as JSON text, or the name of one that `fit` is given
    pretrained        'random', 'imagenet', a file or address of ImageNet weights, or 'bundle:PATH'
    """

    network: str
    network_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    epochs: int = 20
    batch: int = 64
    images_per_class: int | None = None
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    amp: Literal["off", "bfloat16", "float16"] = "off"
    ema_decay: float | None = None
    augmentation: str = "none"
    pretrained: str = "random"
    seed: int = 0
    loss: LossName = "cross_entropy"
    focal_gamma: float = 2.0
    logit_adjustment: float = 0.0
    sampler: Sampler = "natural"
    accumulate: int = 1
    clip_norm: float | None = None
    warm_up: float | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or self.learning_rate <= 0:
            raise ValueError("epochs, batch and learning rate must be positive")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError("ema_decay must lie between 0 and 1")
        if not 1 <= self.accumulate <= self.batch:
            raise ValueError(f"a batch of {self.batch} cannot be divided into {self.accumulate} parts")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError("clip_norm must be positive")
        if self.warm_up is not None and not 0 <= self.warm_up < 1:
            raise ValueError("warm_up is a share of the steps, 0 or more and less than 1")
        if min(self.focal_gamma, self.logit_adjustment) < 0:
            raise ValueError("focal_gamma and logit_adjustment must not be negative")
        if self.images_per_class is not None:
            if self.sampler == "group_balanced":
                raise ValueError("images_per_class belongs to the sampler 'balanced', not to 'group_balanced'")
            object.__setattr__(self, "sampler", "balanced")
        if self.logit_adjustment and (self.sampler == "balanced" or self.class_weights == "balanced"):
            other = "a balanced sampler" if self.sampler == "balanced" else "class weights"
            raise ValueError(f"logit_adjustment and {other} both answer rare classes: take one")
        _ = self.policy  # refuses one that cannot be

    @classmethod
    def of(cls, preset: str, network: str, **choices: Any) -> Recipe:
        """The recipe of a preset ('sgd' or 'adamw') with some choices made otherwise."""
        return cls(network=network, **{**PRESETS[preset], **choices})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def policy(self) -> Policy | None:
        """The augmentation, where it is a policy. Raises ValueError for one that cannot be."""
        return Policy.from_json(json.loads(self.augmentation)) if self.augmentation.startswith("{") else None

    @property
    def sha256(self) -> str:
        """Hash of every choice; a checkpoint of another recipe is refused.

        A field that was added after the first bundles were made counts only where it is not what they did, so that
        their recipes keep their hashes.
        """
        as_before = dict(_LATER)
        if self.images_per_class is not None:
            as_before["sampler"] = "balanced"
        told = {k: v for k, v in self.to_json().items() if k not in as_before or v != as_before[k]}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of optimiser step 0..steps-1: a linear rise, then constant for SGD, a cosine for AdamW."""
        if self.warm_up is not None:
            rising = round(self.warm_up * steps)
        else:
            rising = 0 if self.optimizer == "sgd" else max(1, steps // 20)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        if self.optimizer == "sgd":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + cos(pi * (step - rising) / max(1, steps - rising)))


_FIRST_LATER = [own.name for own in fields(Recipe)].index("loss")
_LATER = {own.name: own.default for own in fields(Recipe)[_FIRST_LATER:]}
"""Fields that the first recipes did not have, with what those did."""
