"""Recipe: every choice of a training, in one record that is hashed into checkpoint and bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import cos, pi
from typing import Any, Literal

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # cross-entropy, stochastic gradient descent with momentum 0.9, constant step
    "sgd": {"optimizer": "sgd", "learning_rate": 0.001, "weight_decay": 0.0},
    # decoupled weight decay, short linear warm-up, cosine to zero (Loshchilov & Hutter 2017, 2019)
    "adamw": {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.05},
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The number of epochs is a fixed budget: nothing is selected on the way.

    network, network_options  a name of the engine's registry and its keyword arguments
    images_per_class  images drawn of each class in an epoch; None: every image once
    class_weights     'balanced' weighs the loss by n / (L * n_class) of the fitted images
    amp               'bfloat16' or 'float16' run the forward pass in that precision
    ema_decay         keep an exponential moving average of the weights and return it; None: off
    augmentation      name and version of the augmentation that goes with this recipe, 'none' for none
    pretrained        'random', 'imagenet', or a file or address of ImageNet weights
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

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch) < 1 or self.learning_rate <= 0:
            raise ValueError("epochs, batch and learning rate must be positive")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError("ema_decay must lie between 0 and 1")

    @classmethod
    def of(cls, preset: str, network: str, **choices: Any) -> Recipe:
        """The recipe of a preset ('sgd' or 'adamw') with some choices made otherwise."""
        return cls(network=network, **{**PRESETS[preset], **choices})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sha256(self) -> str:
        """Hash of every choice; a checkpoint of another recipe is refused."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of optimiser step 0..steps-1: constant for SGD, warm-up and cosine for AdamW."""
        if self.optimizer == "sgd":
            return self.learning_rate
        warm_up = max(1, steps // 20)
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        return self.learning_rate * 0.5 * (1 + cos(pi * (step - warm_up) / max(1, steps - warm_up)))
