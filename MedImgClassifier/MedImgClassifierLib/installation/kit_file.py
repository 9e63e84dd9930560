"""The offline kit: a zip with wheels, bundles and `kit.json`, which states size and SHA-256 of each.

Nothing in it is trusted before it was checked: names, sizes, hashes, and that its wheels are for this Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..engine import bundle_files
from ..engine.errors import Refusal

MANIFEST = "kit.json"
VERSION = 1
MAX_FILES = 200
MAX_BYTES = 8 << 30
_MAX_MANIFEST_BYTES = 1 << 20
_PIECE = 1 << 20
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9])?"
_NAME = re.compile(rf"wheels/{_PART}\.whl|bundles/{_PART}\.zip")
_DATE = (1980, 1, 1, 0, 0, 0)  # of every file: the same content is the same kit

Progress = Callable[[float], None]
"""Called with the fraction done, 0..1; what it raises ends the work."""


class Kit(NamedTuple):
    """A kit whose names and manifest are sound. files: (size in bytes, SHA-256) by name, 'wheels/...' or 'bundles/...'.

    platform: as wheels name it, e.g. 'win_amd64'; python: e.g. '3.12'; tool_version: of its maker.
    """

    path: Path
    tool_version: str
    platform: str
    python: str
    files: Mapping[str, tuple[int, str]]


def read(path: Path) -> Kit:
    """The kit at `path`. Raises Refusal(INPUT_NOT_FOUND, INPUT_KIT)."""
    if not path.is_file():
        raise Refusal("INPUT_NOT_FOUND", path=path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path, archive)
            if MANIFEST not in entries or entries[MANIFEST].file_size > _MAX_MANIFEST_BYTES:
                raise _refuse(path, f"it holds no {MANIFEST}, or one that is far too large")
            with archive.open(MANIFEST) as member:
                kit = _parsed(path, member.read(entries[MANIFEST].file_size))
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, UnicodeError) as bad:
        raise _refuse(path, f"it cannot be read as a zip ({bad})") from None
    for name in sorted(kit.files.keys() ^ (entries.keys() - {MANIFEST})):
        what = "is missing" if name in kit.files else f"is not in {MANIFEST}"
        raise _refuse(path, f"'{name}' {what}")
    for name, (size, _digest) in kit.files.items():
        if entries[name].file_size != size:
            raise _refuse(path, f"'{name}' has {entries[name].file_size} bytes instead of {size}")
    return kit


def check_fits(kit: Kit) -> None:
    """Raises Refusal(INPUT_KIT, INPUT_KIT_MISFIT) where a wheel is not one for this interpreter."""
    from packaging.tags import sys_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    here, python = set(sys_tags()), f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in kit.files:
        if not name.startswith("wheels/"):
            continue
        try:
            fits = bool(here & parse_wheel_filename(name.removeprefix("wheels/"))[3])
        except InvalidWheelFilename as bad:
            raise _refuse(kit.path, f"'{name}' is not the name of a wheel ({bad})") from None
        if kit.python != python or not fits:
            made_for = f"Python {kit.python} on {kit.platform}"
            tag = next(iter(sys_tags()))
            raise Refusal(
                "INPUT_KIT_MISFIT", path=kit.path, made_for=made_for, here=f"Python {python} on {tag.platform}"
            )


def unpack(kit: Kit, folder: Path, progress: Progress) -> None:
    """Write the files of the kit into an empty private folder, each compared with its size and SHA-256 on the way.

    Raises Refusal(INPUT_KIT, RESOURCE_TEMPORARY_FOLDER) and what `progress` raises; what was written stays, for the
    caller to remove with the folder.
    """
    total, written = sum(size for size, _ in kit.files.values()) or 1, 0
    for place in ("wheels", "bundles"):
        (folder / place).mkdir()
    try:
        archive = zipfile.ZipFile(kit.path)
    except (OSError, zipfile.BadZipFile) as bad:
        raise _refuse(kit.path, f"it cannot be read as a zip ({bad})") from None
    with archive:
        for name, (size, digest) in kit.files.items():
            found = hashlib.sha256()
            for piece in _pieces(kit.path, archive, name, size):
                found.update(piece)
                _append(folder, folder / name, piece)
                written += len(piece)
                progress(written / total)
            if found.hexdigest() != digest:
                raise _refuse(kit.path, f"'{name}' is not the file that was packed: its SHA-256 differs")


def write(path: Path, platform: str, python: str, tool_version: str, files: Mapping[str, Path]) -> Kit:
    """Pack files, by their names in the kit, into `path`: whole, or not at all.

    Raises Refusal(USAGE_OUTPUT_NOT_WRITABLE).
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    stated: dict[str, tuple[int, str]] = {}
    try:
        with zipfile.ZipFile(partial, "x", zipfile.ZIP_STORED) as archive:  # wheels and bundles are compressed
            for name in sorted(files):
                assert _NAME.fullmatch(name), name
                with files[name].open("rb") as source, archive.open(_info(name), "w", force_zip64=True) as target:
                    stated[name] = _copied(source, target)
            kit = Kit(path, tool_version, platform, python, stated)
            archive.writestr(_info(MANIFEST), _document(kit))
        os.replace(partial, path)
    except OSError as failed:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=path, reason=failed.strerror or failed) from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return kit


