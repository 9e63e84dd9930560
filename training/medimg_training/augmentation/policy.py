"""The policy: which changes are made to images while training, how often and how strongly, in one hashed record.

Strengths are relative to the image (its size, its range of values), so that one policy serves sources of any size and
unit; which changes mean something for which kind of image is fixed in `kinds`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

VERSION = 1
"""Changes whenever the same policy and keys would give other images."""

NO_FOLDING = 0.48
"""Control points of a cubic B-spline field that move by less than this share of their distance never fold the image
(Choi and Lee 2000, 'Injectivity conditions of 2D and 3D uniform cubic B-spline functions')."""

Side = Literal["columns", "rows"]


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


@dataclass(frozen=True)
class Chance:
    """A change made to a share of the images, with a strength drawn evenly from low..high."""

    probability: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        _check(0 <= self.probability <= 1, "a probability lies between 0 and 1")
        _check(0 <= self.low <= self.high, "a strength needs 0 <= low <= high")


@dataclass(frozen=True)
class Affine:
    """One linear map for a share of the images; each part is drawn evenly on both sides of no change.

    zoom and stretch (width against height) are the largest factors, drawn evenly in their logarithm;
    shift is a share of the image's width and height.
    """

    probability: float = 0.0
    rotation_degrees: float = 0.0
    zoom: float = 1.0
    stretch: float = 1.0
    shear_degrees: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        _check(0 <= self.probability <= 1, "a probability lies between 0 and 1")
        _check(0 <= self.rotation_degrees <= 180, "rotation_degrees lies between 0 and 180")
        _check(1 <= self.zoom <= 2 and 1 <= self.stretch <= 2, "zoom and stretch are factors between 1 and 2")
        _check(0 <= self.shear_degrees <= 45 and 0 <= self.shift <= 0.5, "shear is at most 45 degrees, shift 0.5")


@dataclass(frozen=True)
class Mix:
    """Two images made into one for a share of the images; their weight is drawn from Beta(alpha, alpha)."""

    probability: float = 0.0
    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check(0 <= self.probability <= 1, "a probability lies between 0 and 1")
        _check(self.alpha > 0, "alpha must be positive")


@dataclass(frozen=True)
class Policy:
    """What may happen to an image. The default is nothing.

    flips         'columns' mirrors left and right of the image, 'rows' up and down, each for half of the images. Only
                  where the label is the same in a mirror: it is not where a side, a situs or a position is the answer
    affine        rotation, zoom, stretch, shear and shift in one map
    elastic       largest move of a control point, as a share of their distance (a quarter of the image)
    bias_field    largest logarithm of a slow gain (MR and unknown modality)
    blur          standard deviation in pixels of the network's input
    low_resolution  size as a share of the input's, before it is brought back
    noise         standard deviation as a share of the image's; of 200 HU or 2 SUV in calibrated images
    window        largest share cut off: of the range at the bright end, of the mean at the dark end
    calibrated_window  HU and SUV instead of `window` and `gamma`: logarithm of a gain about 0, and the largest shift as
                  a share of 1000 HU or 10 SUV
    gamma         logarithm of the exponent, of either sign
    colour        RGB: largest logarithm of each channel's gain
    cutout        side of a rectangle filled with the image's mean, as a share of the image's
    mixup, cutmix  pairs of images and of targets (`mixing`); cutmix may cut the finding out and keep its label
    """

    name: str = "none"
    flips: tuple[Side, ...] = ()
    affine: Affine = Affine()
    elastic: Chance = Chance()
    bias_field: Chance = Chance()
    blur: Chance = Chance()
    low_resolution: Chance = Chance(low=1, high=1)
    noise: Chance = Chance()
    window: Chance = Chance()
    calibrated_window: Chance = Chance()
    gamma: Chance = Chance()
    colour: Chance = Chance()
    cutout: Chance = Chance()
    mixup: Mix = Mix()
    cutmix: Mix = Mix()

    def __post_init__(self) -> None:
        known = all(side in ("columns", "rows") for side in self.flips)
        _check(known and len(set(self.flips)) == len(self.flips), "flips are 'columns' and 'rows', each at most once")
        _check(self.elastic.high < NO_FOLDING, f"elastic stays below {NO_FOLDING}, or the image would fold")
        _check(self.low_resolution.low >= 0.1 and self.low_resolution.high <= 1, "low_resolution lies in 0.1..1")
        _check(self.window.high < 1 and self.cutout.high <= 1, "window stays below 1, cutout at most 1")
        _check(self.blur.high <= 10 and self.noise.high <= 1, "blur is at most 10 pixels, noise at most 1")
        strongest = max(self.bias_field.high, self.gamma.high, self.calibrated_window.high, self.colour.high)
        _check(strongest <= 2, "logarithms of gains and exponents are at most 2")
        _check(self.mixup.probability + self.cutmix.probability <= 1, "mixup and cutmix together are at most 1")

    @property
    def mixes(self) -> bool:
        return self.mixup.probability + self.cutmix.probability > 0

    def to_json(self) -> dict[str, Any]:
        """Numbers are written as floats, so that 1 and 1.0 are one policy with one hash."""
        document: dict[str, Any] = {"version": VERSION, **asdict(self), "flips": list(self.flips)}
        for name, value in document.items():
            if isinstance(value, dict):
                document[name] = {key: float(number) for key, number in value.items()}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Policy:
        """Raises ValueError for another version, an unknown or missing entry, or a value out of its bounds."""
        given = dict(document)
        version = given.pop("version", None)
        _check(version == VERSION, f"version {version!r} of an augmentation policy is not {VERSION}")
        default = cls()
        _check(
            given.keys() == {f.name for f in fields(cls)}, "the entries of a policy are all of its fields, no others"
        )
        values = {name: _like(getattr(default, name), value, name) for name, value in given.items()}
        return cls(**values)

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON form, version included."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def preset(name: str, flips: tuple[Side, ...] = ()) -> Policy:
    """One of PRESETS, with the mirrorings that the labels allow. Raises KeyError for another name."""
    return replace(PRESETS[name], flips=flips)


def augmentation_text(name: str, flips: tuple[Side, ...] = ()) -> str:
    """What a recipe says of `preset(name, flips)`: its JSON form, and 'none' for none."""
    return "none" if name == "none" else json.dumps(preset(name, flips).to_json(), sort_keys=True)


def _like(default: Any, value: Any, name: str) -> Any:
    """A value of a JSON document as the field's own type."""
    if isinstance(default, str):
        _check(isinstance(value, str), f"'{name}' must be a text")
        return value
    if isinstance(default, tuple):
        _check(isinstance(value, list | tuple), f"'{name}' must be a list")
        return tuple(value)
    known = {f.name for f in fields(default)}
    _check(isinstance(value, Mapping) and value.keys() == known, f"'{name}' must have {', '.join(sorted(known))}")
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in value.values())
    _check(numbers, f"'{name}' must hold numbers")
    return type(default)(**{key: float(n) for key, n in value.items()})


