"""What the page sends: the files of one patient, streamed into a private folder and never opened by this process.

Nothing on the disk bears a name that the page chose. A file is numbered and keeps its ending where that is harmless,
files of one folder stay together in a numbered folder: names of files are names of patients often enough.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..engine.errors import Refusal

if TYPE_CHECKING:
    from aiohttp import BodyPartReader, MultipartReader
    from aiohttp.web import Request, Response

T = TypeVar("T")

_CHUNK = 1 << 18
_STATUS = {
    "USAGE_UPLOAD_BROKEN": 400,
    "USAGE_UPLOAD_EMPTY": 400,
    "USAGE_UPLOAD_SILENT": 400,  # not 408, on which a browser may send everything again by itself
    "USAGE_UPLOAD_TOO_LARGE": 413,
    "USAGE_UPLOAD_TOO_MANY": 413,
    "RESOURCE_TEMPORARY_FOLDER": 507,
}
_REFUSED = 409  # busy, or the application said no
_ENDING = re.compile(r"(?:\.nii\.gz|\.[a-z][a-z0-9]{0,7})\Z", re.ASCII)
# Content-Disposition as browsers write it: only quotes and line ends are escaped, and not with a backslash
_FILENAME = re.compile(r';\s*filename=(?:"(.*)"|([^;\s]*))', re.DOTALL | re.IGNORECASE)
_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


@dataclass(frozen=True)
class Limits:
    """What one upload may cost: bytes in all, files, seconds without anything arriving."""

    total_bytes: int = 4 << 30
    files: int = 20_000
    silence_s: float = 30.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Upload:
    """Files that have arrived whole. path: the file, or the folder where several were sent; name: the page's own
    name of the file or folder, for display only; folder: what `remove` deletes."""

    id: str
    path: Path
    name: str
    folder: Path

    def remove(self) -> None:
        """Delete it from the disk. A file that another process holds open (Windows) goes when the door closes."""
        shutil.rmtree(self.folder, ignore_errors=True)


async def settled(value: T | Awaitable[T]) -> T:
    """The value, waited for where a callback is asynchronous."""
    return await value if inspect.isawaitable(value) else value


class Uploads:
    """Receives uploads, one at a time, and hands each to `on_upload`, which may raise a Refusal to decline it."""

    def __init__(
        self,
        on_upload: Callable[[Upload], Awaitable[None] | None],
        language: Callable[[], str],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        from aiohttp import BadContentDispositionHeader

        # aiohttp would print the names of some files, which may be names of patients
        warnings.filterwarnings("ignore", category=BadContentDispositionHeader)
        self._on_upload = on_upload
        self._language = language
        self._limits = limits
        self._busy = False
        self._folders: list[Path] = []

    async def receive(self, request: Request) -> Response:
        """Answer POST /upload with JSON: {"upload": id}, or {"error": line of a Refusal} with its status."""
        from aiohttp import web

        try:
            upload = await self._alone(request)
        except Refusal as refusal:
            status = _STATUS.get(refusal.code, _REFUSED)
            return web.json_response({"error": refusal.message(self._language())}, status=status)
        return web.json_response({"upload": upload.id})

    def close(self) -> None:
        """Delete whatever was received and is still there."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    async def _alone(self, request: Request) -> Upload:
        if self._busy:
            raise Refusal("USAGE_UPLOAD_BUSY")
        self._busy = True
        try:
            self._check_announced(request)
            return await self._handed_over(request)
        finally:
            self._busy = False

    def _check_announced(self, request: Request) -> None:
        """Refuses by the headers alone what could only fail later."""
        announced = request.content_length or 0
        if request.content_type != "multipart/form-data":
            raise Refusal("USAGE_UPLOAD_BROKEN", reason=f"sent as {request.content_type}")
        if announced > self._limits.total_bytes:
            raise _too_large(self._limits)
        if announced > shutil.disk_usage(tempfile.gettempdir()).free:
            raise _unwritable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    async def _handed_over(self, request: Request) -> Upload:
        try:
            folder = Path(tempfile.mkdtemp(prefix="medimg-upload-"))  # open to this user alone
        except OSError as error:
            raise _unwritable(error) from error
        self._folders.append(folder)
        try:
            arriving = _Arriving(folder, self._limits)
            await arriving.take(request)
            upload = Upload(secrets.token_hex(8), arriving.path, arriving.name, folder)
            await settled(self._on_upload(upload))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return upload


