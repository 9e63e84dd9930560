"""`python -m medimg_training.augmentation.look OUT.png IMAGE...`: what each change does at its strongest, to be seen.

A column for each file (grey; the middle slice of a volume, brought to a square), a row for the image and for each
change of the strongest preset, made with certainty at the top of its range, and four rows of 'medium' and 'strong'.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MedImgClassifierLib.engine.reading import read_volume
from MedImgClassifierLib.engine.resize import resize

from .draws import image_keys
from .pipeline import augment
from .policy import PRESETS, Affine, Chance, Policy

SIZE = 128


def extremes(of: Policy) -> Iterator[tuple[str, Policy]]:
    """For each change of a policy one that makes only this change, always, as strongly as the policy may."""
    for entry in fields(Policy):
        value = getattr(of, entry.name)
        if isinstance(value, Chance) and value.probability:
            strongest = value.low if entry.name == "low_resolution" else value.high
            only: dict[str, Any] = {entry.name: Chance(1, strongest, strongest)}
            yield entry.name, replace(Policy(), **only)
        elif isinstance(value, Affine):
            yield entry.name, replace(Policy(), affine=replace(value, probability=1))


def sheet(images: Tensor, modalities: Sequence[str], units: Sequence[str], out: Path) -> None:
    """Write the pictures of images [B, C, H, W] (C is 1, or 3 for RGB) as a PNG; each is shown over its own range."""
    from matplotlib.figure import Figure

    policies = [("as it is", Policy()), *extremes(PRESETS["strong"])]
    policies += [(name, PRESETS[name]) for name in ("medium", "medium", "strong", "strong")]
    figure = Figure(figsize=(1.3 * len(images) + 0.5, 1.3 * len(policies)))
    axes = figure.subplots(len(policies), len(images), squeeze=False)
    low, high = images.amin((1, 2, 3)).numpy(), images.amax((1, 2, 3)).numpy()
    for row, (name, policy) in enumerate(policies):
        changed = augment(images, policy, image_keys(row, 0, np.arange(len(images))), modalities, units)
        for column, picture in enumerate(changed.permute(0, 2, 3, 1).numpy()):
            shown = (picture - low[column]) / max(high[column] - low[column], 1e-6)
            place = axes[row, column]
            place.imshow(shown.clip(0, 1) if shown.shape[2] == 3 else shown[..., 0], cmap="gray", vmin=0, vmax=1)
            place.set_xticks([])
            place.set_yticks([])
        axes[row, 0].set_ylabel(name, fontsize=7)
    figure.tight_layout(pad=0.2)
    figure.savefig(out, dpi=90)


def main(arguments: Sequence[str]) -> None:
    volumes = [read_volume(Path(path)) for path in arguments[1:]]
    middle = [volume.voxels[len(volume.voxels) // 2].astype(np.float32) for volume in volumes]
    images = torch.from_numpy(np.stack([resize(image, SIZE, SIZE) for image in middle])[:, None])
    sheet(images, [volume.modality for volume in volumes], [volume.units for volume in volumes], Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
