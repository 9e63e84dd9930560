"""Which runtime a bundle runs on here, on which device, and why.

'auto' asks, in this order: a GPU of NVIDIA, AMD or Apple, in torch or ONNX Runtime; on the CPU OpenVINO, ONNX Runtime,
torch. One that is not installed, does not work, has missed in the bundle's agreement record, or whose replay of the
self-test gives other answers here is passed over, with the reason kept. Nothing is remembered: every start replays.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from . import selftest
from .bundle import Bundle
from .errors import Refusal, first_line
from .first_order import FirstOrderRuntime
from .networks import REGISTRY
from .runtimes import COMPUTES_IN, EXTRA, LIBRARY, PRECISIONS, Device, Precision, Runtime, RuntimeName, RuntimeUnusable

# In the order in which they are tried.
_ON_DEVICE: dict[str, tuple[RuntimeName, ...]] = {
    "cpu": ("openvino", "onnxruntime", "torch"),
    "cuda": ("torch", "onnxruntime"),
    "mps": ("torch",),
    "directml": ("onnxruntime",),
    "coreml": ("onnxruntime",),
}
# What NVIDIA's driver leaves on Linux, in WSL and on Windows, and AMD's, which torch calls cuda as well.
_CUDA_TRACES = ("/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1", "${SystemRoot}\\System32\\nvcuda.dll", "/dev/kfd")

PassedOver = list[tuple[RuntimeName, Device, RuntimeUnusable]]


class Choice(NamedTuple):
    """runtime: loaded, self-test passed; difference: its largest |d probability| there; why: a sentence."""

    runtime: Runtime
    difference: float
    why: str


class _Miss(RuntimeUnusable):
    """A runtime that works and gives other answers."""


class _NotOffered(RuntimeUnusable):
    """A precision that the bundle does not offer there."""


def choose(
    bundle: Bundle,
    runtime: str = "auto",
    device: Device = "auto",
    precision: Precision = "float32",
    threads: int | None = None,
) -> Choice:
    """The first candidate that loads and gives the maker's answers. runtime: 'auto' or a RuntimeName. threads: of the
    CPU, at most as many as it has processors, for runtimes that have more wait for each other without end.

    Raises Refusal: USAGE_RUNTIME (it was named and cannot run this bundle here), RESOURCE_NO_RUNTIME (none can),
    USAGE_DEVICE_MISSING, USAGE_PRECISION_REFUSED, BUNDLE_SELFTEST (every runtime here gives other answers),
    BUNDLE_WEIGHTS, RESOURCE_MISSING_LIBRARY (no runtime is installed that can run it).
    """
    passed_over: PassedOver = []
    threads = threads and min(threads, os.cpu_count() or threads)
    for name, on in _candidates_of(bundle, runtime, device):
        try:
            loaded = load(bundle, name, on, precision, threads)
            difference = check(bundle, loaded)
        except RuntimeUnusable as reason:
            passed_over.append((name, on, reason))
            continue
        why = _why(runtime, device, loaded, passed_over)
        if runtime == "auto" and name == "torch" and _needs_torch(bundle):
            why += "; torch is tried first, for this network's evidence needs it"
        return Choice(loaded, difference, why)
    raise _none_left(bundle, runtime, device, precision, passed_over)


def candidates(
    runtime: str = "auto", device: Device = "auto", needs_torch: bool = False
) -> Iterator[tuple[RuntimeName, Device]]:
    """(runtime, device) in the order in which they are tried; torch first where the evidence needs it."""
    if device == "auto":
        devices: list[Device] = [*gpu_drivers(), "cpu"]
    else:
        devices = [device]
    for on in devices:
        for name in sorted(_ON_DEVICE[on], key=lambda name: needs_torch and name != "torch"):
            if runtime in ("auto", name):
                yield name, on
        if runtime == "torch-compile" and "torch" in _ON_DEVICE[on]:
            yield "torch-compile", on


def _candidates_of(bundle: Bundle, runtime: str, device: Device) -> Iterator[tuple[RuntimeName, Device]]:
    """`candidates`; numpy where the bundle holds no network and none that runs networks was asked for."""
    if runtime == "auto" and bundle.network not in REGISTRY:
        yield "numpy", "cpu" if device == "auto" else device
    else:
        yield from candidates(runtime, device, _needs_torch(bundle))


def _needs_torch(bundle: Bundle) -> bool:
    return bundle.own_evidence and bundle.network_info.evidence == "last_block"


class Trial(NamedTuple):
    """One runtime tried with a bundle. difference: largest |d probability|, None where `reason` says why not."""

    runtime: RuntimeName
    device: Device
    precision: Precision
    difference: float | None
    reason: str


def try_all(bundle: Bundle) -> Iterator[Trial]:
    """Every runtime, device and precision of this computer, whether 'auto' would take it or not; torch.compile, which
    takes its time, excepted."""
    if bundle.network not in REGISTRY:
        yield _tried(bundle, "numpy", "cpu", "float32")
        return
    devices: dict[Device, None] = dict.fromkeys([*gpu_drivers(), "cpu"])
    with suppress(Exception, SystemExit):  # trying it says so
        devices = dict.fromkeys([*gpu_drivers(), *onnx_devices()])
    for precision in PRECISIONS:
        for device in devices:
            for runtime in _ON_DEVICE[device]:
                if precision not in COMPUTES_IN[runtime]:
                    continue
                yield _tried(bundle, runtime, device, precision)


def _tried(bundle: Bundle, runtime: RuntimeName, device: Device, precision: Precision) -> Trial:
    try:
        difference = check(bundle, load(bundle, runtime, device, precision))
    except RuntimeUnusable as reason:
        return Trial(runtime, device, precision, None, str(reason))
    return Trial(runtime, device, precision, difference, "")


def onnx_devices() -> list[Device]:
    """Devices of the ONNX Runtime that is installed, the CPU last. Raises ImportError where it does not load."""
    import onnxruntime

    from .onnx_runtime import PROVIDERS

    present = set(onnxruntime.get_available_providers())
    return sorted((device for device, name in PROVIDERS.items() if name in present), key=lambda d: d == "cpu")


def gpu_drivers() -> list[Device]:
    """Devices beside the CPU whose driver is there, found without loading a runtime (torch takes seconds)."""
    if sys.platform == "darwin":
        return ["mps"] if platform.machine() == "arm64" else []
    return ["cuda"] if any(os.path.exists(os.path.expandvars(trace)) for trace in _CUDA_TRACES) else []


def installed(runtime: RuntimeName) -> bool:
    """Whether the runtime's library is there (it may still be broken)."""
    return importlib.util.find_spec(LIBRARY[runtime]) is not None


