"""The self-test of a bundle: inputs with the answers its maker got, replayed wherever a Classifier is made.

It tells whether preprocessing, runtime and head do here what they did there. The inputs are made up (smooth shapes
in noise), so that no bundle carries a patient's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, Tensors
from .errors import Refusal
from .evidence import class_maps
from .heads import LinearHead
from .networks import REGISTRY, NetworkInfo
from .preprocess import InputSpec, geometry, intensity
from .runtimes import Precision, Runtime, TorchRuntime
from .trust import probabilities
from .volume import Volume

INPUT_TOLERANCE = 1e-5
LOGIT_TOLERANCE = 1e-3  # times max(1, largest |logit|), in float32 on any device
PROBABILITY_TOLERANCE = 0.02  # in reduced precision, which must also keep every class that leads by more than this

SLICES = 3


def make(spec: InputSpec, runtime: Runtime, head: LinearHead, network: NetworkInfo, units: str) -> dict[str, NDArray]:  # type: ignore[type-arg]
    """Inputs and expected results: voxels int16 [C, K, J, I], inputs, logits, class maps."""
    voxels = np.stack([_phantom(seed) for seed in range(len(spec.channels))])
    inputs = _inputs(voxels, spec, units)
    encoded = runtime.encode(inputs, maps=True)
    assert encoded.maps is not None
    return {
        "voxels": voxels,
        "inputs": inputs,
        "logits": head.decide(encoded.features).astype(np.float32),
        "maps": np.ascontiguousarray(class_maps(network.evidence, encoded.maps, head)),
    }


def of_network(
    spec: InputSpec, network: str, options: Mapping[str, Any], weights: Tensors, units: str
) -> dict[str, NDArray[Any]]:
    """`make` with the network of some weights, on the CPU in float32: what a bundle's writer needs."""
    info = REGISTRY[network]
    head = LinearHead(weights[f"{info.head}.weight"], weights[f"{info.head}.bias"])
    runtime = TorchRuntime(network, options, weights, len(head.bias), len(spec.channels), device="cpu")
    return make(spec, runtime, head, info, units)


def replay(bundle: Bundle, runtime: Runtime) -> float:
    """Largest difference in probability from the maker's answers.

    Raises Refusal: BUNDLE_SELFTEST (other inputs, or other logits in float32), USAGE_PRECISION_REFUSED (reduced
    precision that moves a probability by more than 0.02 or changes a class).
    """
    expected: Tensors = bundle.selftest
    try:
        inputs = _inputs(expected["voxels"], bundle.spec, bundle.manifest["selftest"]["units"])
        off = float(np.abs(inputs - expected["inputs"]).max())
        if not off <= INPUT_TOLERANCE:
            raise Refusal("BUNDLE_SELFTEST", path=bundle.path, reason=f"|d input| {off:.2g}")
        logits = bundle.head.decide(runtime.encode(inputs, maps=False).features)
        difference = np.abs(logits - expected["logits"])
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as wrong:  # tensors of other shapes
        raise Refusal("BUNDLE_SELFTEST", path=bundle.path, reason=f"it cannot be replayed: {wrong}") from None
    ours, theirs = probabilities(logits), probabilities(expected["logits"].astype(np.float64))
    moved = float(np.abs(ours - theirs).max())
    if runtime.precision == "float32":
        allowed = LOGIT_TOLERANCE * max(1.0, float(np.abs(expected["logits"]).max()))
        if not float(difference.max()) <= allowed:
            raise Refusal("BUNDLE_SELFTEST", path=bundle.path, reason=f"|d logit| {difference.max():.2g}")
    elif not (moved <= PROBABILITY_TOLERANCE and _same_class(ours, theirs)):
        raise precision_refusal(runtime.precision, runtime.device, moved)
    return moved


def precision_refusal(precision: Precision, device: str, difference: float) -> Refusal:
    return Refusal(
        "USAGE_PRECISION_REFUSED",
        precision=precision,
        device=device,
        difference=difference,
        allowed=PROBABILITY_TOLERANCE,
    )


def _same_class(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    ordered = np.sort(theirs, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > PROBABILITY_TOLERANCE
    return bool((ours.argmax(1) == theirs.argmax(1))[clear].all())


def _inputs(voxels: NDArray[np.int16], spec: InputSpec, units: str) -> NDArray[np.float32]:
    volumes = [Volume.from_matrix(channel, np.eye(4), units=units) for channel in voxels]
    return intensity(geometry(volumes, spec).images, spec, units)


def _phantom(seed: int) -> NDArray[np.int16]:
    """[3, 96, 80] int16: ellipses of soft tissue and bone in air with noise, in HU or any other unit."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[-1:1:96j, -1:1:80j]
    slices = []
    for _ in range(SLICES):
        image = np.full(down.shape, -1000.0)
        for value in (40, 300, -100, 60, 800):
            y, x, height, width = *rng.uniform(-0.3, 0.3, 2), *rng.uniform(0.15, 0.8, 2)
            image[((down - y) / height) ** 2 + ((across - x) / width) ** 2 < 1] = value
        slices.append(image + rng.normal(0, 15, image.shape))
    return np.round(slices).astype(np.int16)
