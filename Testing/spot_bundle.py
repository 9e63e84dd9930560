"""A bundle made by hand whose answer is known: class 'bright' where a slice has a bright spot, evidence on the spot.

A narrow ResNet whose convolutions pass the image through one channel: the last map is the image averaged over cells,
so that the evidence for 'bright' peaks in the cell that holds the brightest place. Tests follow it through the
results, the scene and the pictures. It lies ready in Testing/data, so that no test needs torch for it;
`python Testing/spot_bundle.py` makes it again, which needs torch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.bundle_weights import Tensors
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Orient, Pad, Resize, Window
from MedImgClassifierLib.engine.result import Code, Label
from MedImgClassifierLib.engine.volume import Volume

LABELS = (Label("dark"), Label("bright", Code("99TEST", "1", "Bright spot")))
SPEC = InputSpec((ChannelSpec("image"),), (Orient(), Pad(), Resize(64, 64)), (Window(500, 1000),))
OPTIONS = {"widths": [4, 4, 4, 4], "blocks": [1, 1, 1, 1]}
CELL_PIXELS = 8  # of the 64 x 64 input

MADE = Path(__file__).parent / "data" / "bright-spot"

STACKS = ("axial", "sagittal", "coronal", "oblique", "flipped", "tilted")


def write(folder: Path, **changes: object) -> Path:
    """Write the bundle to `folder`; changes: manifest keys to set otherwise."""
    made = bundle.load(MADE)
    return _write(folder, made.weights, made.selftest, made.onnx, **changes)


def make(folder: Path) -> Path:
    """Make the bundle from nothing, with torch and its export to ONNX."""
    import torch

    from medimg_training.onnx_export import to_onnx
    from MedImgClassifierLib.engine import selftest
    from MedImgClassifierLib.engine.networks import build

    network = build("narrow_resnet", len(LABELS), 1, **OPTIONS)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.zero_()
            if name.endswith("1.weight"):  # batch norms pass their input on
                parameter.fill_(1)
        network.body[0][0].weight[0, 0, 1, 1] = 1  # the stem lets the image into channel 0, shortcuts keep it
        network.head.weight[1, 0] = 1000
        network.head.bias[0] = 1
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    graph = to_onnx("narrow_resnet", OPTIONS, weights, len(LABELS), 1, 64, 64)
    return _write(folder, weights, selftest.of_network(SPEC, "narrow_resnet", OPTIONS, weights, "arbitrary"), graph)


def _write(folder: Path, weights: Tensors, answers: Tensors, graph: bytes | None, **changes: object) -> Path:
    identity = {
        "id": folder.name,
        "version": "1.0.0",
        "title": "Bright spot",
        "intended_use": "Tests.",
        "out_of_scope": ["anything else"],
        "licence": "Apache-2.0",
        "credits": [],
        "known_limits": [],
    }
    return bundle.write(
        folder,
        identity={**identity, **changes},
        labels=LABELS,
        spec=SPEC,
        network="narrow_resnet",
        network_options=OPTIONS,
        weights=weights,
        selftest=answers,
        selftest_units="arbitrary",
        card="# Bright spot\n",
        training={},
        evaluation=[],
        onnx=graph,
    )


def stack_with_spot(kind: str) -> tuple[Volume, np.ndarray, int]:
    """A volume of one of STACKS with one bright spot: (volume, the spot's LPS place [3], its slice)."""
    rows, columns, count = 90, 120, 9
    spacing, step = (1.5, 1.2), 4.0
    axes = {
        "axial": ((1, 0, 0), (0, 1, 0)),
        "sagittal": ((0, 1, 0), (0, 0, -1)),
        "coronal": ((1, 0, 0), (0, 0, -1)),
        "oblique": (_unit((1, 0.3, 0.1)), _unit((-0.3, 1, 0.4))),
        "flipped": ((-1, 0, 0), (0, 1, 0)),
        "tilted": ((1, 0, 0), _unit((0, 1, -0.3))),
    }[kind]
    across = np.array(axes[0], float)
    down = np.array(axes[1], float)
    down = _unit(down - across * (across @ down))
    normal = np.cross(across, down)
    positions = np.arange(count) * step
    if kind == "tilted":
        positions = np.concatenate([np.arange(5) * 3.0, 12 + np.arange(1, 5) * 6.0])
        steps = positions[:, None] * np.array([0.0, 0.0, 1.0]) / normal[2]
    else:
        steps = positions[:, None] * normal
    origins = np.array([-80.0, -60.0, 10.0]) + steps
    k, j, i = 6, 25, 84
    voxels = np.zeros((count, rows, columns), np.int16)
    voxels[k, j - 4 : j + 5, i - 4 : i + 5] = 1000
    volume = Volume(voxels, across, down, spacing, origins, modality="MR")
    place = volume.slice_to_lps(k) @ np.array([i, j, 1.0])
    return volume, place, k


def cell_size_mm(volume: Volume) -> float:
    """Edge of one network cell in the patient."""
    rows, columns = volume.voxels.shape[1:]
    return max(rows, columns) * max(volume.spacing_mm) / 64 * CELL_PIXELS


def _unit(vector: tuple[float, ...] | np.ndarray) -> np.ndarray:
    return np.asarray(vector, float) / np.linalg.norm(vector)


if __name__ == "__main__":
    print(f"wrote {make(MADE)}")
