"""The options of a command that make a recipe, in the sections of its help. Nothing heavy is imported for them."""

from __future__ import annotations

import argparse
from math import inf
from typing import TYPE_CHECKING

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import CHOICES, REGISTRY

from .argument_types import number, whole
from .augmentation.policy import PRESETS as AUGMENTATIONS
from .augmentation.policy import augmentation_text
from .recipe import PRESETS, Recipe

if TYPE_CHECKING:
    from MedImgClassifierLib.engine.preprocess import InputSpec


CHOSEN = (
    *("network", "stem", "norm", "pretrained", "preset", "epochs", "batch", "accumulate", "learning_rate", "warm_up"),
    *("clip_norm", "ema_decay", "amp", "seed", "loss", "focal_gamma", "label_smoothing", "sampler", "images_per_class"),
    *("class_weights", "logit_adjustment", "augment", "flip"),
)
"""What `add_options` adds."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `recipe_of` reads to a command."""
    add = parser.add_argument_group("network and its first weights").add_argument
    add("--network", choices=tuple(REGISTRY), default="resnet18")
    add("--stem", choices=CHOICES["stem"], help="of a ResNet; small: for images of about 32 pixels")
    add(
        "--norm",
        choices=CHOICES["norm"],
        help="group: for small batches, of which the statistics mean little",
    )
    add(
        "--pretrained",
        default="random",
        metavar="SOURCE",
        help="'random' (the default), 'imagenet', a file or address of ImageNet weights, or 'bundle:PATH': those of a "
        "bundle with the same network",
    )

    add = parser.add_argument_group("steps").add_argument
    add("--preset", choices=tuple(PRESETS), default="sgd", help="sgd: constant rate; adamw: warm-up, then a cosine")
    add("--epochs", type=whole(1), default=20, help="a fixed budget: nothing stops it early (20)")
    add("--batch", type=whole(1), default=64, help="images of one step (64)")
    add("--accumulate", type=whole(1), default=1, metavar="PARTS", help="take a batch in so many parts, to save memory")
    add("--learning-rate", type=number(1e-12, inf), metavar="RATE", help="instead of the preset's")
    add(
        "--warm-up",
        type=number(0, 1),
        metavar="SHARE",
        help="of all steps, in which the rate rises (sgd 0, adamw 0.05)",
    )
    add("--clip-norm", type=number(1e-12, inf), metavar="NORM", help="scale a step's gradient down to this length")
    add(
        "--ema-decay", type=number(1e-12, 1), metavar="DECAY", help="return a moving average of the weights, e.g. 0.999"
    )
    add("--amp", choices=("off", "bfloat16", "float16"), default="off", help="precision of the forward pass")
    add("--seed", type=whole(0), default=0, help="of first weights, order, augmentation and split (0)")

    add = parser.add_argument_group("loss, and classes or patients of unequal number").add_argument
    add(
        "--loss",
        choices=("cross_entropy", "focal", "ordinal"),
        default="cross_entropy",
        help="focal: images that are right already count little; ordinal: classes have an order, a far miss costs more",
    )
    add("--focal-gamma", type=number(0, inf), default=2.0, metavar="GAMMA", help="how little, with --loss focal (2)")
    add("--label-smoothing", type=number(0, 1), default=0.0, metavar="SHARE", help="of a label given to all classes")
    add(
        "--sampler",
        choices=("natural", "balanced", "group_balanced"),
        default="natural",
        help="in an epoch each image once; or each class equally often; or each group (patient) equally often",
    )
    add("--images-per-class", type=whole(1), metavar="N", help="of an epoch, with --sampler balanced (implied)")
    add("--class-weights", choices=("none", "balanced"), default="none", help="rare classes count more in the loss")
    add(
        "--logit-adjustment",
        type=number(0, inf),
        default=0.0,
        metavar="TAU",
        help="answer rare classes in the logits while training; 1 aims at balanced accuracy (0: off)",
    )

    add = parser.add_argument_group("augmentation").add_argument
    add("--augment", choices=tuple(AUGMENTATIONS), default="none", help="how much images are changed in training")
    add(
        "--flip",
        action="append",
        choices=("columns", "rows"),
        default=[],
        help="mirror half of the images, left to right (columns) or upside down (rows); where no label tells a side",
    )


def recipe_of(arguments: argparse.Namespace, spec: InputSpec) -> Recipe:
    """The recipe. Raises Refusal USAGE_RECIPE where choices exclude each other."""
    others = ("network", "stem", "norm", "preset", "learning_rate", "augment", "flip")
    choices = {name: getattr(arguments, name) for name in CHOSEN if name not in others}
    if arguments.learning_rate is not None:
        choices["learning_rate"] = arguments.learning_rate
    if arguments.flip and arguments.augment == "none":
        raise Refusal("USAGE_RECIPE", reason="--flip belongs to an augmentation: name one with --augment")
    choices["augmentation"] = augmentation_text(arguments.augment, tuple(dict.fromkeys(arguments.flip)))
    known = REGISTRY[arguments.network].options
    options = {name: value for name in CHOICES if (value := getattr(arguments, name)) is not None}
    if unknown := set(options) - known:
        raise Refusal("USAGE_RECIPE", reason=f"network '{arguments.network}' has no --{min(unknown)}")
    if "image_size" in known and spec.size is not None:
        options["image_size"] = spec.size[0]
    choices["network_options"] = options
    try:
        return Recipe.of(arguments.preset, arguments.network, **choices)
    except ValueError as error:
        raise Refusal("USAGE_RECIPE", reason=error) from error
