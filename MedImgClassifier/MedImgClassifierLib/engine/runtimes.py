"""What runs a network: one door `encode`, images in, features and maps out. Torch is the runtime so far; the scores
are made from the features in numpy (heads.py), on every runtime alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal
from .networks import build

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]


class Encoded(NamedTuple):
    """features [N, D] for the head; maps as the network's evidence method defines them, None where not asked for."""

    features: NDArray[np.float32]
    maps: NDArray[np.float32] | None


class Runtime(Protocol):
    """A loaded network."""

    name: str
    device: str
    precision: Precision

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        """images [N, C, H, W], preprocessed -> features and, where asked for, maps. Raises Refusal(RESOURCE_MEMORY)."""


class TorchRuntime:
    """Eager torch with batch norms folded into convolutions and channels-last memory."""

    name = "torch"

    def __init__(
        self,
        network: str,
        options: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        labels: int,
        channels: int,
        device: Device = "auto",
        precision: Precision = "float32",
    ) -> None:
        """weights: the network's whole state; names, shapes and kinds must fit exactly, else ValueError."""
        module = build(network, labels, channels, **options)
        import torch

        from .torch_networks import fuse_batch_norms

        state = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        _check_state(module.state_dict(), state)
        module.load_state_dict(state)
        self.device, self.precision = choose_device(device), precision
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        module = fuse_batch_norms(module.eval().requires_grad_(False))
        self._module = module.to(self.device, self._dtype).to(memory_format=torch.channels_last)

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        import torch

        try:
            with torch.inference_mode():
                x = torch.from_numpy(images).to(self.device, self._dtype, memory_format=torch.channels_last)
                features, spatial = self._module.encode(x, maps)
                return Encoded(_to_numpy(features), None if spatial is None else _to_numpy(spatial))
        except (RuntimeError, MemoryError) as full:
            # only CUDA has an exception of its own for this; the CPU and MPS allocators say it in words
            if isinstance(full, RuntimeError) and not re.search("out of memory|allocate memory", str(full)):
                raise
            raise Refusal("RESOURCE_MEMORY", device=self.device, reason=str(full).split("\n")[0]) from None


def choose_device(wanted: Device) -> str:
    """'auto' is CUDA, then Apple's MPS, then the CPU. Raises Refusal(USAGE_DEVICE_MISSING)."""
    present = available_devices()
    if wanted == "auto":
        return present[0]
    if wanted not in present:
        raise Refusal("USAGE_DEVICE_MISSING", device=wanted)
    return wanted


def available_devices() -> tuple[str, ...]:
    """Devices torch can compute on here, the preferred first; the CPU is always among them."""
    import torch

    present = []
    if torch.cuda.is_available():
        present.append("cuda")
    if torch.backends.mps.is_available():
        present.append("mps")
    return (*present, "cpu")


def _check_state(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> None:
    missing, extra = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or extra:
        raise ValueError(f"missing tensors {missing[:3]}, unexpected tensors {extra[:3]}")
    for name, tensor in expected.items():
        other = given[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            raise ValueError(f"'{name}' is {other.dtype} {list(other.shape)}, not {tensor.dtype} {list(tensor.shape)}")
        if other.is_floating_point() and not bool(other.isfinite().all()):
            raise ValueError(f"'{name}' holds values that are not finite")


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.float().contiguous().cpu().numpy())
