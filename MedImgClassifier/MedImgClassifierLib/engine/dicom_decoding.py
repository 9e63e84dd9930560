"""Compressed DICOM images -> stored values.

JPEG, JPEG-LS and JPEG 2000 are decoded by GDCM (in SimpleITK) from a minimal copy of the file: GDCM then sees
neither the rescale tags nor MONOCHROME1, both of which it would apply in its own way, nor the rest of a header that
it may be slow or crash on. It fills in what a cut image lacks, so completeness is checked here first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from .dicom_headers import ImageHeader, open_data_set
from .errors import Refusal

_JPEG = "1.2.840.10008.1.2.4."
_RLE = "1.2.840.10008.1.2.5"
DECODED = frozenset({_JPEG + n for n in ("50", "51", "57", "70", "80", "81", "90", "91")} | {_RLE})
"""Transfer syntaxes: JPEG baseline, extended, lossless (two), JPEG-LS (two), JPEG 2000 (two), RLE."""

_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def stored_kind(header: ImageHeader) -> np.dtype[np.integer[Any]]:
    """Type of the stored values, in the byte order of this machine."""
    return np.dtype(f"{'i' if header.signed else 'u'}{header.bits_allocated // 8}")


def decoded(header: ImageHeader, scratch: Path) -> NDArray[np.integer[Any]]:
    """Stored values [J, I] of a compressed image, decoded through a minimal file at `scratch`."""
    frame = compressed_frame(header)
    if header.transfer_syntax == _RLE:
        return _run_lengths_decoded(header, frame)
    scratch.write_bytes(_minimal_file(header, frame))
    try:
        image = SimpleITK.ReadImage(str(scratch), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise Refusal("INPUT_VALUES", path=header.path, reason="the compressed image cannot be decoded") from error
    finally:
        scratch.unlink()
    stored: NDArray[np.integer[Any]] = SimpleITK.GetArrayFromImage(image)
    if stored.dtype != stored_kind(header) or stored.size != header.rows * header.columns:
        reason = f"the compressed image decodes to {stored.dtype}, its header says {stored_kind(header)}"
        raise Refusal("INPUT_VALUES", path=header.path, reason=reason)
    return stored.reshape(header.rows, header.columns)


def compressed_frame(header: ImageHeader) -> bytes:
    """The one compressed frame: the encapsulated items after the offset table, joined (DICOM PS3.5 A.4).

    Refused where it is cut or is not as large as the header says, for decoders fill in what is missing.
    """
    with open_data_set(header.path, header.transfer_syntax) as file:
        file.seek(header.pixels_at)
        data = file.read()
    at, items = 0, []
    while data[at : at + 4] == _ITEM:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        items.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    frame = b"".join(items[1:])
    ended = header.transfer_syntax == _RLE or b"\xff\xd9" in frame[-8:]  # end of image, perhaps padded
    if data[at : at + 4] != _SEQUENCE_END or not ended:
        raise Refusal("INPUT_TRUNCATED", path=header.path, expected=f">{len(frame)}", found=len(frame))
    if header.transfer_syntax != _RLE and _codestream_size(frame) != (header.rows, header.columns):
        reason = f"the compressed image is not the {header.rows} x {header.columns} of its header"
        raise Refusal("INPUT_VALUES", path=header.path, reason=reason)
    return frame


def _run_lengths_decoded(header: ImageHeader, frame: bytes) -> NDArray[np.integer[Any]]:
    """RLE (DICOM PS3.5 annex G), decoded here because GDCM fills in what a cut segment lacks."""
    kind, size = stored_kind(header), header.rows * header.columns
    starts = [int.from_bytes(frame[at : at + 4], "little") for at in range(4, 64, 4)][: kind.itemsize]
    ends = [*starts[1:], len(frame)]
    if int.from_bytes(frame[:4], "little") != kind.itemsize:
        raise Refusal("INPUT_VALUES", path=header.path, reason="the number of RLE segments is wrong")
    planes = []
    for start, end in zip(starts, ends, strict=True):
        plane = _unpacked_bits(frame[start:end], size)
        if len(plane) < size:
            raise Refusal("INPUT_TRUNCATED", path=header.path, expected=size, found=len(plane))
        planes.append(np.frombuffer(plane, np.uint8, size))
    stored = np.stack(planes, axis=-1).view(kind.newbyteorder(">"))  # the most significant byte comes first
    return stored.reshape(header.rows, header.columns).astype(kind)


def _unpacked_bits(segment: bytes, size: int) -> bytearray:
    """A PackBits segment, up to `size` bytes: n < 128 takes the next n + 1 bytes, n > 128 repeats one 257 - n times."""
    plane, at = bytearray(), 0
    while len(plane) < size and at + 1 < len(segment):
        n = segment[at]
        if n < 128:
            plane += segment[at + 1 : at + 2 + n]
            at += n + 2
        else:
            plane += segment[at + 1 : at + 2] * (257 - n) if n > 128 else b""
            at += 2 if n > 128 else 1
    return plane


def _codestream_size(frame: bytes) -> tuple[int, int]:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream states itself; (0, 0) where it states none."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(frame[at : at + size], "big")

    siz = frame.find(b"\xff\x4f\xff\x51", 0, 1024)  # start of a JPEG 2000 stream and its size segment
    if siz >= 0:
        return number(siz + 12, 4) - number(siz + 20, 4), number(siz + 8, 4) - number(siz + 16, 4)
    at = 2
    while at + 9 < len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return number(at + 5, 2), number(at + 7, 2)
        at += 1 if marker == 0xFF else 2 + number(at + 2, 2)
    return 0, 0


def _minimal_file(header: ImageHeader, frame: bytes) -> bytes:
    """A DICOM file (secondary capture, explicit little endian) that holds nothing but the coded image."""
    capture = b"1.2.840.10008.5.1.4.1.1.7"

    def uid(group: int, element: int, value: bytes) -> bytes:
        return _element(group, element, b"UI", value + b"\0" * (len(value) % 2))

    def word(element: int, value: int) -> bytes:
        return _element(0x0028, element, b"US", value.to_bytes(2, "little"))

    meta = _element(2, 1, b"OB", b"\0\1") + uid(2, 2, capture) + uid(2, 3, b"2.25.1")
    meta += uid(2, 0x10, header.transfer_syntax.encode("ascii"))
    padded = frame + b"\0" * (len(frame) % 2)
    return b"".join(
        [
            b"\0" * 128 + b"DICM",
            _element(2, 0, b"UL", len(meta).to_bytes(4, "little")),
            meta,
            uid(8, 0x16, capture) + uid(8, 0x18, b"2.25.1") + _element(8, 0x60, b"CS", b"OT"),
            word(2, 1) + _element(0x0028, 4, b"CS", b"MONOCHROME2 "),
            word(0x10, header.rows) + word(0x11, header.columns),
            word(0x100, header.bits_allocated) + word(0x101, header.bits_stored) + word(0x102, header.high_bit),
            word(0x103, int(header.signed)),
            b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + _ITEM + b"\0\0\0\0",
            _ITEM + len(padded).to_bytes(4, "little") + padded,
            _SEQUENCE_END + b"\0\0\0\0",
        ]
    )


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    size = b"\0\0" + len(value).to_bytes(4, "little") if vr == b"OB" else len(value).to_bytes(2, "little")
    return group.to_bytes(2, "little") + element.to_bytes(2, "little") + vr + size + value
