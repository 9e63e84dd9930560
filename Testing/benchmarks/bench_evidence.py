"""Class evidence against forward-only classification and against Grad-CAM libraries used slice by slice."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import networks_for_timing as timed
import numpy as np
import torch
from numpy.typing import NDArray
from timing import Row, alternate, ratio, seconds, show

from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.preprocess import geometry, intensity
from MedImgClassifierLib.engine.resize import resize
from MedImgClassifierLib.engine.torch_networks import Network

SLICES = 16


def pytorch_grad_cam(network: Network, inputs: torch.Tensor, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """One class a slice, one slice at a time; maps at input size, scaled 0..1 per slice."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(model=network, target_layers=[network.net.layer4]) as cam:
        return np.concatenate(
            [
                cam(input_tensor=x[None], targets=[ClassifierOutputTarget(int(label))])
                for x, label in zip(inputs, labels, strict=True)
            ]
        )


def captum(network: Network, inputs: torch.Tensor, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Raw signed maps [N, h, w], one class a slice, one slice at a time."""
    from captum.attr import LayerGradCam

    cam = LayerGradCam(network, network.net.layer4)
    made = [cam.attribute(x[None], int(label)) for x, label in zip(inputs, labels, strict=True)]
    return torch.cat(made)[:, 0].detach().numpy()


def run() -> list[Row]:
    torch.set_num_threads(1)
    volume, network = timed.synthetic_ct(SLICES), timed.random_resnet18()
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        classifier = Classifier(timed.write_bundle(Path(scratch, "timing"), network), "cpu", runtime="torch")
    inputs = torch.from_numpy(intensity(geometry([volume], timed.SPEC).images, timed.SPEC, "HU"))
    labels = np.arange(SLICES) % timed.CLASSES
    taken = alternate(
        {
            "without": lambda: classifier.classify(volume, evidence="none"),
            "with": lambda: classifier.classify(volume),
            "grad-cam": lambda: pytorch_grad_cam(network, inputs, labels),
            "captum": lambda: captum(network, inputs, labels),
        },
        9,
    )
    evidence = classifier.classify(volume).evidence
    assert evidence is not None
    ours = evidence.maps[np.arange(SLICES), labels]
    reference = captum(network, inputs, labels)
    on_top = 100 * (statistics.median(b / a for a, b in zip(taken["without"], taken["with"], strict=True)) - 1)
    every = f"{timed.CLASSES} classes, {SLICES} slices, classification included; theirs: one class"
    return [
        ("evidence on top of classification", "%", on_top, f"goal at most 5; {every}"),
        ("against pytorch-grad-cam per slice", "x", ratio(taken["grad-cam"], taken["with"]), "goal 4.5"),
        ("against captum LayerGradCam per slice", "x", ratio(taken["captum"], taken["with"]), "goal 1.6"),
        ("|d raw map| to captum", "", float(np.abs(ours - reference).max()), "goal at most 1e-6"),
    ]


def run_upsampling() -> list[Row]:
    """What is never done until shown: one class onto the voxel grid."""
    maps = np.random.default_rng(0).random((300, 7, 7), dtype=np.float32)
    taken = [seconds(lambda: resize(maps, 512, 512)) for _ in range(5)]
    return [("one class onto the 300x512x512 grid", "s", statistics.median(taken), "reported; 0.31 GB")]


if __name__ == "__main__":
    show("Evidence, 1 thread, ResNet-18 at 224", run())
    show("Upsampling", run_upsampling())
