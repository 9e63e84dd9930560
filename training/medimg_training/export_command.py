"""`medimg export`: a bundle written again with its ONNX form, and the record of how far each runtime agrees with torch.

Images of the roles fit and select are prepared in a temporary folder beside the new bundle; no other is opened.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.errors import Refusal

if TYPE_CHECKING:
    from MedImgClassifierLib.engine.bundle import Bundle

    from .datasets.manifest import Manifest, Row
    from .onnx_form import OnnxForm
    from .split import Fold


def add_command(subparsers: Any) -> None:
    """Add the verb `export` to the subparsers of `medimg`."""
    export = subparsers.add_parser("export", help="write a bundle again, with its ONNX form and agreement record")
    export.set_defaults(run=run)
    export.add_argument("bundle", metavar="NAME|PATH", help="a shipped bundle or a bundle's path")
    export.add_argument("--manifest", type=Path, required=True, help="manifest.csv of the images to measure on")
    export.add_argument("--split", type=Path, required=True, help="its split.json, as `medimg train` wrote it")
    export.add_argument("--out", type=Path, required=True, help="folder of the new bundle; it must not exist")
    export.add_argument("--no-int8", action="store_true", help="no int8 form")


@contextmanager
def libraries(purpose: str) -> Iterator[None]:
    """A library that is not installed becomes a refusal that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        facts = {"library": error.name, "purpose": purpose, "command": "pip install 'medimgclassifier[train]'"}
        raise Refusal("RESOURCE_MISSING_LIBRARY", **facts) from error


def run(arguments: argparse.Namespace) -> int:
    """Export, measure, write the new bundle whole or not at all; prints what was measured. Raises Refusal."""
    out: Path = arguments.out.absolute()
    if os.path.exists(out):  # unlike Path.exists, False for a name that is too long
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=arguments.out, reason="it exists")
    with libraries("the ONNX form"):
        from MedImgClassifierLib.engine.bundle import load

        from .datasets.manifest import Manifest
        from .export import export_again
        from .onnx_export import require_libraries
        from .split import Split

        require_libraries()
        loaded = load(resources.bundles().get(arguments.bundle, Path(arguments.bundle)))
        manifest = Manifest.read(arguments.manifest)
        _check_classes(loaded, manifest)
        split = Split.read(arguments.split, manifest)
        if len(split.folds) != 1:
            raise Refusal("DATA_SPLIT", reason=f"'{arguments.split}' has {len(split.folds)} folds, not one")
        try:
            there = next(folder for folder in out.parents if folder.exists())
            with TemporaryDirectory(prefix=f".{out.name}.", dir=there) as scratch:
                form = _form(loaded, manifest, split.folds[0], Path(scratch), int8=not arguments.no_int8)
            written = export_again(out, loaded, form)
        except OSError as error:
            raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=arguments.out, reason=error.strerror or error) from error
    print(form.to_markdown())
    print(written)
    return 0


def _check_classes(loaded: Bundle, manifest: Manifest) -> None:
    labels = tuple(label.name for label in loaded.labels)
    reason = ""
    if manifest.classes != labels:
        reason = f"its classes are {', '.join(manifest.classes)}, the bundle's are {', '.join(labels)}"
    elif len(loaded.spec.channels) != 1:
        reason = f"the bundle takes {len(loaded.spec.channels)} channels, a row of the manifest is one"
    if reason:
        raise Refusal("DATA_MANIFEST", path=manifest.path, where="classes", reason=reason)


def _form(loaded: Bundle, manifest: Manifest, fold: Fold, scratch: Path, *, int8: bool) -> OnnxForm:
    """The bundle's ONNX form; no more rows are read than its measures can use."""
    from .cache import prepare
    from .export import onnx_form_of_bundle
    from .onnx_form import CALIBRATION_IMAGES, MOST_IMAGES, Roles
    from .roles import fold_rows

    fit, select = _rows(manifest, fold.fit, CALIBRATION_IMAGES), _rows(manifest, fold.select, MOST_IMAGES)
    if not fit:
        raise Refusal("DATA_SPLIT", reason="role fit has no labelled sample")
    prepared = prepare(manifest, [*fit, *select], loaded.spec, scratch / "cache", progress=True)
    rows = fold_rows(prepared, fold)
    return onnx_form_of_bundle(loaded, Roles(prepared, rows.fit, rows.select), int8=int8, progress=True)


def _rows(manifest: Manifest, groups: tuple[str, ...], most: int) -> list[Row]:
    """Labelled rows of some groups, at most so many, evenly spread."""
    wanted = set(groups)
    rows = [row for row in manifest.rows if row.label and row.group in wanted]
    step = max(1.0, len(rows) / most)
    return [rows[int(k * step)] for k in range(min(len(rows), most))]
