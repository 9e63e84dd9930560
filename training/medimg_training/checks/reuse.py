"""REUSE: a backbone that was trained on groups which are now to be evaluated on.

A bundle may carry its training groups as keyed hashes (HMAC-SHA-256): who has the key can compare, who has not cannot
even try out names. In the bundle's manifest stands which key it was, never the key:

    "training_groups": {"algorithm": "hmac-sha256", "key": "<name of the key>", "file": "training_groups.txt"}

The file has one hash a line. The key's name is the hash of a fixed text under it, shortened: it tells two keys apart.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from MedImgClassifierLib.engine import bundle_files
from MedImgClassifierLib.engine.bundle import Bundle
from MedImgClassifierLib.engine.errors import Refusal

from .model import CheckInput, CheckResult, Offence, TrainedOn

CODE = "REUSE"
FILE = "training_groups.txt"
SHORTEST_KEY = 16
_NAME_OF_KEY = b"name of this key"


def check(data: CheckInput) -> CheckResult:
    """Do the backbone's training groups meet the groups of a role evaluate (without a split: any group)?"""
    if data.backbone is None:
        return CheckResult(CODE, "not applicable", "NO_BACKBONE")
    facts: dict[str, object] = {"bundle": data.backbone.bundle}
    if data.backbone.hashes is None:
        return CheckResult(CODE, "not applicable", "NO_TRAINING_GROUPS", facts)
    if data.key is None:
        return CheckResult(CODE, "not applicable", "KEY_MISSING", facts | {"key": data.backbone.key})
    if key_name(data.key) != data.backbone.key:
        return CheckResult(CODE, "not applicable", "KEY_DIFFERS", facts | {"key": data.backbone.key})
    evaluated = {group for fold in data.split.folds for group in fold.evaluate} if data.split else None
    rows = [row for row in data.rows if evaluated is None or row.group in evaluated]
    groups = {row.group for row in rows}
    met = {group for group in groups if hashed(group, data.key) in data.backbone.hashes}
    reason = f"its group was trained on for bundle '{data.backbone.bundle}'"
    offences = tuple(Offence(row.sample, reason, row.group) for row in rows if row.group in met)
    facts |= {"met": len(met), "groups": len(groups)}
    numbers = {"statistic": "groups", "threshold": 1, "trained_on": len(data.backbone.hashes), **facts}
    return CheckResult.of(CODE, bool(met), facts, numbers, offences)


def hashed(group: str, key: bytes) -> str:
    """The keyed hash of a group, 64 hexadecimal digits."""
    return hmac.new(key, b"group " + group.encode(), hashlib.sha256).hexdigest()


def key_name(key: bytes) -> str:
    """What a bundle calls the key: 16 hexadecimal digits that tell it from others and do not give it away."""
    return hmac.new(key, _NAME_OF_KEY, hashlib.sha256).hexdigest()[:16]


def training_groups(groups: Iterable[str], key: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """The entry `training_groups` of a bundle's manifest, and the file it names with its content.

    groups: every group that weights were learned from. Raises ValueError for a key of fewer than 16 bytes.
    """
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"a key has at least {SHORTEST_KEY} bytes, this one {len(key)}")
    lines = sorted({hashed(group, key) for group in groups})
    entry = {"algorithm": "hmac-sha256", "key": key_name(key), "file": FILE}
    return entry, {FILE: "".join(f"{line}\n" for line in lines).encode()}


def trained_on(bundle: Bundle) -> TrainedOn:
    """What a loaded bundle says of its training groups. Raises Refusal BUNDLE_CHANGED, BUNDLE_NOT_FOUND."""
    name = f"{bundle.id}-{bundle.manifest['version']}"
    entry: dict[str, Any] | None = bundle.manifest.get("training_groups")
    if entry is None:
        return TrainedOn(name)
    lines = bundle_files.read(bundle.path).get(entry["file"], b"").decode("ascii", "replace").split()
    if not lines or any(len(line) != 64 for line in lines):
        reason = f"its file '{entry['file']}' does not hold one hash a line"
        raise Refusal("BUNDLE_CHANGED", path=bundle.path, reason=reason)
    return TrainedOn(name, entry["key"], frozenset(lines))


def read_key(path: Path) -> bytes:
    """The key in a file, without white space at its ends. Raises Refusal INPUT_NOT_FOUND, DATA_GROUP_KEY."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise Refusal("INPUT_NOT_FOUND", path=path) from error
    if len(key) < SHORTEST_KEY:
        raise Refusal("DATA_GROUP_KEY", path=path, least=SHORTEST_KEY, found=len(key))
    return key
