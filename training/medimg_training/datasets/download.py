"""A file from the net: checked, whole or not there."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal

_CHUNK = 1 << 20


def download(url: str, path: Path, md5: str, *, largest: int, timeout_s: float = 30, progress: bool = False) -> None:
    """Download `url` to `path`, by way of `path` + '.part', which goes whatever happens.

    md5: of the whole file; largest: bytes; timeout_s: without a sign of life.
    Raises Refusal DATA_DOWNLOAD, and USAGE_FILE_NOT_WRITTEN where the file has no place.
    """
    if not url.startswith(("https://", "http://")):
        raise Refusal("DATA_DOWNLOAD", url=url, reason="it is no address of the web")
    part = path.with_name(path.name + ".part")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with part.open("wb") as file:
            for chunk in _chunks(url, largest, timeout_s, progress):
                file.write(chunk)
                digest.update(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != md5:
            raise Refusal("DATA_DOWNLOAD", url=url, reason=f"its MD5 is {digest.hexdigest()}, not {md5}")
        os.replace(part, path)
    except OSError as error:
        raise Refusal("USAGE_FILE_NOT_WRITTEN", path=path, reason=error.strerror or str(error)) from error
    finally:
        part.unlink(missing_ok=True)


def _chunks(url: str, largest: int, timeout_s: float, progress: bool) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            come = 0
            with tqdm(total=total or None, desc="download", disable=not progress, unit="B", unit_scale=True) as bar:
                while chunk := answer.read(_CHUNK):
                    come += len(chunk)
                    if max(come, total) > largest:
                        raise Refusal("DATA_DOWNLOAD", url=url, reason=f"it is larger than {largest} bytes")
                    bar.update(len(chunk))
                    yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:  # also those of urllib and of time
        raise Refusal("DATA_DOWNLOAD", url=url, reason=str(error) or type(error).__name__) from error
