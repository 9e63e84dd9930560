"""What is wrong with the texts of a module and their translations: what test_translations.py asks.

Texts that a user sees outside `_()`, texts that cannot be extracted, translations that are missing, differ in their
placeholders or are not those of the texts now, and a `.qm` that was not made of its `.ts`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import update_translations as tool

# What shows a text: properties that are set, and functions that take one.
PROPERTIES = {"text", "toolTip", "title", "windowTitle", "placeholderText", "whatsThis", "statusTip", "helpText", "tip"}
SHOWING = {
    *("setText", "setToolTip", "setTitle", "setWindowTitle", "setPlaceholderText", "setStatusTip", "setWhatsThis"),
    *(
        "addItem",
        "addItems",
        "insertItem",
        "setItemText",
        "addAction",
        "addMenu",
        "addButton",
        "addTab",
        "setHeaderLabels",
    ),
    *("QLabel", "QPushButton", "QAction", "QCheckBox", "QRadioButton", "QGroupBox", "QMenu", "QMessageBox"),
    *("getOpenFileName", "getSaveFileName", "getExistingDirectory", "getText", "getItem"),
    *("showStatusMessage", "infoDisplay", "warningDisplay", "errorDisplay", "messageBox", "delayDisplay"),
    *("confirmOkCancelDisplay", "confirmYesNoDisplay", "confirmRetryCloseDisplay", "tryWithErrorDisplay"),
    *("Line", "Button"),
}
# What takes sentences that no user sees, or that are not ours to translate.
QUIET = {"debug", "info", "warning", "error", "exception", "log", "setStyleSheet", "connect", "disconnect", "skipTest"}
QUIET_ERRORS = {
    "ValueError",
    "TypeError",
    "KeyError",
    "RuntimeError",
    "AttributeError",
    "AssertionError",
    "LookupError",
}
NAMES = {"MedImgClassifier contributors", "MedImgClassifier plot", 'PythonSlicer -m pip install -r ""'}
SENTENCE = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,}")
WORD = re.compile(r"^(?!\w*_\w*$).*[A-Za-z]{3}", re.DOTALL)  # and no snake_case name


def faces(module: Path) -> list[Path]:
    """The files that make what a user reads in the panel."""
    library = module / "MedImgClassifierLib"
    found = [module / "MedImgClassifier.py", library / "presenter.py", *library.glob("panel/**/*.py")]
    return sorted(path for path in found if path.is_file())


def keys(files: list[Path]) -> set[str]:
    """What stands in `Literal[...]`: names for the code, which look like words."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in files)
    found = (n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Subscript) and _is(n.value, "Literal"))
    return {str(c.value) for literal in found for c in ast.walk(literal.slice) if isinstance(c, ast.Constant)}


def _is(node: ast.AST, name: str) -> bool:
    return getattr(node, "attr", getattr(node, "id", "")) == name


def unwrapped(path: Path, known: set[str]) -> Iterator[str]:
    """'file:line: text' of texts that a user would see and no translator: sentences, and words on a widget.

    known: keys and names, which are no texts.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    seen = set()
    for node, pattern in _shown(tree):
        for text in _literals(node):
            words = _words(text)
            if pattern.search(re.sub(r"<[^<>]*>", "", words)) and words not in known and id(text) not in seen:
                seen.add(id(text))
                yield f"{path.name}:{text.lineno}: {words!r} is not in _()"


def _shown(tree: ast.AST) -> Iterator[tuple[ast.AST, re.Pattern[str]]]:
    yield tree, SENTENCE
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(getattr(t, "attr", "") in PROPERTIES for t in node.targets):
            yield node.value, WORD
        elif isinstance(node, ast.Call) and _name(node) in SHOWING:
            yield from ((argument, WORD) for argument in node.args)
            yield from ((k.value, WORD) for k in node.keywords if k.arg in PROPERTIES | {"windowTitle", "detailedText"})


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _words(text: ast.Constant | ast.JoinedStr) -> str:
    """Those of a string; of an f-string without its values, so that a tag with a value in it is one tag."""
    if isinstance(text, ast.Constant):
        return str(text.value)
    return "".join(str(part.value) for part in text.values if isinstance(part, ast.Constant))


def _literals(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Strings that become part of what an expression gives or a file shows: no docstrings, keys, logs or `_()`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    if isinstance(node, ast.JoinedStr):
        yield node
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _literals(part.value)
        return
    if isinstance(node, ast.Call) and _name(node) in {"_", "translate"} | QUIET | QUIET_ERRORS:
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    hidden: list[ast.AST] = [node.slice] if isinstance(node, ast.Subscript) else []
    hidden += [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
    hidden += [key for key in node.keys if key] if isinstance(node, ast.Dict) else []
    hidden += [node.test] if isinstance(node, ast.IfExp | ast.Assert) else []
    hidden += [node.annotation] if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation else []
    for child in ast.iter_child_nodes(node):
        if child not in hidden:
            yield from _literals(child)


def misplaced(path: Path) -> Iterator[str]:
    """What keeps `_("...")` from being found by Slicer's own extraction, or from being the function `_`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    speaks = any(
        isinstance(n, ast.ImportFrom) and any((a.asname or a.name) == "_" for a in n.names) for n in ast.walk(tree)
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for call in (n for n in ast.walk(node) if isinstance(n, ast.Call) and _name(n) in {"_", "translate"}):
                yield f"{path.name}:{call.lineno}: {ast.unparse(call)} inside an f-string is lost on translators"
        bound = isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store)
        if speaks and (bound or (isinstance(node, ast.arg) and node.arg == "_")):
            yield f"{path.name}:{getattr(node, 'lineno', 0)}: '_' is the translating function here: take another name"


def fields(text: str) -> set[str] | str:
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError as broken:
        return str(broken)


def faults(module: Path) -> list[str]:
    """All that is wrong with the texts of a module and their translations, a line each."""
    known = keys(faces(module)) | NAMES
    found = [line for path in faces(module) for line in unwrapped(path, known)]
    found += [line for path in sorted(module.rglob("*.py")) for line in misplaced(path)]
    try:
        wanted = tool.texts(module)
    except ValueError as unextractable:
        return [*found, str(unextractable)]
    files = sorted((module / tool.TRANSLATIONS).glob("*.ts"))
    found += [] if files else ["there is no translation at all"]
    for path in files:
        found += [f"{path.name}: {line}" for line in _faults_of_translation(path, wanted, module)]
    return found


def _faults_of_translation(path: Path, wanted: dict[tuple[str, str, str], tool.Message], module: Path) -> Iterator[str]:
    known = tool.read(path)
    for key, message in wanted.items():
        have = known.get(key)
        if have is None or have.kind == "vanished":
            yield f"{message.context}: {message.source!r} is missing: make translations"
        elif have.kind == "unfinished" or not have.translation:
            yield f"{message.context}: {message.source!r} is not translated"
        elif fields(message.source) != fields(have.translation):
            yield f"{message.context}: {message.source!r} and {have.translation!r} have other placeholders"
    for key, message in known.items():
        if key not in wanted and message.kind != "vanished":
            yield f"{message.context}: {message.source!r} is no text of the module: make translations"
    if path.read_text(encoding="utf-8") != tool.updated(path, module):
        yield "it is not as `make translations` writes it"
    code = path.stem.partition("_")[2]
    if code.replace("-", "_") != tool.language_of(path):
        yield f"its language is {tool.language_of(path)}, its name says {code}"
    if not path.with_suffix(".qm").is_file() or path.with_suffix(".qm").read_bytes() != tool.compiled(path):
        yield "its .qm is older than it: make translations"
