"""The files of a bundle, read into memory: from a folder, or from a zip that is never unpacked.

Nothing here trusts a name or a size: links, ways out of the folder, duplicates and bombs are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import Refusal

MANIFEST = "manifest.json"
SIGNATURE = "SIGNATURE.json"
MAX_MANIFEST_BYTES = 1 << 20
MAX_TOTAL_BYTES = 2 << 30
MAX_FILES = 64
MAX_RATIO = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,2}")


def read(path: Path) -> dict[str, bytes]:
    """All files of the bundle by name. Raises Refusal(BUNDLE_NOT_FOUND, BUNDLE_CHANGED)."""
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.exists():
            raise Refusal("BUNDLE_NOT_FOUND", path=path, reason="it does not exist")
        if not zipfile.is_zipfile(path):
            raise Refusal("BUNDLE_NOT_FOUND", path=path, reason="it is neither a folder nor a zip")
        return _read_zip(path)
    except OSError as failed:
        raise Refusal("BUNDLE_NOT_FOUND", path=path, reason=f"it cannot be read ({failed.strerror})") from None


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not (folder / MANIFEST).is_file():
        raise Refusal("BUNDLE_NOT_FOUND", path=folder, reason=f"it holds no {MANIFEST}")
    found: dict[str, bytes] = {}
    total = 0
    for entry in sorted(folder.rglob("*")):
        name = entry.relative_to(folder).as_posix()
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise Refusal("BUNDLE_CHANGED", path=folder, reason=f"'{name}' is not a plain file")
        if entry.is_file():
            total += entry.stat().st_size
            _check_entry(folder, name, len(found) + 1, total, entry.stat().st_size)
            found[name] = entry.read_bytes()
    return found


def _read_zip(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                link = (info.external_attr >> 16) & 0o170000 == 0o120000
                plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not link
                if not plain or info.filename in found or info.file_size > MAX_RATIO * max(info.compress_size, 1):
                    raise Refusal("BUNDLE_CHANGED", path=path, reason=f"'{info.filename}' may not be in a bundle's zip")
                total += info.file_size
                _check_entry(path, info.filename, len(found) + 1, total, info.file_size)
                with archive.open(info) as member:  # a header may understate the size: read no further than it says
                    found[info.filename] = member.read(info.file_size)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, UnicodeError) as bad:
        raise Refusal("BUNDLE_CHANGED", path=path, reason=f"the zip cannot be read ({bad})") from None
    if MANIFEST not in found:
        raise Refusal("BUNDLE_NOT_FOUND", path=path, reason=f"it holds no {MANIFEST} at its top")
    return found


def _check_entry(path: Path, name: str, count: int, total: int, size: int) -> None:
    if not _NAME.fullmatch(name):
        raise Refusal("BUNDLE_CHANGED", path=path, reason=f"the file name '{name}' is not allowed")
    if count > MAX_FILES or total > MAX_TOTAL_BYTES or (name == MANIFEST and size > MAX_MANIFEST_BYTES):
        raise Refusal("BUNDLE_CHANGED", path=path, reason="it has more or larger files than a bundle may have")


def check_hashes(path: Path, files: Mapping[str, bytes], stated: Mapping[str, Mapping[str, Any]]) -> None:
    """Every file is stated with size and SHA-256, and every stated file is there. Raises Refusal(BUNDLE_CHANGED)."""
    present = files.keys() - {MANIFEST, SIGNATURE}
    for name in sorted(present ^ stated.keys()):
        what = "is not in the manifest" if name in present else "is missing"
        raise Refusal("BUNDLE_CHANGED", path=path, reason=f"file '{name}' {what}")
    for name in sorted(present):
        entry = describe(files[name])
        if entry != {"bytes": stated[name]["bytes"], "sha256": stated[name]["sha256"]}:
            raise Refusal("BUNDLE_CHANGED", path=path, reason=f"file '{name}' is not the one its maker wrote")


def describe(content: bytes) -> dict[str, Any]:
    """Size and SHA-256 of a file, as the manifest states them."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def parse_json(content: bytes) -> Any:
    """JSON without duplicate keys, whose numbers are finite doubles and whose text can be printed.

    Raises ValueError (too deep a nesting included).
    """
    try:
        document = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
        json.dumps(document, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)
