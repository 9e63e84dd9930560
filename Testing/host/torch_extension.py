"""The PyTorch extension's module, as a test installs it: what it was asked, and what it answers."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TorchExtension:
    """answer: what installTorch returns (the torch module; None: declined) or raises.

    keywords: those that installTorch takes; they drifted between versions of the extension.
    """

    answer: Any = None
    keywords: tuple[str, ...] = (
        "askConfirmation",
        "forceComputationBackend",
        "torchVersionRequirement",
        "torchvisionVersionRequirement",
    )
    installed: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)


def install(extension: TorchExtension) -> None:
    """Make `import PyTorchUtils` find it."""

    class PyTorchUtilsLogic:
        def torchInstalled(self) -> bool:
            return extension.installed

        def installTorch(self, **options: Any) -> Any:
            for name in options:
                if name not in extension.keywords:
                    raise TypeError(f"installTorch() got an unexpected keyword argument '{name}'")
            extension.calls.append(options)
            if isinstance(extension.answer, BaseException):
                raise extension.answer
            extension.installed = extension.answer is not None
            return extension.answer

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic  # type: ignore[attr-defined]
    sys.modules["PyTorchUtils"] = module


def remove() -> None:
    sys.modules.pop("PyTorchUtils", None)
