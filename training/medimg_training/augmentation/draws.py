"""Random numbers that belong to an image: functions of (seed, epoch, sample), not of batch, order or device.

A generator that counts instead of walking: SplitMix64's finaliser (Steele, Lea and Flood 2014, 'Fast splittable
pseudorandom number generators') on numpy for the parameters of a batch at once; for fields of noise a mixer of 32 bits
(constants found by C. Wellons) in int32 tensors, which wrap around on every device and are rounded on none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from math import pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .policy import Chance

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_WORD = 0xFFFFFFFF


def image_keys(seed: int, epoch: int, samples: Rows, repeats: Rows | None = None) -> Keys:
    """[B] the key of each image. samples: its number in the data set; repeats: how often it has come before in this
    epoch (0 where it comes once), so that an image that is drawn several times is changed in several ways."""
    keys = np.zeros(len(samples), np.uint64)
    again = np.zeros(len(samples), np.int64) if repeats is None else repeats
    for part in (np.int64(seed), np.int64(epoch), samples.astype(np.int64), again.astype(np.int64)):
        keys = _mixed(keys + _STEP + np.asarray(part).astype(np.uint64))
    return keys


@dataclass(frozen=True)
class Chosen:
    """The images to which something happens. rows: [n] of the batch; strength: [n]; draws: of these images."""

    rows: Rows
    strength: Floats
    draws: Draws


@dataclass(frozen=True)
class Draws:
    """Numbers of some images; each name is a stream of its own, so that a new operation changes no other."""

    keys: Keys

    def __len__(self) -> int:
        return len(self.keys)

    def uniform(self, name: str, count: int) -> Floats:
        """[B, count] evenly in 0..1, 1 excluded."""
        counted = np.arange(1, count + 1, dtype=np.uint64) * _STEP
        bits = _mixed(self._stream(name)[:, None] + counted)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def choose(self, name: str, chance: Chance, allowed: Mask | None = None) -> Chosen:
        """The images that a change is made to, among those that it is allowed for."""
        drawn = self.uniform(f"{name}: whether and how", 2)
        happens = drawn[:, 0] < chance.probability
        rows = np.flatnonzero(happens if allowed is None else happens & allowed)
        return Chosen(rows, chance.low + (chance.high - chance.low) * drawn[rows, 1], self.of(rows))

    def of(self, rows: Rows) -> Draws:
        return Draws(self.keys[rows])

    def normal_pair(self, name: str, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Two independent fields [B, count] of standard normal numbers (Box and Muller 1958), made on the device.

        Radius and angle have 16 bits each: no number lies beyond 4.9 standard deviations.
        """
        stream = self._stream(name)
        first = torch.from_numpy((stream & np.uint64(_WORD)).astype(np.uint32).view(np.int32)).to(device)[:, None]
        step = torch.from_numpy((stream >> np.uint64(32)).astype(np.uint32).view(np.int32) | 1).to(device)[:, None]
        word = torch.arange(count, device=device, dtype=torch.int32) * step
        word.add_(first)
        for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
            word.bitwise_xor_(_shifted(word, shift)).mul_(factor)
        word.bitwise_xor_(_shifted(word, 15))
        radius = _shifted(word, 16).float().add_(0.5).mul_(2.0**-16).log_().mul_(-2).sqrt_()
        angle = word.bitwise_and_(0xFFFF).float().mul_(2 * pi * 2.0**-16)
        return angle.cos().mul_(radius), angle.sin_().mul_(radius)

    def _stream(self, name: str) -> Keys:
        return _mixed(self.keys ^ _number(name))


@lru_cache(maxsize=256)
def _number(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def _mixed(z: Keys) -> Keys:
    """SplitMix64's finaliser, a bijection of 64 bits; arrays of numpy wrap around without a word."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _shifted(word: Tensor, by: int) -> Tensor:
    """int32 words shifted right as if they had no sign."""
    return (word >> by).bitwise_and_((1 << (32 - by)) - 1)
