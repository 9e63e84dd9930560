"""A zip as studies are sent in, unpacked into a private folder: DICOM files, or one image of another format.

Nothing here trusts a name, a size or a number of the zip. No name of it is ever a name on disk: files are numbered, in
numbered folders that keep apart what the zip keeps apart, and have one of the endings that reading knows or none. What
lies inside it packed once more stays packed.
"""

from __future__ import annotations

import io
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .dicom_headers import is_dicom
from .errors import Refusal, first_line

Progress = Callable[[str, float], None]
"""Called with the stage 'unpack' and the fraction done, 0..1; raising from it cancels."""

MAX_ENTRIES = 20_000
MAX_BYTES = 8 << 30
MAX_RATIO = 200
"""Of what is unpacked to the size of the zip. Voxels compress to a half or a tenth, those of a mask further; hence:"""
ANY_RATIO_BYTES = 64 << 20
"""So much may come of a zip however small."""

_LARGEST_DIRECTORY = 16 << 20  # bytes; 20,000 entries of 800 each
_PIECE = 1 << 20  # bytes between two looks for a cancel
_SHOWN = 100  # characters of a name, which may have 65,535
_DETACHED = (".mhd", ".nhdr")
_ENDINGS = (".dcm", ".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", *_DETACHED)
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # flags: encrypted, strongly so, its directory too
_BROKEN = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, struct.error, OSError)
_WRITTEN = re.compile(r"(folder-\d{5}[/\\])?(entry-\d{5}(?:\.[a-z]+)*)")

_Entry = tuple[str, zipfile.ZipInfo]


@dataclass(frozen=True)
class Unpacked:
    """A zip that was unpacked. place: what is to be read, a folder of DICOM files or one image file."""

    archive: Path
    root: Path
    place: Path
    names: Mapping[str, str]
    """Of a numbered file, its name in the zip, '/' between folders."""

    @property
    def name(self) -> str:
        """What the user knows `place` by: the name of the zip, or of the one image in it."""
        return self.archive.name if self.place == self.root else self.in_words(self.place.name)

    def in_words(self, text: str) -> str:
        """A text about numbered files and folders with the names that the user knows."""

        def known(found: re.Match[str]) -> str:
            name = self.names.get(found[2], found[2])
            return name if found[1] else name.rpartition("/")[2]

        return _WRITTEN.sub(known, text.replace(str(self.root), str(self.archive)))


def is_archive(path: Path) -> bool:
    """Whether a file is named as a zip or begins as one. Raises OSError."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() == ".zip" or file.read(4) in (b"PK\3\4", b"PK\5\6")


def unpack(archive: Path, folder: Path, progress: Progress, limit: int = MAX_BYTES) -> Unpacked:
    """Unpack a zip into a new folder inside `folder`, which must be private; limit: bytes of all its files.

    Raises Refusal(INPUT_ARCHIVE, RESOURCE_TEMPORARY_FOLDER) and whatever `progress` raises. Nothing is left then.
    """
    root = None
    try:
        root = Path(tempfile.mkdtemp(prefix="unpacked-", dir=folder))
        with _opened(archive) as packed:
            allowed = min(limit, max(ANY_RATIO_BYTES, MAX_RATIO * archive.stat().st_size))
            written = _write(packed, _entries(packed, archive), archive, root, allowed, progress)
        place = _place(written, archive, root)
    except BaseException as failed:
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)
        if isinstance(failed, OSError):
            raise Refusal("RESOURCE_TEMPORARY_FOLDER", path=folder, reason=_why(failed)) from None
        raise
    return Unpacked(archive, root, place, {path.name: name for path, name in written.items()})


def _refused(archive: Path, reason: str) -> Refusal:
    return Refusal("INPUT_ARCHIVE", path=archive, reason=reason)


def _refused_entry(archive: Path, name: str, what: str) -> Refusal:
    return _refused(archive, f"'{name[:_SHOWN]}' in it {what}")


def _why(failed: Exception) -> str:
    stated = failed.strerror if isinstance(failed, OSError) else first_line(failed)
    return stated or type(failed).__name__


class _Stream(io.BufferedReader):
    """A file that is never read whole: zipfile reads a directory of any size at once and makes objects of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory has more than {_LARGEST_DIRECTORY} bytes")
        return super().read(size)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        stream = _Stream(io.FileIO(archive))
    except OSError as failed:
        raise _refused(archive, _why(failed)) from None
    with stream:
        try:
            packed = zipfile.ZipFile(stream)
        except _BROKEN as broken:
            raise _refused(archive, f"it is damaged or no zip ({_why(broken)})") from None
        with packed:
            yield packed