PRESETS: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(),
        Policy(
            name="light",
            affine=Affine(0.5, rotation_degrees=10, zoom=1.1, shift=0.05),
            noise=Chance(0.15, 0, 0.1),
            window=Chance(0.3, 0, 0.1),
            calibrated_window=Chance(0.3, 0, 0.02),
            gamma=Chance(0.3, 0, 0.15),
            colour=Chance(0.3, 0, 0.04),
        ),
        Policy(
            name="medium",
            affine=Affine(0.8, rotation_degrees=15, zoom=1.2, stretch=1.05, shear_degrees=5, shift=0.08),
            elastic=Chance(0.25, 0.05, 0.25),
            bias_field=Chance(0.3, 0, 0.5),
            blur=Chance(0.2, 0.4, 1.0),
            low_resolution=Chance(0.2, 0.5, 1.0),
            noise=Chance(0.25, 0, 0.2),
            window=Chance(0.3, 0, 0.25),
            calibrated_window=Chance(0.3, 0, 0.05),
            gamma=Chance(0.3, 0, 0.3),
            colour=Chance(0.3, 0, 0.08),
            cutout=Chance(0.1, 0.1, 0.3),
        ),
        Policy(
            name="strong",
            affine=Affine(0.9, rotation_degrees=30, zoom=1.4, stretch=1.1, shear_degrees=10, shift=0.12),
            elastic=Chance(0.4, 0.1, 0.4),
            bias_field=Chance(0.4, 0, 1.0),
            blur=Chance(0.3, 0.4, 1.5),
            low_resolution=Chance(0.3, 0.3, 1.0),
            noise=Chance(0.4, 0, 0.4),
            window=Chance(0.5, 0, 0.35),
            calibrated_window=Chance(0.5, 0, 0.1),
            gamma=Chance(0.5, 0, 0.5),
            colour=Chance(0.5, 0, 0.15),
            cutout=Chance(0.2, 0.1, 0.4),
            mixup=Mix(0.3, 0.2),
        ),
    )
}
"""'none', 'light', 'medium', 'strong'. None of them mirrors, and none cuts and pastes between images."""
