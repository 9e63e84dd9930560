"""The self-test of a bundle: inputs with the answers its maker got, replayed wherever a Classifier is made.

It tells whether preprocessing, runtime and head do here what they did there. The inputs are made up (smooth shapes
in noise), so that no bundle carries a patient's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .bundle_weights import Tensors
from .errors import Refusal
from .first_order import NETWORK as FIRST_ORDER
from .first_order import FirstOrderRuntime
from .heads import Head, LinearHead
from .networks import ENCODERS
from .preprocess import InputSpec, geometry, intensity
from .runtimes import Runtime
from .torch_runtime import TorchRuntime
from .trust import probabilities
from .volume import Volume

INPUT_TOLERANCE = 1e-5
# In float32, for probabilities near 0 and 1 show nothing: times max(1, largest |logit|), times the largest |class map|.
LOGIT_TOLERANCE = MAP_TOLERANCE = FEATURE_TOLERANCE = 1e-3
PROBABILITY_TOLERANCE = 1e-3  # so a class that leads by more than 2e-3 stays the same

SLICES = 3


class OtherAnswers(Exception):
    """A runtime answers the self-test otherwise than the maker's did; the text says by how much."""


def make(spec: InputSpec, runtime: Runtime, head: Head, units: str) -> dict[str, NDArray[Any]]:
    """Inputs and expected results: voxels int16 [C, K, J, I], inputs, logits, and class maps, or features where maps
    would not explain the head's answer (Bundle.own_evidence). C: the network's channels."""
    colour = [channel.is_colour for channel in spec.channels for _ in range(channel.planes)]
    voxels = np.stack([_phantom(seed, is_colour) for seed, is_colour in enumerate(colour)])
    inputs = _inputs(voxels, spec, units)
    features, maps = runtime.encode(inputs, maps=isinstance(head, LinearHead))
    logits = head.decide(features).astype(np.float32)
    made: dict[str, NDArray[Any]] = {"voxels": voxels, "inputs": inputs, "logits": logits}
    if maps is None:
        return made | {"features": np.ascontiguousarray(features)}
    return made | {"maps": np.ascontiguousarray(maps)}


def of_network(
    spec: InputSpec,
    network: str,
    options: Mapping[str, Any],
    weights: Tensors,
    units: str,
    head: Head | None = None,
) -> dict[str, NDArray[Any]]:
    """`make` with the network of some weights, on the CPU in float32: what a bundle's writer needs. head: as of
    bundle.write."""
    name = ENCODERS[network].head
    decides = head or LinearHead(weights[f"{name}.weight"], weights[f"{name}.bias"])
    if network == FIRST_ORDER:
        return make(spec, FirstOrderRuntime(), decides, units)
    runtime = TorchRuntime(network, options, weights, decides.labels, spec.network_channels, device="cpu")
    return make(spec, runtime, decides, units)


def reduced_key(runtime: Runtime) -> str:
    """Name of the tensor that holds the maker's own logits on a runtime in a reduced precision."""
    return f"logits.{runtime.name.removesuffix('-compile')}.{runtime.precision}"


def replay(bundle: Bundle, runtime: Runtime) -> float:
    """Largest difference in probability from the maker's answers, which in a reduced precision are the maker's own
    in that precision.

    Raises OtherAnswers: a probability moved by more than 1e-3 (so no class that led by more than 2e-3 changed), or in
    float32 a logit or a class map moved by more than a thousandth of the largest. Without class maps the features are
    held to that, and the head decides on the maker's: a tree, or the rank of a neighbour, may turn on the last digit.
    Raises Refusal(BUNDLE_SELFTEST): preprocessing makes other inputs here, or the tensors do not fit.
    """
    expected: Tensors = bundle.selftest
    try:
        inputs = _inputs(expected["voxels"], bundle.spec, bundle.manifest["selftest"]["units"])
        off = float(np.abs(inputs - expected["inputs"]).max())
        if not off <= INPUT_TOLERANCE:
            raise Refusal("BUNDLE_SELFTEST", path=bundle.path, reason=f"|d input| {off:.2g}")
        answers = expected["logits" if runtime.precision == "float32" else reduced_key(runtime)]
        if answers.shape != (len(inputs), len(bundle.labels)):
            raise ValueError(f"answers of shape {list(answers.shape)}")
        if bundle.own_evidence:
            _check_shape(expected["maps"].shape[:2], answers.shape)
        else:
            _check_shape(expected["features"].shape, (len(inputs), bundle.head.features))
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError) as wrong:  # tensors of other shapes
        raise Refusal("BUNDLE_SELFTEST", path=bundle.path, reason=f"it cannot be replayed: {wrong}") from None
    features, maps = runtime.encode(inputs, maps=bundle.own_evidence)
    if runtime.precision == "float32" and not bundle.own_evidence:
        _check_same("feature", features, expected["features"], FEATURE_TOLERANCE)
        features = expected["features"]
    logits = bundle.head.decide(features)
    if runtime.precision == "float32":
        _check_same("logit", logits, answers, LOGIT_TOLERANCE, least=1.0)
        if maps is not None:
            _check_same("class map", maps, expected["maps"], MAP_TOLERANCE)
    ours, theirs = probabilities(logits), probabilities(answers.astype(np.float64))
    moved = float(np.abs(ours - theirs).max())
    if not moved <= PROBABILITY_TOLERANCE:
        raise OtherAnswers(f"|d probability| {moved:.2g}")
    return moved


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if shape != wanted:
        raise ValueError(f"answers of shape {list(shape)}, not {list(wanted)}")


def _check_same(what: str, ours: Any, theirs: Any, tolerance: float, least: float = 0.0) -> None:
    """Raises OtherAnswers where they differ by more than the tolerance times the largest value, or times `least`."""
    off = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf
    if not off <= tolerance * max(least, float(np.abs(theirs).max())):
        raise OtherAnswers(f"|d {what}| {off:.2g}")


def _inputs(voxels: NDArray[np.int16], spec: InputSpec, units: str) -> NDArray[np.float32]:
    if len(voxels) != spec.network_channels:
        raise ValueError(f"{len(voxels)} planes, not {spec.network_channels}")
    volumes, at = [], 0
    for channel in spec.channels:
        planes = voxels[at : at + channel.planes]
        at += channel.planes
        if channel.is_colour:
            volumes.append(Volume.from_matrix(np.moveaxis(planes, 0, 3), np.eye(4), units="RGB"))
        else:
            volumes.append(Volume.from_matrix(planes[0], np.eye(4), units=units))
    prepared = geometry(volumes, spec)
    return intensity(prepared.images, spec, prepared.units)


def _phantom(seed: int, is_colour: bool = False) -> NDArray[np.int16]:
    """[3, 96, 80] int16: ellipses of soft tissue and bone in air with noise, in HU or any other unit; as one plane of a
    colour image the same from 0 to 255."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[-1:1:96j, -1:1:80j]
    slices = []
    for _ in range(SLICES):
        image = np.full(down.shape, -1000.0)
        for value in (40, 300, -100, 60, 800):
            y, x, height, width = *rng.uniform(-0.3, 0.3, 2), *rng.uniform(0.15, 0.8, 2)
            image[((down - y) / height) ** 2 + ((across - x) / width) ** 2 < 1] = value
        slices.append(image + rng.normal(0, 15, image.shape))
    values = np.array(slices)
    return np.round(np.clip((values + 1000) / 8, 0, 255) if is_colour else values).astype(np.int16)
