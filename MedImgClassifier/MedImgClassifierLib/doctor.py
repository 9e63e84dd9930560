"""`medimg doctor`: what is installed, which runtime would compute and why, and what is missing for what.

Inside Slicer: `PythonSlicer -m MedImgClassifierLib.doctor`, in the folder that holds MedImgClassifierLib.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__, resources
from .engine.errors import Refusal

if TYPE_CHECKING:
    from .engine.bundle import Bundle
    from .engine.runtimes import RuntimeName

# distribution name, import name, what it is for, which extra brings it
_LIBRARIES = (
    ("numpy", "numpy", "everything", ""),
    ("SimpleITK", "SimpleITK", "reading images", ""),
    ("pydicom", "pydicom", "reading DICOM", ""),
    ("safetensors", "safetensors", "bundles", ""),
    ("jsonschema", "jsonschema", "bundles", ""),
    ("threadpoolctl", "threadpoolctl", "classification", ""),
    ("protobuf", "google.protobuf", "ONNX graphs", ""),
    ("matplotlib", "matplotlib", "overlay picture", ""),
    ("onnxruntime", "onnxruntime", "classification on the CPU", ""),
    ("openvino", "openvino", "faster classification on x86 CPUs", "openvino"),
    ("torch", "torch", "classification on a GPU, and training", "torch"),
    ("torchvision", "torchvision", "AlexNet, VGG, ResNet and ViT in torch", "torch"),
    ("slicer-core", "slicer", "scene.mrb", "scene"),
    ("scikit-learn", "sklearn", "training", "train"),
    ("onnx", "onnx", "export", "train"),
)


def report() -> str:
    """The whole report as text. Never raises: what fails is a line of it. It may be sent to anybody: nothing of a
    patient is in it, and the user's folder, which bears a name, is written as ~."""
    lines = [f"MedImgClassifier {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines.append(f"{os.cpu_count()} processors")
    for distribution, module, purpose, extra in _LIBRARIES:
        lines.append(_library(distribution, module, purpose, extra))
    lines += _devices()
    lines += _bundles()
    return without_home("\n".join(lines))


def without_home(text: str) -> str:
    """`text` with the user's folder, in any of its spellings, written as ~."""
    with suppress(RuntimeError, OSError):  # a user without one
        homes = {str(home) for home in (Path.home(), Path.home().resolve()) if home != Path(home.anchor)}
        spellings = homes | {home.replace("\\", "/") for home in homes} | {home.replace("\\", "\\\\") for home in homes}
        for spelling in sorted(spellings, key=len, reverse=True):
            whole = re.escape(spelling) + r"(?![\w.-])"  # not /home/anna of /home/annabel
            text = re.sub(whole, "~", text, flags=re.IGNORECASE if os.name == "nt" else 0)
    return text


def _library(distribution: str, module: str, purpose: str, extra: str) -> str:
    try:
        return f"  ok       {distribution} {version(distribution)}"
    except PackageNotFoundError:
        with suppress(ModuleNotFoundError):  # of the package that a dotted name stands in
            if importlib.util.find_spec(module) is not None:
                return f"  ok       {distribution} (version unknown)"
    wanted = f"medimgclassifier[{extra}]" if extra else "medimgclassifier"
    return f"  missing  {distribution}: needed for {purpose}; pip install '{wanted}'"


def _devices() -> list[str]:
    from .engine.runtime_choice import gpu_drivers, installed, onnx_devices
    from .engine.torch_runtime import available_devices

    lines = [f"GPU drivers: {', '.join(gpu_drivers()) or 'none'}", "runtimes:"]
    ways: tuple[tuple[RuntimeName, Callable[[], Sequence[str]]], ...] = (
        ("openvino", _openvino_devices),
        ("onnxruntime", onnx_devices),
        ("torch", available_devices),
    )
    for name, devices in ways:
        if not installed(name):
            lines.append(f"  missing  {name}")
            continue
        try:
            lines.append(f"  ok       {name}: {', '.join(devices())}")
        except (Exception, SystemExit) as broken:  # a library that is missing or of another version shows as anything
            lines.append(f"  broken   {name} is installed but does not work ({type(broken).__name__}: {broken})")
    return lines


def _openvino_devices() -> Sequence[str]:
    import openvino

    return [name.lower() for name in openvino.Core().available_devices if name == "CPU"]


def _bundles() -> list[str]:
    from .engine.bundle import load
    from .engine.runtime_choice import choose

    try:
        shipped = resources.bundles()
    except Refusal as missing:
        return [f"bundles: {missing}"]
    lines = ["bundles:"]
    for name, path in shipped.items():
        try:
            bundle = load(path)
            why = choose(bundle).why
            lines.append(f"  ok       {name} {bundle.manifest['version']} ({path})")
            lines.append(f"           {why}")
        except (Refusal, ImportError) as refusal:
            lines.append(f"  refused  {name}: {refusal}")
    return lines if shipped else ["bundles: none"]


def replays(bundle: Bundle) -> list[str]:
    """A line for each runtime, device and precision of this computer: whether it answers the bundle's self-test as
    the maker's did."""
    from .engine.runtime_choice import try_all

    lines = []
    for trial in try_all(bundle):
        here = f"{trial.runtime}, {trial.device}, {trial.precision}"
        if trial.difference is not None:
            lines.append(f"ok  self-test on {here}: |d probability| {trial.difference:.1e}")
        else:
            lines.append(f"--  {here}: {trial.reason}")
    return lines


if __name__ == "__main__":
    print(report())
