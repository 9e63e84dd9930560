"""A recipe: choices that exclude each other are refused, and old recipes keep their hashes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from medimg_training.body_region.recipe import RECIPE
from medimg_training.recipe import Recipe
from MedImgClassifierLib import resources

LATER: dict[str, Any] = {
    "loss": "focal",
    "focal_gamma": 1.0,
    "logit_adjustment": 1.0,
    "sampler": "group_balanced",
    "accumulate": 2,
    "clip_norm": 1.0,
    "warm_up": 0.1,
}


def test_the_shipped_bundle_s_recipe_keeps_its_hash() -> None:
    manifest = json.loads((resources.path("Models") / "body-region" / "manifest.json").read_text(encoding="utf-8"))
    assert RECIPE.sha256 == manifest["training"]["made_with"]["recipe"]


def test_choices_that_came_later_count_only_where_they_are_made() -> None:
    plain = Recipe.of("sgd", "resnet18")
    first = {name: value for name, value in plain.to_json().items() if name not in LATER}
    assert len(first) == 15
    assert plain.sha256 == hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()
    others = [Recipe.of("sgd", "resnet18", **{name: value}).sha256 for name, value in LATER.items()]
    assert len({plain.sha256, *others}) == 1 + len(LATER)


def test_a_number_of_images_per_class_is_the_balanced_sampler() -> None:
    implied = Recipe.of("sgd", "resnet18", images_per_class=9)
    assert implied.sampler == "balanced"
    assert implied.sha256 == Recipe.of("sgd", "resnet18", images_per_class=9, sampler="balanced").sha256
    assert implied.sha256 != Recipe.of("sgd", "resnet18", sampler="balanced").sha256


@pytest.mark.parametrize(
    "choices",
    [
        {"accumulate": 65},
        {"accumulate": 0},
        {"clip_norm": 0.0},
        {"warm_up": 1.0},
        {"warm_up": -0.1},
        {"focal_gamma": -1.0},
        {"logit_adjustment": -1.0},
        {"images_per_class": 5, "sampler": "group_balanced"},
        {"logit_adjustment": 1.0, "sampler": "balanced"},
        {"logit_adjustment": 1.0, "images_per_class": 5},
        {"logit_adjustment": 1.0, "class_weights": "balanced"},
    ],
)
def test_choices_that_cannot_be_are_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Recipe.of("sgd", "resnet18", **choices)


@pytest.mark.parametrize("preset", ["sgd", "adamw"])
def test_both_optimisers_warm_up_over_a_share_of_the_steps(preset: str) -> None:
    recipe = Recipe.of(preset, "resnet18", warm_up=0.25)
    rates = [recipe.rate(step, 40) for step in range(40)]
    assert rates[:10] == pytest.approx([0.001 * (step + 1) / 10 for step in range(10)])
    assert rates[10] == 0.001
    assert (rates[39] == 0.001) == (preset == "sgd")
    assert Recipe.of(preset, "resnet18", warm_up=0.0).rate(0, 40) == 0.001