def load(
    bundle: Bundle, runtime: RuntimeName, device: Device, precision: Precision, threads: int | None = None
) -> Runtime:
    """A runtime with the bundle's network, not yet checked against the self-test.

    Raises RuntimeUnusable; Refusal(BUNDLE_WEIGHTS) where torch finds other tensors than the network's.
    """
    if not installed(runtime):
        raise RuntimeUnusable("is not installed")
    obstacle = _obstacle(bundle, runtime, device, precision)
    if obstacle:
        raise obstacle
    try:
        return _opened(bundle, runtime, device, precision, threads)
    except (Refusal, RuntimeUnusable, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as broken:  # a library that is damaged or of another build shows as anything
        raise RuntimeUnusable(f"does not work here ({_line(broken)})") from broken


def _opened(bundle: Bundle, runtime: RuntimeName, device: Device, precision: Precision, threads: int | None) -> Runtime:
    if runtime in ("torch", "torch-compile"):
        return _torch(bundle, device, precision, runtime == "torch-compile", threads)
    if runtime == "numpy":
        return FirstOrderRuntime()
    graph = bundle.onnx_int8 if precision == "int8" else bundle.onnx
    assert graph is not None, "_obstacle has seen to it"
    if runtime == "openvino":
        from .openvino_runtime import OpenVinoRuntime

        return OpenVinoRuntime(graph, precision, threads)
    from .onnx_runtime import OnnxRuntime

    return OnnxRuntime(graph, device, precision, threads)


def check(bundle: Bundle, runtime: Runtime) -> float:
    """Replay the self-test; largest |d probability|. Raises RuntimeUnusable where the answers are others."""
    try:
        return selftest.replay(bundle, runtime)
    except selftest.OtherAnswers as miss:
        raise _Miss(f"gives other answers in the self-test here ({miss})") from None
    except (Refusal, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as broken:
        raise RuntimeUnusable(f"does not work here ({_line(broken)})") from broken


def _obstacle(bundle: Bundle, runtime: RuntimeName, device: Device, precision: Precision) -> RuntimeUnusable | None:
    """What the bundle itself says against a runtime: it lacks the form, or its agreement record does."""
    if runtime != "numpy" and bundle.network not in REGISTRY:
        return RuntimeUnusable(f"runs networks, and '{bundle.network}' is none: numpy computes it")
    if runtime == "numpy" and device != "cpu":
        return RuntimeUnusable("computes on the CPU only")
    if precision not in COMPUTES_IN[runtime]:
        return _NotOffered(f"does not compute in {precision}")
    graph = bundle.onnx_int8 if precision == "int8" else bundle.onnx
    eager = "torch" if runtime == "torch-compile" else runtime
    record: dict[str, Any] = bundle.manifest.get("agreement") or {"parity": [], "reduced": []}
    here = {"runtime": eager, "device": device}
    if precision != "float32":
        entries = [e for e in record["reduced"] if e.items() >= {**here, "precision": precision}.items()]
        if not any(entry["offered"] for entry in entries):
            reason = entries[0]["reason"] if entries else "the bundle's agreement record does not have it"
            return _NotOffered(f"is not offered in {precision}: {reason}")
    elif any(e.items() >= {**here, "passed": False}.items() for e in record["parity"]):
        return RuntimeUnusable("missed parity with torch when the bundle was made")
    if eager not in ("torch", "numpy") and graph is None:
        return RuntimeUnusable("needs the ONNX form, which this bundle has not (`medimg export` makes it)")
    return None


def _torch(bundle: Bundle, device: Device, precision: Precision, compiled: bool, threads: int | None) -> Runtime:
    from .torch_runtime import TorchRuntime, available_devices

    if device not in available_devices():
        raise RuntimeUnusable(f"sees no device {device}")
    labels, channels = len(bundle.labels), bundle.spec.network_channels
    network, options = bundle.network, bundle.network_options
    try:
        return TorchRuntime(network, options, bundle.weights, labels, channels, device, precision, compiled, threads)
    except (TypeError, ValueError, KeyError) as wrong:
        raise Refusal("BUNDLE_WEIGHTS", path=bundle.path, network=network, reason=wrong) from None
    except Refusal as missing:  # torchvision
        raise RuntimeUnusable(f"lacks {missing.facts['library']}, which is not installed") from None


def _line(error: BaseException) -> str:
    first = first_line(error)
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _why(wish: str, device: Device, chosen: Runtime, passed_over: PassedOver) -> str:
    if wish != "auto":
        return f"{chosen.name} on {chosen.device}, as asked for"
    before = [f"{name} on {on} {reason}" for name, on, reason in passed_over]
    if device == "auto" and chosen.device == "cpu" and not gpu_drivers():
        before.insert(0, "there is no GPU driver")
    return "; ".join([f"{chosen.name} on {chosen.device} is the first that can run it", *before])


def _none_left(bundle: Bundle, wish: str, device: Device, precision: Precision, passed_over: PassedOver) -> Refusal:
    """The refusal that helps most: what to install, which wish to drop, or that the bundle gives other answers."""
    reasons = "; ".join(f"{name} on {on} {reason}" for name, on, reason in passed_over)
    kinds = {type(reason) for _, _, reason in passed_over}
    absent = [name for name, _, _ in passed_over if not installed(name)]
    if _Miss in kinds and precision == "float32":
        return Refusal("BUNDLE_SELFTEST", path=bundle.path, reason=reasons)
    if precision != "float32" and kinds & {_Miss, _NotOffered}:
        return Refusal("USAGE_PRECISION_REFUSED", precision=precision, bundle=bundle.id, reason=reasons)
    if device not in ("auto", "cpu") and wish == "auto":
        return Refusal("USAGE_DEVICE_MISSING", device=device, reason=reasons)
    if absent and (wish != "auto" or len(absent) == len(passed_over)):
        wanted: RuntimeName = absent[0] if wish != "auto" else ("torch" if bundle.onnx is None else "onnxruntime")
        return missing_library(wanted)
    reasons = reasons or f"{wish} does not run on the device {device}"
    if wish == "auto":
        return Refusal("RESOURCE_NO_RUNTIME", bundle=bundle.id, reason=reasons)
    return Refusal("USAGE_RUNTIME", runtime=wish, bundle=bundle.id, reason=reasons)


def missing_library(runtime: RuntimeName) -> Refusal:
    wanted = f"medimgclassifier[{EXTRA[runtime]}]" if EXTRA[runtime] else "medimgclassifier"
    facts = {"library": LIBRARY[runtime], "purpose": f"the runtime {runtime}", "command": f"pip install '{wanted}'"}
    return Refusal("RESOURCE_MISSING_LIBRARY", **facts)