class _Arriving:
    """One upload on its way to the disk."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._bytes = 0
        self._files: list[Path] = []
        self._groups: dict[tuple[str, ...], Path] = {}  # a folder of the page's -> ours
        self._first: tuple[str, ...] = ()  # path of the first file, as the page names it

    @property
    def path(self) -> Path:
        return self._files[0] if len(self._files) == 1 else self._folder

    @property
    def name(self) -> str:
        """Name of the only file, or of the outermost folder, without what could disturb a display."""
        sent = self._first[-1 if len(self._files) == 1 else 0] if self._first else ""
        return "".join(c for c in sent if c.isprintable())[:120].strip() or "upload"

    async def take(self, request: Request) -> None:
        """Write every file. Raises Refusal."""
        try:
            reader = await self._heard(request.multipart())
            while (part := await self._heard(reader.next())) is not None:
                await self._take_file(part)
        except OSError as error:  # the disk's: those of the connection have become refusals
            raise _unwritable(error) from error
        if not self._files:
            raise Refusal("USAGE_UPLOAD_EMPTY")

    async def _take_file(self, part: MultipartReader | BodyPartReader) -> None:
        from aiohttp import BodyPartReader

        named = _FILENAME.search(part.headers.get("Content-Disposition", ""))
        if named is None or not isinstance(part, BodyPartReader):
            raise Refusal("USAGE_UPLOAD_BROKEN", reason="a part is not a file")
        if len(self._files) == self._limits.files:
            raise Refusal("USAGE_UPLOAD_TOO_MANY", limit=self._limits.files)
        with self._place(named[1] or named[2] or "").open("xb") as file:
            while not part.at_eof():
                chunk = await self._heard(part.read_chunk(_CHUNK))
                self._bytes += len(chunk)
                if self._bytes > self._limits.total_bytes:
                    raise _too_large(self._limits)
                await asyncio.to_thread(file.write, chunk)  # a slow disk must not stop the picture

    async def _heard(self, coming: Awaitable[T]) -> T:
        """What the page sends next. Raises Refusal for silence, and for whatever is not the multipart it should be."""
        try:
            async with asyncio.timeout(self._limits.silence_s):
                return await coming
        except TimeoutError:
            raise Refusal("USAGE_UPLOAD_SILENT", seconds=f"{self._limits.silence_s:g}") from None
        except Exception as error:  # only aiohttp's parser runs here: what it trips over was sent so
            raise Refusal("USAGE_UPLOAD_BROKEN", reason=str(error)[:200] or type(error).__name__) from error

    def _place(self, sent: str) -> Path:
        """Where a file goes that the page calls `sent`. Raises OSError."""
        for escape, character in _ESCAPES.items():
            sent = sent.replace(escape, character)
        parts = tuple(part for part in re.split(r"[/\\]", sent) if part.strip("."))
        self._first = self._first or parts
        group = parts[:-1]
        if group not in self._groups:
            self._groups[group] = self._folder / f"{len(self._groups):05d}"
            self._groups[group].mkdir()
        ending = _ENDING.search(parts[-1].lower() if parts else "")
        path = self._groups[group] / f"{len(self._files):05d}{ending[0] if ending else ''}"
        self._files.append(path)
        return path


def _too_large(limits: Limits) -> Refusal:
    return Refusal("USAGE_UPLOAD_TOO_LARGE", limit=f"{limits.total_bytes / 2**30:.3g}")


def _unwritable(error: OSError) -> Refusal:
    reason = error.strerror or type(error).__name__
    return Refusal("RESOURCE_TEMPORARY_FOLDER", path=tempfile.gettempdir(), reason=reason)
