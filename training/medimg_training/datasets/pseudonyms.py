"""Pseudonyms: names that stay the same for the same patient and that nobody without the key leads back.

HMAC-SHA256 (RFC 2104) of kind and text under a random key of 32 bytes, of which 80 bits are kept as 16 letters and
digits (base32): among a million patients two share a pseudonym with a probability of 4e-13. A plain hash would not
do: who can list the ids of a hospital can hash them all.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from MedImgClassifierLib.engine.errors import Refusal

KEY_FILE = "pseudonyms.key"
_KEY_BYTES = 32
_KEPT_BYTES = 10


@dataclass(frozen=True)
class Pseudonyms:
    """key: 32 bytes, in no repr."""

    key: bytes = field(repr=False)

    def of(self, kind: str, text: str) -> str:
        """Pseudonym of a text of a kind ('patient', 'study', ...), 16 of a-z and 2-7; '' stays ''."""
        if not text:
            return ""
        digest = hmac.digest(self.key, f"{kind}\0{text}".encode(), hashlib.sha256)
        return base64.b32encode(digest[:_KEPT_BYTES]).decode().lower()

    @classmethod
    def throwaway(cls) -> Pseudonyms:
        """Of a key that is kept nowhere, for a dry run."""
        return cls(secrets.token_bytes(_KEY_BYTES))

    @classmethod
    def opened(cls, private: Path, output: Path) -> Pseudonyms:
        """Of the key in the folder `private`, which is made where there is none, readable by its owner alone.

        output: the manifest's folder, which is meant to be passed on. Raises Refusal DATA_KEY where the key would lie
        in it, where others may read the key, and where it is damaged.
        """
        check_apart(private, output)
        path = private / KEY_FILE
        try:
            private.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                _write_new(path)
            mode, text = stat.S_IMODE(path.stat().st_mode), path.read_text(encoding="ascii")
            key = bytes.fromhex(text)
        except OSError as error:
            raise Refusal("DATA_KEY", path=path, reason=error.strerror or str(error)) from error
        except ValueError as error:
            raise Refusal("DATA_KEY", path=path, reason="it does not hold a key") from error
        if os.name == "posix" and mode & 0o077:  # on Windows these bits say nothing
            raise Refusal("DATA_KEY", path=path, reason=f"others may read it (mode {mode:o}); `chmod 600` it")
        if len(key) != _KEY_BYTES:
            raise Refusal("DATA_KEY", path=path, reason=f"it holds {len(key)} bytes, not {_KEY_BYTES}")
        return cls(key)


def check_apart(private: Path, output: Path) -> None:
    """Raises Refusal DATA_KEY where the private folder is the manifest's folder or lies in it."""
    if private.resolve().is_relative_to(output.resolve()):
        reason = f"it would lie in '{output}', which is what gets passed on"
        raise Refusal("DATA_KEY", path=private / KEY_FILE, reason=reason)


def _write_new(path: Path) -> None:
    """Never over another key: pseudonyms made with it would be lost."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_bytes(_KEY_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
