"""Nothing that comes from a bundle, a file or a user is ever executed: the calls that could are not in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Modules whose loaders run code, and calls that do, by full name.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "imp"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "tempfile.mktemp",
    "torch.jit.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "torch.ops.load_library",
    "ctypes.CDLL",
    "yaml.load",
    "yaml.unsafe_load",
    "logging.config.dictConfig",
}
# The one exception. CIFAR-10 is published as pickles: this file's unpickler knows three names, which call nothing of
# numpy, and its archives are read only if their checksum is the official one.
ALLOWED = ["training/medimg_training/datasets/cifar10_pickle.py: import pickle"]
# Methods that write wherever an archive says.
METHODS = {"extractall"}
KEYWORDS = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("verify", False)}


def forbidden(source: str) -> list[str]:
    """'line: what' for each forbidden import or call of a file's text."""
    tree = ast.parse(source)
    names = _full_names(tree)
    return [f"{node.lineno}: {why}" for node in ast.walk(tree) for why in _why(node, names)]


def _full_names(tree: ast.AST) -> dict[str, str]:
    """Local name -> full name of what was imported, so that `from torch import load as l` hides nothing."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({a.asname: a.name for a in node.names if a.asname})
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return names


def _why(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"import {a.name}" for a in node.names if a.name.partition(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
        yield f"from {node.module} import"
    elif isinstance(node, ast.Call):
        yield from _why_call(node, names)


def _why_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    first, _, rest = ast.unparse(node.func).partition(".")
    name = ".".join(part for part in (names.get(first, first), rest) if part)
    keywords = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    if name in CALLS or name.rpartition(".")[2] in METHODS:
        yield f"{name}(...)"
    if name == "torch.load" and keywords.get("weights_only") is not True:
        yield "torch.load without weights_only=True"
    if name in {"importlib.import_module", "__import__"} and not (node.args and isinstance(node.args[0], ast.Constant)):
        yield "import of a module whose name is not written here"
    yield from (f"{key}={value}" for key, value in keywords.items() if (key, value) in KEYWORDS)


def test_shipped_code_is_free_of_them() -> None:
    files = [path for top in ("MedImgClassifier", "training") for path in sorted((ROOT / top).rglob("*.py"))]
    assert len(files) > 10
    found = [(path.relative_to(ROOT).as_posix(), why) for path in files for why in forbidden(path.read_text("utf-8"))]
    assert [f"{name}:{why.partition(':')[2]}" for name, why in found] == ALLOWED, found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f(x):\n    return eval(x)",
        "exec('1')",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x', weights_only=False)",
        "from torch import load as read\nread('x')",
        "from torch import jit\njit.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import zipfile\nzipfile.ZipFile('x').extractall()",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import importlib\nimportlib.import_module(name)",
        "from os import system\nsystem('ls')",
    ],
)
def test_each_of_them_is_found(source: str) -> None:
    assert forbidden(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x', weights_only=True)",
        "model.eval()",
        "import re\nre.compile('x')",
        "import torch\ntorch.compile(model)",
        "import importlib\nimportlib.import_module('slicer')",
    ],
)
def test_their_harmless_namesakes_are_not(source: str) -> None:
    assert forbidden(source) == []
