"""ONNX Runtime as a runtime: what the plain install brings. CPU everywhere, and what its other builds can use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal, first_line
from .processor import has_int8_dot_product
from .runtimes import Device, Encoded, Precision, RuntimeName, RuntimeUnusable

if TYPE_CHECKING:
    import onnxruntime

PROVIDERS: dict[Device, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}


class OnnxRuntime:
    """A graph that onnx_graph.check has passed, in a session of ONNX Runtime."""

    name: RuntimeName = "onnxruntime"

    def __init__(
        self, graph: bytes, device: Device = "cpu", precision: Precision = "float32", threads: int | None = None
    ) -> None:
        """graph: the float32 form, or the int8 form for that precision. threads: of the CPU, all of them if not given.

        Raises RuntimeUnusable: no such provider in this build, or a processor without int8 dot products.
        """
        import onnxruntime

        if precision == "int8" and not has_int8_dot_product():
            raise RuntimeUnusable("needs a processor with int8 dot products (VNNI) for int8")
        provider = PROVIDERS.get(device, "")
        if provider not in onnxruntime.get_available_providers():
            raise RuntimeUnusable(f"as installed here cannot use the device {device}")
        self.device = device
        self.precision: Precision = precision
        self._session = _session(onnxruntime, graph, provider, threads)
        if provider not in self._session.get_providers():  # it falls back to the CPU without a word
            raise RuntimeUnusable(f"could not start its {provider}")
        self._features_only = onnxruntime.RunOptions()
        self._features_only.only_execute_path_to_fetches = True
        self._has_maps = "class_maps" in {output.name for output in self._session.get_outputs()}

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        names = ["features", "class_maps"] if maps and self._has_maps else ["features"]
        try:
            found: list[Any] = self._session.run(names, {"images": images}, self._features_only)
        except MemoryError as full:
            raise Refusal("RESOURCE_MEMORY", device=self.device, reason=str(full)) from None
        except Exception as failed:  # its exceptions have no common ancestor
            if not re.search("allocate memory|bad_alloc|bad allocation|out of memory", str(failed)):
                raise
            raise Refusal("RESOURCE_MEMORY", device=self.device, reason=first_line(failed)) from None
        return Encoded(found[0], found[1] if len(found) > 1 else None)


def _session(ort: Any, graph: bytes, provider: str, threads: int | None) -> onnxruntime.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its warnings go past Python to stderr; what matters is raised
    if threads:
        options.intra_op_num_threads = threads
    if provider == PROVIDERS["directml"]:  # asked for by that provider
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    wanted = [provider] if provider == PROVIDERS["cpu"] else [provider, PROVIDERS["cpu"]]
    return ort.InferenceSession(graph, options, providers=wanted)
