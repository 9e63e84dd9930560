"""Taking a bundle in: verified whole, then copied into the user's folder in one step, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from .. import resources
from . import bundle as bundles
from . import bundle_files
from .card import read_card
from .errors import Refusal
from .runtime_choice import choose

Progress = Callable[[str, float], None]
"""Called with a stage ('read', 'check', 'self-test', 'copy') and the fraction done, 0..1; raising from it cancels."""

_PIECE = 8 << 20  # bytes between two looks for a cancel


class Installed(NamedTuple):
    """name: in resources.bundles(); already: it was there before, unchanged."""

    name: str
    path: Path
    already: bool


def install(source: Path, progress: Progress) -> Installed:
    """Import a bundle folder or zip, which stays as it is, into `resources.user_folder()`.

    Raises the refusals of bundle.load and runtime_choice.choose, BUNDLE_INSTALLED (another one with its id and version
    is here, or a damaged copy), RESOURCE_BUNDLE_FOLDER, and whatever `progress` raises. Nothing is left behind then.
    """
    progress("read", 0.0)
    files = bundle_files.read(source)
    progress("check", 0.0)
    bundle = bundles.load(source)
    if bundle_files.describe(files[bundle_files.MANIFEST])["sha256"] != bundle.manifest_sha256:
        raise Refusal("BUNDLE_CHANGED", path=source, reason="it changes while it is read")
    bundle_files.check_hashes(source, files, bundle.manifest["files"])  # what is copied is what was loaded
    name = f"{bundle.id}-{bundle.manifest['version']}"
    there = _already(bundle, name)
    if there is not None:
        return there
    progress("self-test", 0.0)
    choose(bundle)
    progress("copy", 0.0)
    folder = resources.user_folder()
    try:
        return Installed(name, _copied(files, folder, name, progress), already=False)
    except OSError as failed:
        raise Refusal("RESOURCE_BUNDLE_FOLDER", path=folder, reason=failed.strerror or failed) from None


def _already(bundle: bundles.Bundle, name: str) -> Installed | None:
    """The same bundle where it is here, None where nothing of its id and version is. Raises Refusal(BUNDLE_INSTALLED)
    for another one, or a copy that was changed."""
    for known, path in resources.bundles().items():
        card = read_card(path)
        if known != name and (card.id, card.version) != (bundle.id, bundle.manifest["version"]):
            continue
        try:
            if card.manifest_sha256 != bundle.manifest_sha256:
                raise Refusal("BUNDLE_CHANGED", path=path, reason="it is not the same")
            bundle_files.check_hashes(path, bundle_files.read(path), bundle.manifest["files"])
        except Refusal as other:
            facts = {"path": bundle.path, "name": known, "reason": other.facts["reason"]}
            raise Refusal("BUNDLE_INSTALLED", **facts) from None
        return Installed(known, path, already=True)
    return None


def _copied(files: Mapping[str, bytes], folder: Path, name: str, progress: Progress) -> Path:
    """Write the files aside and move them in place. Raises OSError, and whatever `progress` raises."""
    new_folders = [place for place in (folder, *folder.parents) if not place.exists()]
    total, written = sum(map(len, files.values())), 0
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for rest in folder.glob(f".{name}.partial-*"):  # of an import that was killed
            shutil.rmtree(rest, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=folder))
        for file, content in files.items():
            (staging / name / file).parent.mkdir(parents=True, exist_ok=True)
            with (staging / name / file).open("wb") as stream:
                for start in range(0, len(content), _PIECE):
                    progress("copy", written / total)
                    written += stream.write(memoryview(content)[start : start + _PIECE])
        progress("copy", 1.0)
        (staging / name).rename(folder / name)
    except BaseException:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for place in new_folders:
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
        raise
    shutil.rmtree(staging, ignore_errors=True)
    return folder / name
