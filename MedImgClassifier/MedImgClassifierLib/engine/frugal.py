"""A runtime that goes on where memory is short: in smaller parts, and at last on the CPU. The result says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal
from .findings import Finding
from .runtimes import Device, Encoded, Precision, Runtime, RuntimeName


class FrugalRuntime:
    """Stands before a runtime for one case. A batch that does not fit is halved until it does; what still does not
    fit as a single slice goes on on the CPU, where that is allowed.

    on_cpu: makes the runtime for that (it may raise Refusal), None where the device was asked for by name.
    """

    def __init__(self, runtime: Runtime, on_cpu: Callable[[], Runtime] | None) -> None:
        self._runtime, self._on_cpu = runtime, on_cpu
        self._part: int | None = None  # slices at a time; None: as they come
        self._full_device: Device | None = None

    @property
    def name(self) -> RuntimeName:
        return self._runtime.name

    @property
    def device(self) -> Device:
        return self._runtime.device

    @property
    def precision(self) -> Precision:
        return self._runtime.precision

    @property
    def findings(self) -> list[Finding]:
        """What had to be done, once all batches are through."""
        said = []
        if self._full_device is not None:
            said.append(Finding.of("MEMORY_FULL", "info", device=self._full_device, runtime=self.name))
        if self._part is not None:
            said.append(Finding.of("MEMORY_SHORT", "info", slices=self._part, device=self.device))
        return said

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        """As Runtime.encode. Raises Refusal(RESOURCE_MEMORY) where not even a single slice fits."""
        while True:
            step = self._part or len(images)
            try:
                parts = [self._runtime.encode(images[n : n + step], maps) for n in range(0, len(images), step)]
            except Refusal as full:
                if full.code != "RESOURCE_MEMORY":
                    raise
                self._give_way(min(step, len(images)), full)
                continue
            if len(parts) == 1:
                return parts[0]
            class_maps = [part.class_maps for part in parts if part.class_maps is not None]
            features = np.concatenate([part.features for part in parts])
            return Encoded(features, np.concatenate(class_maps) if class_maps else None)

    def _give_way(self, step: int, full: Refusal) -> None:
        if step > 1:
            self._part = step // 2
        elif self.device != "cpu" and self._on_cpu is not None:
            self._full_device, self._part = self.device, None
            try:
                self._runtime = self._on_cpu()
            except Refusal:
                raise full from None
        else:
            raise full
