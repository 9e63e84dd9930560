"""Waivers: why training may go on although a check fires, in writing, in `waivers.json`.

    {"BACKGROUND_SHORTCUT": {"reason": "...", "who": "...", "when": "2026-01-31T12:00:00+00:00", "manifest_sha256": ""}}

A waiver holds for the manifest it was given for; when table or classes (or a file's hash in manifest.json) change, it
has lapsed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from MedImgClassifierLib.engine.errors import Refusal

from ..durable import write_durably
from .words import ADVICE

FILE = "waivers.json"


@dataclass(frozen=True)
class Waiver:
    """reason: why the check may be passed over;  who, when (ISO 8601): by whom and when;  manifest_sha256: for what."""

    reason: str
    who: str
    when: str
    manifest_sha256: str

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) and value.strip() for value in asdict(self).values()):
            raise ValueError("a waiver needs a reason, who gives it, when, and for which manifest")


def read_waivers(folder: Path) -> dict[str, Waiver]:
    """code -> Waiver of `waivers.json` in a folder, {} where there is none. Raises Refusal DATA_WAIVER for a file that
    is none, an unknown check, or an empty reason."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {code: Waiver(**entry) for code, entry in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Refusal("DATA_WAIVER", path=path, reason=str(error)) from error
    for code in found:
        _check_code(path, code)
    return found


def waive(folder: Path, code: str, reason: str, who: str, manifest_sha256: str) -> Mapping[str, Waiver]:
    """Add a waiver to `waivers.json` in a folder, in place of an earlier one of the same check, and return all.

    Raises Refusal DATA_WAIVER for an unknown check, an empty reason, no name, or a file that is none.
    """
    path = folder / FILE
    _check_code(path, code)
    try:
        new = Waiver(reason.strip(), who.strip(), datetime.now(UTC).isoformat(timespec="seconds"), manifest_sha256)
    except ValueError as error:
        raise Refusal("DATA_WAIVER", path=path, reason=str(error)) from error
    waivers = {**read_waivers(folder), code: new}
    content = {name: asdict(waiver) for name, waiver in sorted(waivers.items())}
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return waivers


def _check_code(path: Path, code: str) -> None:
    if code not in ADVICE:
        raise Refusal("DATA_WAIVER", path=path, reason=f"there is no check '{code}' (there are {', '.join(ADVICE)})")
