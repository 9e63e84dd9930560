"""Run once after an installation, by the Python that the worker will run on: do the libraries load?

`python check_libraries.py ANSWER [--torch] [BUNDLE.zip ...]` imports what classification needs, takes the bundles in
(their self-test included) and writes {"failed": what, "reason": why} as JSON to ANSWER, "failed" being '' where all is
well. No ANSWER: it crashed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def main() -> None:
    answer, words = Path(sys.argv[1]), sys.argv[2:]
    here = Path(__file__).resolve()
    sys.path[:] = [str(here.parents[2]), *(place for place in sys.path if Path(place or ".").resolve() != here.parent)]
    failed, reason = _libraries("--torch" in words)
    for word in words:
        if not failed and word != "--torch":
            failed, reason = _bundle(Path(word))
    partial = answer.with_suffix(".partial")
    partial.write_text(json.dumps({"failed": failed, "reason": reason}), encoding="utf-8")
    os.replace(partial, answer)


_LIBRARIES: dict[str, Callable[[], object]] = {
    "safetensors": lambda: import_module("safetensors.numpy"),
    "jsonschema": lambda: import_module("jsonschema"),
    "protobuf": lambda: import_module("google.protobuf.message_factory"),
    "threadpoolctl": lambda: import_module("threadpoolctl"),
    "onnxruntime": lambda: import_module("onnxruntime"),
    "MedImgClassifierLib": lambda: import_module("MedImgClassifierLib.engine.classifier"),
}
_TORCH: dict[str, Callable[[], object]] = {
    "torch": lambda: import_module("torch"),
    "torchvision": lambda: import_module("torchvision"),
}


def _libraries(torch_too: bool) -> tuple[str, str]:
    """('', '') or the library that does not load and why; a broken one may raise anything."""
    for name, load in (_LIBRARIES | _TORCH if torch_too else _LIBRARIES).items():
        try:
            load()
        except (Exception, SystemExit) as broken:
            lines = str(broken).strip().splitlines() or [""]
            return name, f"{type(broken).__name__}: {lines[0][:200]}"
    return "", ""


def _bundle(path: Path) -> tuple[str, str]:
    from MedImgClassifierLib.engine import bundle_install
    from MedImgClassifierLib.engine.errors import Refusal

    try:
        bundle_install.install(path, lambda stage, fraction: None)
    except Refusal as refusal:
        return path.stem, str(refusal)
    return "", ""


if __name__ == "__main__":
    main()