def _document(kit: Kit) -> str:
    files = {name: {"bytes": size, "sha256": digest} for name, (size, digest) in kit.files.items()}
    stated = {"kit": VERSION, "tool_version": kit.tool_version, "platform": kit.platform, "python": kit.python}
    return json.dumps({**stated, "files": files}, indent=1) + "\n"


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.external_attr = 0o100644 << 16
    return info


def _copied(source: Any, target: Any) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while piece := source.read(_PIECE):
        target.write(piece)
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def _entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files of the zip by name. Raises Refusal(INPUT_KIT): another name than a kit has, a link, a bomb."""
    entries: dict[str, zipfile.ZipInfo] = {}
    total, lower = 0, set()
    for info in archive.infolist():
        link = (info.external_attr >> 16) & 0o170000 == 0o120000
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not link
        named = info.filename == MANIFEST or _NAME.fullmatch(info.filename)
        bomb = info.file_size > bundle_files.MAX_RATIO * max(info.compress_size, 1)
        if not (named and plain) or bomb or info.filename.lower() in lower:
            raise _refuse(path, f"'{info.filename}' may not be in a kit")
        lower.add(info.filename.lower())  # two names that one disk takes for the same
        entries[info.filename] = info
        total += info.file_size
    if len(entries) > MAX_FILES or total > MAX_BYTES:
        raise _refuse(path, "it holds more or larger files than a kit may")
    return entries


def _parsed(path: Path, content: bytes) -> Kit:
    try:
        stated = bundle_files.parse_json(content)
        if stated["kit"] != VERSION:
            raise _refuse(path, f"its form, number {stated['kit']}, is not known to this version of MedImgClassifier")
        texts = [stated[key] for key in ("tool_version", "platform", "python")]
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in stated["files"].items()}
        sound = all(isinstance(text, str) and len(text) < 80 for text in texts) and all(
            type(size) is int and isinstance(digest, str) for size, digest in files.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as bad:
        raise _refuse(path, f"its {MANIFEST} cannot be understood ({type(bad).__name__}: {bad})") from None
    if not sound or not any(name.startswith("wheels/") for name in files):
        raise _refuse(path, f"its {MANIFEST} does not say what a kit's must")
    return Kit(path, texts[0], texts[1], texts[2], files)


def _pieces(path: Path, archive: zipfile.ZipFile, name: str, size: int) -> Any:
    """The content of a file, piece by piece, no more than stated. Raises Refusal(INPUT_KIT)."""
    try:
        with archive.open(name) as member:
            while size > 0 and (piece := member.read(min(_PIECE, size))):
                size -= len(piece)
                yield piece
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as bad:
        raise _refuse(path, f"'{name}' cannot be read ({bad})") from None


def _append(folder: Path, file: Path, piece: bytes) -> None:
    try:
        with file.open("ab") as target:
            target.write(piece)
    except OSError as failed:
        raise Refusal("RESOURCE_TEMPORARY_FOLDER", path=folder, reason=failed.strerror or failed) from None


def _refuse(path: Path, reason: str) -> Refusal:
    return Refusal("INPUT_KIT", path=path, reason=reason)
