"""Checkpoints that survive a crash at any moment: `checkpoint.pt` and, before it, `checkpoint.previous.pt`.

A file is written beside its place, flushed to the disk and renamed; its last 32 bytes are the SHA-256 of
all before. Loading executes nothing (`weights_only`).
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from MedImgClassifierLib.engine.errors import Refusal

from .durable import write_durably

CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) as the current checkpoint, keeping the one before."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    newest = folder / "checkpoint.newest.pt"
    write_durably(newest, content + hashlib.sha256(content).digest())
    if (folder / CURRENT).exists():
        os.replace(folder / CURRENT, folder / PREVIOUS)
    os.replace(newest, folder / CURRENT)


def load(folder: Path, made_with: Mapping[str, str]) -> tuple[dict[str, Any], str] | None:
    """The newest intact checkpoint and a note ('' or why the previous one was taken); None where there is none.

    made_with: what state['made_with'] has to equal (hashes of recipe, data, input specification).
    Raises Refusal DATA_CHECKPOINT if no file is intact or the newest intact one was made with other settings.
    """
    damaged = ""
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        content, digest = (raw := path.read_bytes())[:-32], raw[-32:]
        if hashlib.sha256(content).digest() != digest:
            damaged = damaged or f"{name} is damaged (checksum differs)"
            path.replace(path.with_suffix(".damaged"))  # so that the next save does not rotate it over an intact one
            continue
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        differing = [key for key in made_with if state["made_with"].get(key) != made_with[key]]
        if differing:
            raise Refusal("DATA_CHECKPOINT", path=path, reason=f"made with another {' and another '.join(differing)}")
        return state, damaged
    if damaged:
        raise Refusal("DATA_CHECKPOINT", path=folder / CURRENT, reason=damaged)
    return None
