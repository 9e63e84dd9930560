"""Classifying a whole CT (300 slices of 512 x 512, ResNet-18 at 224) against one slice at a time with torchvision.

The loop to compare with is what a script does: window to 8 bits, torchvision's transforms, one slice through the
network. Ours is Classifier.classify from the volume to the probabilities.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import networks_for_timing as timed
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timing import Row, alternate, ratio, show
from torchvision import transforms

from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.preprocess import geometry, intensity
from MedImgClassifierLib.engine.resize import resize
from MedImgClassifierLib.engine.torch_networks import Network
from MedImgClassifierLib.engine.volume import Volume


def torchvision_loop(network: Network, volume: Volume) -> NDArray[np.float32]:
    """One slice at a time, softmax [N, L]."""
    prepare = transforms.Compose(
        [transforms.Resize((224, 224)), transforms.ToTensor(), transforms.Normalize([timed.MEAN], [timed.STD])]
    )
    found = []
    with torch.no_grad():
        for voxels in volume.voxels:
            grey = np.clip((voxels - (timed.CENTER - timed.WIDTH / 2)) / timed.WIDTH, 0, 1) * 255
            x = prepare(Image.fromarray(grey.astype(np.uint8)))
            found.append(network(x[None]).softmax(1).numpy())
    return np.concatenate(found)


def our_preprocessing_slice_by_slice(network: Network, volume: Volume) -> NDArray[np.float32]:
    """The reference for equality: the same preprocessing and the plain network, one slice at a time."""
    found = []
    with torch.no_grad():
        for k in range(len(volume.voxels)):
            images = intensity(geometry([volume], timed.SPEC, k, k + 1).images, timed.SPEC, "HU")
            found.append(network(torch.from_numpy(images)).softmax(1).numpy())
    return np.concatenate(found)


WAYS = {  # (runtime, precision) -> goal against the loop, None where there is none
    ("torch", "float32"): None,
    ("onnxruntime", "float32"): 1.6,
    ("openvino", "float32"): 1.6,
    ("torch", "bfloat16"): None,
    ("openvino", "bfloat16"): 3.0,
    ("onnxruntime", "int8"): 5.0,
    ("openvino", "int8"): 5.0,
}


def by_hand(graph: bytes, ready: list[NDArray[np.float32]], threads: int) -> Callable[[], object]:
    """OpenVINO alone on tensors that are ready: the limit of what can be had in float32."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    model = core.compile_model(core.read_model(graph), "CPU", settings)
    return lambda: [model([images]) for images in ready]


def classifying(classifier: Classifier, volume: Volume) -> Callable[[], object]:
    return lambda: classifier.classify(replace(volume), evidence="none")  # a copy knows no hash from before


def run(threads: int) -> list[Row]:
    torch.set_num_threads(threads)
    volume, network = timed.synthetic_ct(), timed.random_resnet18()
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        bundle = timed.write_bundle(Path(scratch, "timing"), network)
    assert bundle.onnx is not None
    ours = {way: Classifier(bundle, "cpu", way[1], runtime=way[0], threads=threads) for way in WAYS}
    prepared = [geometry([volume], timed.SPEC, k, k + 16).images for k in range(0, len(volume.voxels), 16)]
    ready = [intensity(images, timed.SPEC, "HU") for images in prepared]
    ways: dict[str, Callable[[], object]] = {
        "loop": lambda: torchvision_loop(network, volume),
        "openvino by hand": by_hand(bundle.onnx, ready, threads),
        **{" ".join(way): classifying(classifier, volume) for way, classifier in ours.items()},
    }
    taken = alternate(ways)
    rows: list[Row] = []
    for (runtime, precision), goal in WAYS.items():
        seconds = taken[f"{runtime} {precision}"]
        remark = f"goal {goal or 'none'}; {np.median(seconds):.2f} s against {np.median(taken['loop']):.2f} s"
        rows.append((f"whole CT, {runtime} {precision}, against the loop", "x", ratio(taken["loop"], seconds), remark))
    hand = ratio(taken["openvino float32"], taken["openvino by hand"])
    rows.append(("openvino float32 against the same by hand on ready tensors", "x", hand, "goal at most 1.1"))
    return rows + _equality(ours["torch", "float32"], ours["openvino", "float32"], network, volume)


def _equality(eager: Classifier, light: Classifier, network: Network, volume: Volume) -> list[Row]:
    result = eager.classify(replace(volume), evidence="none")
    stages = result.provenance["seconds"]
    other = sum(seconds for stage, seconds in stages.items() if stage != "forward")
    share = 100 * other / sum(stages.values())
    exact = our_preprocessing_slice_by_slice(network, volume)
    moved = [np.abs(c.classify(volume, evidence="none").slices.probabilities - exact).max() for c in (eager, light)]
    return [
        ("all stages but the forward, torch float32", "% of time", share, f"goal at most 7; {stages}"),
        ("all stages but the forward, torch float32", "ms/slice", 1e3 * other / 300, "goal at most 1.2"),
        ("|d softmax| to the same slice by slice, torch float32", "", float(moved[0]), "goal at most 1e-5"),
        ("|d softmax| to the same slice by slice, openvino float32", "", float(moved[1]), "goal at most 1e-5"),
    ]


def run_resize() -> list[Row]:
    image = timed.synthetic_ct(16).voxels.astype(np.float32)[:, None]

    def pillow() -> list[NDArray[np.float32]]:
        return [np.asarray(Image.fromarray(x[0]).resize((224, 224), Image.Resampling.BILINEAR)) for x in image]

    unit = (image - image.min()) / np.ptp(image)
    exact = [np.asarray(Image.fromarray(x[0]).resize((224, 224), Image.Resampling.BILINEAR)) for x in unit]
    difference = np.abs(resize(unit, 224, 224)[:, 0] - np.stack(exact)).max()
    taken = alternate({"pillow": pillow, "ours": lambda: resize(image, 224, 224)}, 9)
    remark = f"{1e3 * np.median(taken['ours']) / 16:.2f} ms a slice, 512 to 224"
    return [
        ("resize against Pillow mode F", "x", ratio(taken["pillow"], taken["ours"]), remark),
        ("|d resize| to Pillow mode F, of full scale", "", float(difference), "goal at most 1e-5"),
    ]


if __name__ == "__main__":
    show("Resize", run_resize())
    for count in (1, 2):
        show(f"Whole-CT classification, {count} thread{'s' * (count > 1)}", run(count))
