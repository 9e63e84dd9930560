"""`medimg doctor`: what is installed, which device would compute and why, and what is missing for what."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

from . import __version__, resources
from .engine.errors import Refusal

# distribution name, import name, what it is for, which extra brings it
_LIBRARIES = (
    ("numpy", "numpy", "everything", ""),
    ("SimpleITK", "SimpleITK", "reading images", ""),
    ("pydicom", "pydicom", "reading DICOM", ""),
    ("safetensors", "safetensors", "bundles", ""),
    ("jsonschema", "jsonschema", "bundles", ""),
    ("matplotlib", "matplotlib", "overlay picture", ""),
    ("torch", "torch", "classification and training", "torch"),
    ("torchvision", "torchvision", "AlexNet, VGG, ResNet", "torch"),
    ("slicer-core", "slicer", "scene.mrb", "scene"),
    ("scikit-learn", "sklearn", "training", "train"),
)


def report() -> str:
    """The whole report as text. Never raises: what fails is a line of it."""
    lines = [f"MedImgClassifier {__version__}, Python {platform.python_version()}, {platform.platform()}"]
    lines.append(f"{os.cpu_count()} processors")
    for distribution, module, purpose, extra in _LIBRARIES:
        lines.append(_library(distribution, module, purpose, extra))
    lines += _devices()
    lines += _bundles()
    return "\n".join(lines)


def _library(distribution: str, module: str, purpose: str, extra: str) -> str:
    try:
        return f"  ok       {distribution} {version(distribution)}"
    except PackageNotFoundError:
        if importlib.util.find_spec(module) is not None:
            return f"  ok       {distribution} (version unknown)"
    wanted = f"medimgclassifier[{extra}]" if extra else "medimgclassifier"
    return f"  missing  {distribution}: needed for {purpose}; pip install '{wanted}'"


def _devices() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return ["device: none, nothing can be classified without torch"]
    from .engine.runtimes import available_devices

    try:
        present = available_devices()
    except Exception as broken:  # a library of torch that is missing or of another version shows as anything
        return [f"device: none, torch is installed but does not work ({type(broken).__name__}: {broken})"]
    why = {
        "cuda": "torch sees a CUDA GPU",
        "mps": "torch sees Apple's Metal GPU and no CUDA GPU",
        "cpu": "torch sees no CUDA or Metal GPU",
    }
    return [f"device: {present[0]} ({why[present[0]]}); available: {', '.join(present)}"]


def _bundles() -> list[str]:
    from .engine.bundle import load

    try:
        shipped = resources.bundles()
    except Refusal as missing:
        return [f"bundles: {missing}"]
    lines = ["bundles:"]
    for name, path in shipped.items():
        try:
            bundle = load(path)
            lines.append(f"  ok       {name} {bundle.manifest['version']} ({path})")
        except (Refusal, ImportError) as refusal:
            lines.append(f"  refused  {name}: {refusal}")
    return lines if shipped else ["bundles: none"]
