"""The policy of augmentation: a record that is read back as it was written, bounded and hashed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from medimg_training.augmentation.policy import PRESETS, Affine, Chance, Mix, Policy, preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_policy_comes_back_from_its_json(name: str) -> None:
    policy = preset(name, ("columns",))
    document = json.loads(json.dumps(policy.to_json()))
    assert Policy.from_json(document) == policy
    assert Policy.from_json(document).sha256 == policy.sha256


def test_every_choice_changes_the_hash() -> None:
    medium = preset("medium")
    others = [
        preset("strong"),
        preset("medium", ("rows",)),
        replace(medium, noise=Chance(0.25, 0, 0.21)),
        replace(medium, affine=replace(medium.affine, shift=0.09)),
        replace(medium, mixup=Mix(0.1, 0.2)),
    ]
    assert len({policy.sha256 for policy in [medium, *others]}) == 6


def test_no_preset_mirrors_or_pastes_unless_it_is_asked_to() -> None:
    for policy in PRESETS.values():
        assert policy.flips == () and policy.cutmix.probability == 0
    assert preset("strong").mixes and not preset("medium").mixes
    assert preset("light", ("columns",)).flips == ("columns",)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"unknown": 1},
        {"noise": {"probability": 0.5, "low": 0}},
        {"noise": {"probability": 1.5, "low": 0, "high": 0.1}},
        {"noise": {"probability": 0.5, "low": 0.2, "high": 0.1}},
        {"noise": {"probability": True, "low": 0, "high": 0.1}},
        {"noise": {"probability": 0.5, "low": 0, "high": float("nan")}},
        {"noise": 0.5},
        {"elastic": {"probability": 0.5, "low": 0, "high": 0.5}},
        {"low_resolution": {"probability": 0.5, "low": 0.01, "high": 0.5}},
        {"gamma": {"probability": 0.5, "low": 0, "high": 2.5}},
        {"window": {"probability": 0.5, "low": 0, "high": 1.0}},
        {"blur": {"probability": 0.5, "low": 0, "high": 11}},
        {"flips": ["diagonal"]},
        {"flips": ["rows", "rows"]},
        {"flips": "rows"},
        {"flips": [["rows"]]},
        {"name": 3},
        {"mixup": {"probability": 0.6, "alpha": 1}, "cutmix": {"probability": 0.6, "alpha": 1}},
        {"mixup": {"probability": 0.6, "alpha": 0}},
        {"affine": {**PRESETS["medium"].to_json()["affine"], "zoom": 0.5}},
        {"affine": {**PRESETS["medium"].to_json()["affine"], "shear_degrees": 60}},
    ],
    ids=str,
)
def test_a_document_with_another_shape_or_out_of_bounds_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Policy.from_json({**preset("medium").to_json(), **change})


def test_a_document_that_lacks_an_entry_is_refused() -> None:
    document = preset("medium").to_json()
    del document["noise"]
    with pytest.raises(ValueError, match="all of its fields"):
        Policy.from_json(document)


def test_affine_bounds() -> None:
    with pytest.raises(ValueError):
        Affine(0.5, rotation_degrees=200)
