"""Torch as a runtime: eager, or compiled by torch.compile (which takes its time before the first answer)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal, first_line
from .networks import build
from .runtimes import Device, Encoded, Precision, RuntimeName

if TYPE_CHECKING:
    import torch


class TorchRuntime:
    """Batch norms folded into convolutions, channels-last memory; CPU, CUDA and Apple's MPS."""

    def __init__(
        self,
        network: str,
        options: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        labels: int,
        channels: int,
        device: Device = "auto",
        precision: Precision = "float32",
        compiled: bool = False,
        threads: int | None = None,
    ) -> None:
        """weights: the network's whole state; names, shapes and kinds must fit exactly, else ValueError."""
        module = build(network, labels, channels, **options)
        import torch

        from .torch_networks import fuse_batch_norms

        state = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        _check_state(module.state_dict(), state)
        module.load_state_dict(state)
        if threads:
            torch.set_num_threads(threads)
        # NVIDIA's default for convolutions rounds float32 to 10 bits, which the self-test would take for other answers
        torch.backends.cudnn.allow_tf32 = False
        self.name: RuntimeName = "torch-compile" if compiled else "torch"
        self.device = choose_device(device)
        self.precision: Precision = precision
        self._dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        module = fuse_batch_norms(module.eval().requires_grad_(False))
        self._module = module.to(self.device, self._dtype).to(memory_format=torch.channels_last)
        self._encode = torch.compile(self._module.encode, dynamic=True) if compiled else self._module.encode

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        import torch

        try:
            with torch.inference_mode():
                x = torch.from_numpy(images).to(self.device, self._dtype, memory_format=torch.channels_last)
                features, class_maps = self._encode(x, maps)
                return Encoded(_to_numpy(features), None if class_maps is None else _to_numpy(class_maps))
        except (RuntimeError, MemoryError) as full:
            # only CUDA has an exception of its own for this; the CPU and MPS allocators say it in words
            if isinstance(full, RuntimeError) and not re.search("out of memory|allocate memory", str(full)):
                raise
            raise Refusal("RESOURCE_MEMORY", device=self.device, reason=first_line(full)) from None


def choose_device(wanted: Device) -> Device:
    """'auto' is CUDA, then Apple's MPS, then the CPU. Raises Refusal(USAGE_DEVICE_MISSING)."""
    present = available_devices()
    if wanted == "auto":
        return present[0]
    if wanted not in present:
        raise Refusal("USAGE_DEVICE_MISSING", device=wanted, reason=f"torch sees {', '.join(present)}")
    return wanted


def available_devices() -> tuple[Device, ...]:
    """Devices torch can compute on here, the preferred first; the CPU is always among them."""
    import torch

    present: list[Device] = []
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
