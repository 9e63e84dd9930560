"""OpenVINO as a runtime: the fastest on an x86 CPU, and the only light one that computes in bfloat16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal, first_line
from .processor import has_int8_dot_product
from .runtimes import Device, Encoded, Precision, RuntimeName, RuntimeUnusable

# Never left to its default, which is bfloat16 wherever the processor has it.
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


class OpenVinoRuntime:
    """A graph that onnx_graph.check has passed, compiled for the CPU."""

    name: RuntimeName = "openvino"
    device: Device = "cpu"

    def __init__(self, graph: bytes, precision: Precision = "float32", threads: int | None = None) -> None:
        """graph: the float32 form (bfloat16 too), or the int8 form, the rest of which is computed in float32.

        Raises RuntimeUnusable: a processor without bfloat16 or int8 dot products.
        """
        import openvino

        core = openvino.Core()
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise RuntimeUnusable("needs a processor with bfloat16 for that precision")
        if precision == "int8" and not has_int8_dot_product():
            raise RuntimeUnusable("needs a processor with int8 dot products (VNNI) for int8")
        self.precision: Precision = precision
        settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._model = core.compile_model(core.read_model(graph), "CPU", settings)
        self._outputs = {port.any_name: port for port in self._model.outputs}

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        try:
            found = self._model([images])
        except (RuntimeError, MemoryError) as full:
            if isinstance(full, RuntimeError) and "alloc" not in str(full):
                raise
            raise Refusal("RESOURCE_MEMORY", device=self.device, reason=first_line(full)) from None
        spatial = self._outputs.get("class_maps") if maps else None
        class_maps = None if spatial is None else np.asarray(found[spatial])
        return Encoded(np.asarray(found[self._outputs["features"]]), class_maps)