def _entries(packed: zipfile.ZipFile, archive: Path) -> list[_Entry]:
    """The files to unpack, with their names, in the order in which a folder is walked."""
    found = packed.infolist()
    if len(found) > MAX_ENTRIES:
        raise _refused(archive, f"it has {len(found)} entries, {MAX_ENTRIES} are allowed")
    if sum(info.compress_size for info in found) > archive.stat().st_size:
        raise _refused(archive, "several of its entries are made of the same bytes")
    entries = []
    for info in found:
        name = info.orig_filename.replace("\\", "/")  # as stated: `filename` ends where a NUL stands
        _check(info, name, archive)
        if not _passed_over(name):
            entries.append((name, info))
    return sorted(entries, key=lambda entry: (entry[0].split("/")[:-1], entry[0]))


def _check(info: zipfile.ZipInfo, name: str, archive: Path) -> None:
    """Refuses an entry that no honest zip of images has, whether or not it would be unpacked."""
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/") or "\0" in name:
        raise _refused_entry(archive, name, "leads out of it")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused_entry(archive, name, "is a link or a device")
    if info.flag_bits & _ENCRYPTED:
        raise _refused_entry(archive, name, "is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # lzma may ask for 4 GiB of memory
        raise _refused_entry(archive, name, "is compressed in another way than by deflate")


def _passed_over(name: str) -> bool:
    """Folders, what systems leave beside images, and the index of a DICOM medium."""
    *folders, last = name.split("/")
    return "__MACOSX" in folders or last in ("", ".DS_Store") or last.startswith("._") or last.upper() == "DICOMDIR"


def _write(
    packed: zipfile.ZipFile, entries: Sequence[_Entry], archive: Path, root: Path, allowed: int, progress: Progress
) -> dict[Path, str]:
    """Write the entries; file -> its name in the zip. Raises OSError. `allowed` bytes are counted as they come, for the
    sizes that a zip states are only its word."""
    total, done = sum(info.file_size for _, info in entries), 0
    folders: dict[str, Path] = {}
    written: dict[Path, str] = {}
    _check_size(total, allowed, archive)
    for number, (name, info) in enumerate(entries, 1):
        parent = name.rpartition("/")[0]
        if parent not in folders:
            folders[parent] = root / f"folder-{len(folders) + 1:05}"
            folders[parent].mkdir()
        file = folders[parent] / f"entry-{number:05}{_ending(name)}"
        written[file] = name
        with file.open("xb") as stream:
            progress("unpack", min(done / max(total, 1), 1.0))
            for piece in _pieces(packed, info, name, archive):
                done += len(piece)
                _check_size(done, allowed, archive)
                stream.write(piece)
                progress("unpack", min(done / max(total, 1), 1.0))
    return written


def _check_size(size: int, allowed: int, archive: Path) -> None:
    if size > allowed:
        raise _refused(archive, f"it unpacks to more than the {allowed >> 20} MiB that a zip of its size may")


def _pieces(packed: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, archive: Path) -> Iterator[bytes]:
    """The content of an entry, at its end compared with its checksum."""
    try:
        with packed.open(info) as member:
            while piece := member.read(_PIECE):
                yield piece
    except _BROKEN as broken:
        raise _refused_entry(archive, name, f"is damaged ({_why(broken)})") from None


def _ending(name: str) -> str:
    """The ending by which an image is read; '' for any other, also of programs."""
    return next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")


def _place(written: Mapping[Path, str], archive: Path, root: Path) -> Path:
    """The folder where any file is DICOM (other files are then passed over, as in a folder), else the one image."""
    if any(path.suffix == ".dcm" or is_dicom(path) for path in written):
        return root
    images = [path for path in written if path.suffix]
    if not images:
        raise _refused(archive, "it holds no image (a zip inside it is not opened)")
    if len(images) > 1:
        names = ", ".join(written[path][:_SHOWN] for path in images[:3]) + (", ..." if len(images) > 3 else "")
        raise _refused(archive, f"it holds {len(images)} images that are not DICOM ({names}), where one is wanted")
    if images[0].suffix in _DETACHED:
        raise _refused_entry(archive, written[images[0]], "has its voxels in a file of their own")
    return images[0]
