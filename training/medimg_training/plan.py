"""Plan: every choice of a training with its reason, made from the fingerprint by fixed rules, to be read and edited.

`plan.json` is the only thing that training reads of it: an edited value is used, and the file says that it was edited.
The same fingerprint and wishes give the same plan, byte for byte, on any machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import REGISTRY
from MedImgClassifierLib.engine.preprocess import (
    ChannelSpec,
    Clip,
    Crop,
    GeometryOp,
    InputSpec,
    IntensityOp,
    Orient,
    Pad,
    Percentile,
    Resample,
    Resize,
    Window,
    ZScore,
)

from .augmentation.policy import PRESETS as AUGMENTATIONS
from .augmentation.policy import augmentation_text
from .durable import write_durably
from .recipe import PRESETS, Recipe

FORMAT = 1
SCHEMES = ("column", "k_fold", "leave_site_out", "fold_column")


@dataclass(frozen=True)
class Choice:
    """A value, why it was chosen, and by whom: 'rule', 'asked' (an option of the command) or 'edited' (in the file)."""

    value: Any
    reason: str
    by: str = "rule"


def _one_of(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: value in allowed and type(value) in {type(one) for one in allowed}


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= high


def _window(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_number(-1e6, 1e6)(v) for v in value) and value[1] > 0


ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "plane": (_one_of("native", "axial", "sagittal", "coronal"), "native, axial, sagittal or coronal"),
    "field_of_view_mm": (_number(0, 10_000), "millimetres, 0 for the whole image"),
    "size": (_whole(8, 1024), "8 to 1024 pixels"),
    "modality": (lambda value: isinstance(value, str), "a DICOM modality, '' for any"),
    "units": (_one_of("HU", "SUVbw", "RGB", "arbitrary"), "HU, SUVbw, RGB or arbitrary"),
    "intensity": (_one_of("window", "percentile", "fixed"), "window, percentile or fixed"),
    "window": (_window, "[centre, width]"),
    "network": (_one_of(*REGISTRY), ", ".join(REGISTRY)),
    "stem": (_one_of("imagenet", "small"), "imagenet or small"),
    "norm": (_one_of("batch", "group"), "batch or group"),
    "pretrained": (lambda value: isinstance(value, str) and value != "", "random, imagenet, a file or an address"),
    "preset": (_one_of(*PRESETS), ", ".join(PRESETS)),
    "learning_rate": (_number(1e-8, 10), "a positive number"),
    "epochs": (_whole(1, 10_000), "1 to 10000"),
    "batch": (_whole(1, 4096), "1 to 4096"),
    "sampler": (_one_of("natural", "balanced", "group_balanced"), "natural, balanced or group_balanced"),
    "class_weights": (_one_of("none", "balanced"), "none or balanced"),
    "augmentation": (_one_of(*AUGMENTATIONS), ", ".join(AUGMENTATIONS)),
    "flips": (lambda value: value in ([], ["columns"], ["rows"], ["columns", "rows"]), "a list of columns, rows"),
    "amp": (_one_of("off", "bfloat16", "float16"), "off, bfloat16 or float16"),
    "scheme": (
        _one_of("column", "k_fold", "leave_site_out", "fold_column"),
        "column, k_fold, leave_site_out or fold_column",
    ),
    "folds": (_whole(2, 20), "2 to 20"),
    "seeds": (_whole(1, 100), "1 to 100"),
}
"""Every choice of a plan, what a value must be, and that in words."""

OPTIONAL = {"window", "stem", "norm", "folds"}
"""Choices that stand in a plan only where they mean something."""


@dataclass(frozen=True)
class Plan:
    """The choices by name, the task and classes, and the hashes of what they were made from."""

    choices: Mapping[str, Choice]
    task: str
    classes: tuple[str, ...]
    manifest_sha256: str
    fingerprint_sha256: str

    def __getitem__(self, name: str) -> Any:
        """Value of a choice; None for one that this plan has no need of."""
        return self.choices[name].value if name in self.choices else None

    def changed(self, wishes: Mapping[str, Any], by: str) -> Plan:
        """The plan with other values. Raises Refusal USAGE_PLAN_CHOICE."""
        choices = dict(self.choices)
        for name, value in wishes.items():
            check(name, value)
            if name not in choices or choices[name].value != value:
                before = choices.get(name)
                reason = f"instead of {before.value}: {before.reason}" if before else "not asked for by the data"
                choices[name] = Choice(value, reason, by)
        return replace(self, choices=choices)

    def input_spec(self) -> InputSpec:
        """What the network is shown."""
        size, view = int(self["size"]), float(self["field_of_view_mm"])
        fixed: tuple[GeometryOp, ...] = (Resample(view / size), Pad(size, size), Crop(size, size))
        geometry: tuple[GeometryOp, ...] = (Orient(), *(fixed if view else (Pad(),)), Resize(size, size))
        intensity: tuple[IntensityOp, ...]
        if self["intensity"] == "window":
            centre, width = self["window"]
            intensity = (Clip(-1024, 3071, "HU"), Window(float(centre), float(width)), ZScore(0.5, 0.25))
        elif self["intensity"] == "fixed":
            intensity = (Window(127.5, 255), ZScore(0.5, 0.25))
        else:
            intensity = (Percentile(1, 99), ZScore(0.5, 0.25))
        modality = (str(self["modality"]),) if self["modality"] else ()
        channel = ChannelSpec("image", modality, (str(self["units"]),))
        return InputSpec((channel,), geometry, intensity, plane=self["plane"])

    def recipe(self, seed: int = 0) -> Recipe:
        """How the network is trained, with one of the seeds."""
        options = {name: self[name] for name in ("stem", "norm") if name in self.choices}
        if "image_size" in REGISTRY[self["network"]].options:
            options["image_size"] = self["size"]
        names = ("learning_rate", "epochs", "batch", "sampler", "class_weights", "amp", "pretrained")
        own = {name: self[name] for name in names}
        augmentation = augmentation_text(self["augmentation"], tuple(self["flips"]))
        return Recipe.of(
            self["preset"], self["network"], network_options=options, augmentation=augmentation, seed=seed, **own
        )

    def to_markdown(self) -> str:
        lines = ["| choice | value | why |", "|---|---|---|"]
        marks = {"rule": "", "asked": " (asked for)", "edited": " (edited)"}
        for name, choice in self.choices.items():
            lines.append(f"| {name} | {json.dumps(choice.value)}{marks[choice.by]} | {choice.reason} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        content = {
            "format": FORMAT,
            "task": self.task,
            "classes": list(self.classes),
            "manifest_sha256": self.manifest_sha256,
            "fingerprint_sha256": self.fingerprint_sha256,
            "choices": {
                name: {"value": choice.value, "chosen": choice.value, "reason": choice.reason, "by": choice.by}
                for name, choice in self.choices.items()
            },
        }
        write_durably(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def check(name: str, value: Any) -> None:
    """Raises Refusal USAGE_PLAN_CHOICE for a choice or a value that does not exist."""
    if name not in ALLOWED:
        raise Refusal("USAGE_PLAN_CHOICE", name=name, value=value, allowed=f"one of the choices {', '.join(ALLOWED)}")
    valid, allowed = ALLOWED[name]
    if not valid(value):
        raise Refusal("USAGE_PLAN_CHOICE", name=name, value=json.dumps(value), allowed=allowed)


def require_coherent(plan: Plan) -> None:
    """Raises Refusal USAGE_PLAN_CHOICE for choices that exclude each other, or mean nothing beside the others."""
    names = {"window": plan["intensity"] == "window", "folds": plan["scheme"] == "k_fold"}
    names |= {name: name in REGISTRY[plan["network"]].options for name in ("stem", "norm")}
    for name, meant in names.items():
        if name in plan.choices and not meant:
            other = {"window": "intensity", "folds": "scheme"}.get(name, "network")
            reason = f"nothing: {other} is {plan[other]}, so take it out"
            raise Refusal("USAGE_PLAN_CHOICE", name=name, value=json.dumps(plan[name]), allowed=reason)
    if plan["flips"] and plan["augmentation"] == "none":
        raise Refusal(
            "USAGE_PLAN_CHOICE", name="flips", value=json.dumps(plan["flips"]), allowed="[]: nothing is augmented"
        )
    if plan["sampler"] == "balanced" and plan["class_weights"] == "balanced":
        reason = "none: the sampler is balanced already, and rare classes would be corrected for twice"
        raise Refusal("USAGE_PLAN_CHOICE", name="class_weights", value='"balanced"', allowed=reason)
    if plan["intensity"] == "window" and plan["units"] != "HU":
        reason = f"percentile or fixed: a window is of HU, and units are {plan['units']}"
        raise Refusal("USAGE_PLAN_CHOICE", name="intensity", value='"window"', allowed=reason)


def read_plan(path: Path, manifest_sha256: str) -> Plan:
    """The plan in a file, edited values marked. Raises Refusal DATA_PLAN (no plan, of another manifest, a choice is
    missing) and USAGE_PLAN_CHOICE."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} is unknown")
        choices = {}
        for name, entry in content["choices"].items():
            check(name, entry["value"])
            same = entry["value"] == entry["chosen"]
            reason = entry["reason"] if same else f"instead of {json.dumps(entry['chosen'])}: {entry['reason']}"
            choices[name] = Choice(entry["value"], reason, entry["by"] if same else "edited")
        classes, task = tuple(content["classes"]), content["task"]
        plan = Plan(choices, task, classes, content["manifest_sha256"], content["fingerprint_sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal("DATA_PLAN", path=path, reason=f"it is no plan ({error!r})") from error
    missing = [name for name in ALLOWED if name not in choices and name not in OPTIONAL]
    needed = {"window": plan["intensity"] == "window", "folds": plan["scheme"] == "k_fold"}
    missing += [name for name, is_needed in needed.items() if is_needed and name not in choices]
    if missing:
        raise Refusal("DATA_PLAN", path=path, reason=f"the choice {', '.join(missing)} is missing")
    require_coherent(plan)
    if plan.manifest_sha256 != manifest_sha256:
        raise Refusal("DATA_PLAN", path=path, reason="it was made for another manifest")
    return plan
