"""The walls of docs/architecture.md, read from the import statements of every shipped file."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIB = "MedImgClassifierLib"

SLICER = {"slicer", "vtk", "vtkmodules", "sitkUtils", "SampleData", "DICOMLib", "PyTorchUtils"}
QT = {"qt", "ctk", "PythonQt", "PySide6", "PyQt5", "PyQt6"}
RUNTIMES = {"torch", "torchvision", "onnx", "onnxruntime", "openvino", "timm", "monai", "captum"}
# What an unmodified Slicer brings: a face may reach these when it loads, if only through the engine.
SHIPPED_WITH_SLICER = {"numpy", "scipy", "SimpleITK", "pydicom", "PIL", "requests", "packaging", "highdicom"}
TRAINING = {"medimg_training"}

# Room -> libraries it never imports, not even inside a function. trame is the viewer's alone.
NEVER = {
    "package": SLICER | QT | RUNTIMES | TRAINING,
    "engine": SLICER | QT | TRAINING,
    "worker": SLICER | QT | TRAINING,
    "scene": QT | RUNTIMES | TRAINING,
    "presenter": SLICER | QT | RUNTIMES | TRAINING,
    "resources": SLICER | QT | RUNTIMES | TRAINING,
    "translation": QT | RUNTIMES | TRAINING,
    "installation": SLICER | QT | RUNTIMES | TRAINING,
    "workflow": QT | RUNTIMES | TRAINING,
    "panel": RUNTIMES | TRAINING,
    "viewer": RUNTIMES | TRAINING,
    "cli": QT,
    "module": RUNTIMES | TRAINING,
    "training": SLICER | QT,
}
# Room -> rooms it may import: the floors of the house.
MAY_ENTER = {
    "package": set(),
    "engine": {"engine", "resources"},
    "worker": {"worker", "engine", "resources"},
    "scene": {"scene", "worker", "engine", "resources", "translation"},
    "presenter": {"engine", "translation"},
    "resources": {"engine"},
    "translation": set(),
    "installation": {"installation", "worker", "engine", "resources"},
    "workflow": {"workflow", "presenter", "scene", "worker", "engine", "resources", "translation"},
    "panel": {
        *("panel", "workflow", "installation", "presenter"),
        *("scene", "worker", "engine", "resources", "translation"),
    },
    "viewer": {"viewer", "workflow", "presenter", "scene", "worker", "engine", "resources", "translation"},
    "cli": {
        "cli",
        "installation",
        "viewer",
        "presenter",
        "scene",
        "worker",
        "engine",
        "resources",
        "translation",
        "training",
    },
    "module": {"panel", "workflow", "presenter", "scene", "worker", "engine", "resources", "translation"},
    "training": {"training", "engine", "resources"},
}
# Rooms of one file that may touch only some of the engine.
ONLY_THESE = {
    "presenter": {f"{LIB}.engine.result", f"{LIB}.engine.errors", f"{LIB}.translation"},
    "resources": {f"{LIB}.engine.errors"},
}
# Floors inside the engine, from the ground; a file imports its own floor or lower ones.
ENGINE_FLOORS = (
    {"errors", "refusal_texts", "findings", "volume", "result", "appearance"},
    {
        *(
            "voxel_values",
            "nifti",
            "nrrd",
            "metaimage",
            "dicom_headers",
            "dicom_pixels",
            "dicom_decoding",
            "dicom_series",
            "reading",
            "archive",
        ),
        *("resize", "preprocess", "quality", "networks", "torch_networks", "torchvision_networks"),
        *("heads", "head_arrays", "distance_heads", "tree_head"),
    },
    {
        *("runtimes", "processor", "torch_runtime", "onnx_runtime", "openvino_runtime", "runtime_choice", "frugal"),
        "first_order",
        *("onnx_format", "onnx_operators", "onnx_graph"),
        *("bundle_files", "bundle_weights"),
        *("bundle", "card", "bundle_install", "evidence", "occlusion", "trust", "selftest"),
    },
    {"classifier", "slice_view", "report", "picture", "html_report", "html_pictures", "html_words", "html_style"},
)
# Files of the command line, one room.
COMMAND = {"cli", "classify_job", "doctor", "kit"}
FACES = {"scene", "workflow", "panel", "viewer", "module"}


@dataclass(frozen=True)
class Import:
    """`importer` imports `target` (both dotted). when: 'load', 'call' (inside a function) or 'types'."""

    importer: str
    target: str
    line: int
    when: str


def shipped_files(root: Path) -> dict[str, Path]:
    """Dotted name -> file of everything that is shipped."""
    files = {}
    for top in (root / "MedImgClassifier", root / "training"):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imports_of(importer: str, path: Path, modules: set[str]) -> Iterator[Import]:
    """Every import of a file, relative ones made absolute, literal dynamic ones included."""
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]

    def visit(node: ast.AST, when: str) -> Iterator[Import]:
        for target in _targets(node, package, modules):
            yield Import(importer, target, getattr(node, "lineno", 0), when)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                yield from visit(child, "types")
            for child in node.orelse:
                yield from visit(child, when)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            when = "call"
        for child in ast.iter_child_nodes(node):
            yield from visit(child, when)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "load")


def _targets(node: ast.AST, package: str, modules: set[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package.rsplit(".", node.level - 1)[0] if node.level else ""
        base = ".".join(part for part in (base, node.module or "") if part)
        return [f"{base}.{a.name}" if f"{base}.{a.name}" in modules else base for a in node.names]
    if (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"__import__", "import_module", "importlib.import_module"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ):
        return [str(node.args[0].value)]
    return []


def room_of(module: str) -> str:
    """The room a dotted name belongs to: a folder or a single file of the library, 'module' or 'training'."""
    parts = module.split(".")
    if parts[0] == "medimg_training":
        return "training"
    if parts[0] == "MedImgClassifier":
        return "module"
    name = parts[1] if len(parts) > 1 else "package"
    return "cli" if name in COMMAND else name


def violations(root: Path) -> list[str]:
    """One line for every import that goes through a wall, and for every cycle."""
    files = shipped_files(root)
    modules = set(files)
    imports = [found for name, path in files.items() for found in imports_of(name, path, modules)]
    inside = [found for found in imports if found.target in modules and found.target != found.importer]
    outside = [found for found in imports if found.target not in modules]
    return [
        *_unknown_rooms(modules),
        *_forbidden_libraries(outside),
        *_rooms_entered(inside),
        *_engine_floors(modules, inside),
        *_heavy_faces(modules, inside, outside),
        *_cycles(modules, inside),
    ]


def _say(found: Import, why: str) -> str:
    return f"{found.importer}:{found.line} imports {found.target}: {why}"


def _unknown_rooms(modules: set[str]) -> Iterator[str]:
    for module in sorted(modules):
        if room_of(module) not in NEVER:
            yield f"{module} stands in no room: give '{room_of(module)}' its walls here and in docs/architecture.md"


def _forbidden_libraries(outside: list[Import]) -> Iterator[str]:
    for found in outside:
        library, room = found.target.partition(".")[0], room_of(found.importer)
        if library.startswith("trame") and room != "viewer":
            yield _say(found, "only viewer/ imports trame")
        elif library in NEVER.get(room, set()):
            yield _say(found, f"{room} never imports {library}")
        elif library == LIB or library in TRAINING:
            yield _say(found, "there is no such module")


def _rooms_entered(inside: list[Import]) -> Iterator[str]:
    for found in inside:
        source, target = room_of(found.importer), room_of(found.target)
        if target == "package":
            continue
        if target not in MAY_ENTER.get(source, set()) or found.target not in ONLY_THESE.get(source, {found.target}):
            yield _say(found, f"{source} does not import this")
        elif target == "training" and found.when == "load" and source != "training":
            yield _say(found, "training is imported inside the verb that needs it")


def _engine_floors(modules: set[str], inside: list[Import]) -> Iterator[str]:
    prefix = f"{LIB}.engine."
    floor = {prefix + name: level for level, names in enumerate(ENGINE_FLOORS) for name in names}
    for module in sorted(modules):
        if module.startswith(prefix) and module not in floor:
            yield f"{module} has no floor: give it one in ENGINE_FLOORS and in docs/architecture.md"
    for found in inside:
        if floor.get(found.importer, len(floor)) < floor.get(found.target, 0):
            yield _say(found, "that is a higher floor of the engine")


def _heavy_faces(modules: set[str], inside: list[Import], outside: list[Import]) -> Iterator[str]:
    """Faces load quickly: nothing heavy directly, nothing that Slicer does not ship through others."""
    direct: dict[str, list[Import]] = {}
    loads: dict[str, set[str]] = {}
    for found in outside:
        if found.when == "load" and found.target.partition(".")[0] not in sys.stdlib_module_names:
            direct.setdefault(found.importer, []).append(found)
    for found in inside:
        if found.when == "load":
            loads.setdefault(found.importer, set()).update(_with_packages(found.target, modules))
    for face in sorted(module for module in modules if room_of(module) in FACES):
        for found in direct.get(face, []):
            if found.target.partition(".")[0] not in SLICER | QT and not found.target.startswith("trame"):
                yield _say(found, "a face imports it inside the function that needs it")
        for other in _reachable(face, loads) - {face}:
            for found in direct.get(other, []):
                shipped = found.target.partition(".")[0] in SLICER | QT | SHIPPED_WITH_SLICER
                if not shipped and room_of(other) not in FACES:
                    yield _say(found, f"and {face} loads it with it, which Slicer does not ship")


def _with_packages(module: str, modules: set[str]) -> set[str]:
    parts = module.split(".")
    return {name for n in range(1, len(parts) + 1) if (name := ".".join(parts[:n])) in modules}


def _reachable(start: str, edges: dict[str, set[str]]) -> set[str]:
    seen, waiting = {start}, [start]
    while waiting:
        for other in edges.get(waiting.pop(), set()) - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def _cycles(modules: set[str], inside: list[Import]) -> Iterator[str]:
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for found in inside:
        graph[found.importer].add(found.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        yield "cycle: " + " -> ".join(error.args[1])


def test_every_import_respects_the_walls() -> None:
    assert len(shipped_files(ROOT)) > 10
    found = violations(ROOT)
    assert not found, "\n".join(found)


SEEDED = {
    "engine imports vtk in a function": ("engine/reading", "def f():\n    import vtk", "engine never imports vtk"),
    "worker imports slicer": ("worker/client", "from slicer import util", "worker never imports slicer"),
    "engine imports training by name": (
        "engine/bundle",
        "import importlib\ndef f(): return importlib.import_module('medimg_training')",
        "engine does not import this",
    ),
    "scene imports qt": ("scene/overlay", "def f():\n    import qt", "scene never imports qt"),
    "scene imports torch late": ("scene/overlay", "def f():\n    import torch", "scene never imports torch"),
    "scene loads numpy": ("scene/overlay", "import numpy as np", "inside the function that needs it"),
    "scene loads safetensors through the engine": (
        "scene/overlay",
        "from ..engine.classifier import Classifier",
        "which Slicer does not ship",
    ),
    "cli imports trame": ("cli", "import trame.app", "only viewer/ imports trame"),
    "presenter imports the classifier": (
        "presenter",
        "from .engine import classifier",
        "presenter does not import this",
    ),
    "engine imports the scene": ("engine/report", "from ..scene import overlay", "engine does not import this"),
    "engine climbs": ("engine/errors", "def f():\n    from .classifier import Classifier", "higher floor"),
    "engine gets an unknown file": ("engine/helpers", "", "has no floor"),
    "a room without walls": ("utils/misc", "", "stands in no room"),
    "two files import each other": (
        "engine/quality",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .preprocess import crop",
        "cycle",
    ),
    "module imports torch": ("../MedImgClassifier", "def f():\n    import torch", "module never imports torch"),
    "training imports the scene": (
        "../../training/medimg_training/fit",
        f"from {LIB}.scene.overlay import show",
        "training does not import this",
    ),
    "command line loads training at once": ("cli", "from medimg_training import split", "inside the verb"),
    "a file that is gone": ("cli", "from .engine2 import x", "no such module"),
}


def _house(root: Path) -> None:
    """A small tree that breaks no rule."""
    for path, source in {
        f"{LIB}/__init__": "__version__ = '1'",
        f"{LIB}/cli": "from .engine.classifier import Classifier\ndef main():\n    from medimg_training import split",
        f"{LIB}/resources": "from .engine.errors import Refusal",
        f"{LIB}/engine/__init__": "",
        f"{LIB}/engine/errors": "class Refusal(Exception): ...",
        f"{LIB}/engine/preprocess": "import numpy\nfrom .quality import gate",
        f"{LIB}/engine/quality": "gate = 1",
        f"{LIB}/engine/classifier": "import safetensors\nfrom .. import __version__, resources",
        f"{LIB}/scene/__init__": "",
        f"{LIB}/scene/overlay": "import slicer\ndef f():\n    import numpy\nfrom ..engine.errors import Refusal",
        "MedImgClassifier": f"import qt, slicer\nfrom {LIB}.scene import overlay",
        "../training/medimg_training/__init__": "",
        "../training/medimg_training/split": f"from {LIB}.engine.preprocess import crop",
    }.items():
        _write(root / "MedImgClassifier" / f"{path}.py", source)


def _write(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


def test_a_clean_house_has_no_violation(tmp_path: Path) -> None:
    _house(tmp_path)
    assert violations(tmp_path) == []


@pytest.mark.parametrize("seed", SEEDED)
def test_a_hole_in_a_wall_is_found(tmp_path: Path, seed: str) -> None:
    _house(tmp_path)
    where, source, expected = SEEDED[seed]
    _write(tmp_path / "MedImgClassifier" / LIB / f"{where}.py", source)
    assert any(expected in line for line in violations(tmp_path)), violations(tmp_path)
