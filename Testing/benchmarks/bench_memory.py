"""Peak memory of classifying 300 slices of 512 x 512 with evidence, above the interpreter with torch loaded."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import networks_for_timing as timed
import torch
from timing import Row, show

from MedImgClassifierLib.engine.classifier import Classifier


def run() -> list[Row]:
    torch.zeros(1)
    before = _peak_gib()
    volume = timed.synthetic_ct()
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        bundle = timed.write_bundle(Path(scratch, "timing"), timed.random_resnet18())
    Classifier(bundle, "cpu").classify(volume)
    remark = f"goal under 2.5; the volume itself is {volume.voxels.nbytes / 2**30:.2f} GiB"
    return [("peak above interpreter and torch", "GiB", _peak_gib() - before, remark)]


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    show("Memory, 300 slices with evidence", run())
