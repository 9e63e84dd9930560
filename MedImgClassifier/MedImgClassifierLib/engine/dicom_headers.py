"""What the headers of DICOM files say: one `ImageHeader`, or `Unusable`, per file that holds an image.

Elements are taken raw, because building pydicom's data set of a file costs more than reading its voxels.
Names, ids and dates of patients are never looked at.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_has_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.uid import UID

from .errors import Refusal

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN})
UNDEFINED_LENGTH = 0xFFFFFFFF

_Order = Literal["little", "big"]
_ORDER: dict[str, _Order] = {BIG_ENDIAN: "big"}
_EXPLICIT, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<L")
_INFLATED_LIMIT = 1 << 30  # one image; more is a decompression bomb
_PIXEL_DATA = 0x7FE00010
_BEFORE_PIXELS = 0x7FE00008  # float pixel data, double float pixel data, pixel data
_TAGS = {
    "charset": 0x00080005,
    "image_type": 0x00080008,
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "modality": 0x00080060,
    "description": 0x0008103E,
    "thickness": 0x00180050,
    "detector_spacing": 0x00181164,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "instance_number": 0x00200013,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "frame_of_reference_uid": 0x00200052,
    "samples": 0x00280002,
    "photometric": 0x00280004,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "pixel_spacing": 0x00280030,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "high_bit": 0x00280102,
    "signed": 0x00280103,
    "intercept": 0x00281052,
    "slope": 0x00281053,
    "rescale_type": 0x00281054,
    "lossy": 0x00282110,
}
_WANTED = frozenset(_TAGS.values())
_FRONT = 1 << 16  # bytes of a file that nearly always hold its header
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image as its file describes it. Lengths in mm, positions and directions in LPS; None: not stated."""

    path: Path
    transfer_syntax: str
    pixels_at: int  # byte offset of the voxels in the (inflated) file
    pixels_length: int  # bytes, or UNDEFINED_LENGTH where they are encapsulated
    series_uid: str
    study_uid: str
    sop_uid: str
    frame_of_reference_uid: str
    modality: str
    description: str
    image_type: str
    instance_number: int | None
    rows: int
    columns: int
    samples: int
    frames: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    slope: float | None
    intercept: float | None
    rescale_type: str
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None  # direction of a row (increasing column index), then of a column
    pixel_spacing: tuple[float, ...] | None  # between rows, between columns
    detector_spacing: tuple[float, ...] | None
    thickness: float | None
    lossy: bool


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that should hold an image but cannot be read. series_uid: '' where the damage hides it."""

    path: Path
    series_uid: str
    modality: str
    refusal: Refusal

    @property
    def reason(self) -> str:
        return f"{self.path.name}: {self.refusal.facts.get('reason', self.refusal.code)}"


def is_dicom(path: Path) -> bool:
    """True where a file carries the DICOM prefix, or begins with DICOM elements at once."""
    with path.open("rb") as file:
        return _beginning(file.read(_FRONT)) is not None


def headers_in(folder: Path) -> Iterator[ImageHeader | Unusable]:
    """The images in a folder and below, in order of path. Links to folders are not followed; files that are
    not DICOM, and DICOM objects without an image (structured reports, DICOMDIR), are passed over. Raises OSError
    for a folder that cannot be opened: its slices would be missing."""

    def unreadable(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            header = read_header(path) if path.is_file() else None
            if header is not None:
                yield header


def read_header(path: Path) -> ImageHeader | Unusable | None:
    """The header of one file; None where it is not DICOM or holds no image.

    Unusable with INPUT_NOT_AN_IMAGE for a damaged header or a .dcm that is not DICOM, with INPUT_TRUNCATED for an
    image without its voxels.
    """
    elements = _Elements()
    with path.open("rb") as file:
        front = file.read(_FRONT)
        beginning = _beginning(front)
        if beginning is None and (path.suffix.lower() != ".dcm" or path.name.startswith(".")):
            return None
        try:
            if beginning is None:
                raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="named as DICOM, but does not begin as DICOM")
            return _read_header(path, file, front, beginning, elements)
        except Refusal as error:
            refusal = error
        except Exception as error:  # whatever the parser trips over, the file is damaged
            reason = f"damaged DICOM header: {type(error).__name__}: {error}"
            refusal = Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=reason)
    series_uid = elements.text("series_uid")
    readable = re.fullmatch(r"[0-9.]{1,64}", series_uid) is not None
    return Unusable(path, series_uid if readable else "", elements.text("modality"), refusal)


def _beginning(front: bytes) -> tuple[int, str] | None:
    """Where a DICOM file's elements begin, and their transfer syntax ('' where file meta elements state it).

    None where it is not DICOM. Preamble and prefix may be missing: it is DICOM, too, where its first two elements
    are standard ones in rising order, the first of group 2 (file meta) or 8.
    """
    if front[128:132] == b"DICM":
        return 132, ""
    order: _Order = "big" if front[:1] == b"\0" else "little"

    def tag_at(at: int) -> int:
        return int.from_bytes(front[at : at + 2], order) << 16 | int.from_bytes(front[at + 2 : at + 4], order)

    tag, vr = tag_at(0), front[4:6]
    explicit = vr in _SHORT_VRS or vr in _LONG_VRS
    if tag >> 16 not in ((2, 8) if order == "little" else (8,)) or not (explicit or order == "little"):
        return None
    start, end = (8, 12) if vr in _LONG_VRS else (6, 8) if explicit else (4, 8)
    tags = tag, tag_at(end + int.from_bytes(front[start:end], order))
    if not (tags[0] < tags[1] and all(tag & 0xFFFF == 0 or dictionary_has_tag(tag) for tag in tags)):
        return None
    if tag >> 16 == 2:
        return 0, ""
    return 0, BIG_ENDIAN if order == "big" else EXPLICIT if explicit else IMPLICIT


def open_data_set(path: Path, transfer_syntax: str) -> BinaryIO:
    """The file as `pixels_at` counts: as it is, or inflated (then at the start of its data set)."""
    if transfer_syntax != DEFLATED:
        return path.open("rb")
    with path.open("rb") as file:
        file.seek(132 if file.read(132)[128:] == b"DICM" else 0)
        _file_meta(file)
        stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        data = stream.decompress(file.read(), _INFLATED_LIMIT)
    if stream.unconsumed_tail:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"inflates to more than {_INFLATED_LIMIT} bytes")
    return io.BytesIO(data)


def _file_meta(file: BinaryIO) -> dict[int, bytes]:
    def past(tag: int, _vr: str | None, _length: int) -> bool:
        return int.__gt__(tag, 0x0002FFFF)

    meta = _Elements()
    meta.take(data_element_generator(file, False, True, past))
    return meta.values


def _walked(front: bytes, at: int, implicit: bool, stop: int) -> tuple[dict[int, bytes], int] | None:
    """Wanted elements from byte `at` up to tag `stop`, and where that lies; None where it is not that simple.

    Several times faster than pydicom's generator, which decides whatever this leaves open: big-endian data,
    lengths and VRs that are not plain, and headers larger than the front of the file.
    """
    values: dict[int, bytes] = {}
    while at + 12 <= len(front):
        group, element, vr, length = _EXPLICIT.unpack_from(front, at)
        tag = group << 16 | element
        if tag >= stop:
            return values, at
        value = at + 8
        if implicit:
            length = _LENGTH.unpack_from(front, at + 4)[0]
        elif vr in _LONG_VRS:
            length = _LENGTH.unpack_from(front, at + 8)[0]
            value = at + 12
        elif vr not in _SHORT_VRS:
            return None
        if length == UNDEFINED_LENGTH:
            return None
        at = value + length
        if tag in _WANTED or group == 2:
            values[tag] = front[value:at]
    return None


def _read_header(
    path: Path, file: BinaryIO, front: bytes, beginning: tuple[int, str], elements: _Elements
) -> ImageHeader | None:
    """Fills `elements` as far as they can be read, so that a damaged file may still say what it was part of."""
    start, syntax = beginning
    meta: dict[int, bytes] = {}
    if not syntax:
        walked = _walked(front, start, False, 0x00030000)
        if walked is None:
            file.seek(start)
            walked = _file_meta(file), file.tell()
        meta, start = walked
        syntax = meta.get(0x00020010, b"").decode("ascii").rstrip("\0 ")
    if not re.fullmatch(r"[0-9.]{1,64}", syntax):
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="no transfer syntax")
    if syntax == DEFLATED:
        file, front, start = open_data_set(path, syntax), b"", 0
    implicit, order = syntax == IMPLICIT, _ORDER.get(syntax, "little")
    elements.order = order
    walked = _walked(front, start, implicit, _BEFORE_PIXELS) if order == "little" else None
    if walked is None:
        file.seek(start)
        elements.take(data_element_generator(file, implicit, order == "little", _at_pixels, specific_tags=[*_WANTED]))
    else:
        elements.values, start = walked
        file.seek(start)
    first = file.read(8 if implicit else 12)
    if len(first) < 8:
        _check_never_had_pixels(path, meta, elements)
        return None
    tag = int.from_bytes(first[:2], order) << 16 | int.from_bytes(first[2:4], order)
    if tag != _PIXEL_DATA:
        reason = "floating-point pixel data" if tag <= 0x7FE00009 else "no pixel data"
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=reason)
    short = not implicit and first[4:6] not in (b"OW", b"OB", b"UN")
    length = int.from_bytes(first[6:8] if short else first[-4:], order)
    if length == UNDEFINED_LENGTH and syntax in NATIVE:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="compressed, without saying how")
    return elements.header(path, syntax, file.tell() - (4 if short else 0), length)


def _check_never_had_pixels(path: Path, meta: dict[int, bytes], elements: _Elements) -> None:
    """Passes an object that never had an image (a report, a plan); refuses an image whose end is missing."""
    kind = elements.text("sop_class") or meta.get(0x00020002, b"").decode("ascii").rstrip("\0 ")
    size = elements.integer("rows") * elements.integer("columns") * elements.integer("bits_allocated") // 8
    if size or not kind or "Image Storage" in UID(kind, validation_mode=IGNORE).name:
        raise Refusal("INPUT_TRUNCATED", path=path, expected=size or ">0", found=0)


def _at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return int.__ge__(tag, _BEFORE_PIXELS)  # the plain comparison: pydicom's tags compare slowly


class _Elements:
    """Raw element values by tag, decoded on demand."""

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}
        self.order: _Order = "little"

    def take(self, elements: Iterable[RawDataElement | DataElement]) -> None:
        """Keeps the values one by one, for the next element may be damaged; a value that is cut is left out."""
        for element in elements:
            value = element.value
            if isinstance(element, RawDataElement) and value is not None and len(value) == element.length:
                self.values[int(element.tag)] = value

    def text(self, name: str) -> str:
        value = self.values.get(_TAGS[name])
        return value.decode("latin-1").strip("\0 ") if value else ""

    def person_text(self, name: str) -> str:
        """Text in the file's own character set."""
        value = self.values.get(_TAGS[name]) or b""
        encodings = convert_encodings(self.text("charset").split("\\") or [""])
        return decode_bytes(value, encodings, set()).strip("\0 ")

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """`count` finite decimals; None where absent or empty; ValueError for anything else."""
        text = self.text(name)
        if not text:
            return None
        numbers = tuple(float(word) for word in text.split("\\"))
        if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"{name} is '{text}'")
        return numbers

    def decimal(self, name: str) -> float | None:
        numbers = self.numbers(name, 1)
        return numbers[0] if numbers else None

    def integer(self, name: str, default: int = 0) -> int:
        """An unsigned 16-bit value."""
        value = self.values.get(_TAGS[name])
        return int.from_bytes(value[:2], self.order) if value else default

    def header(self, path: Path, syntax: str, at: int, length: int) -> ImageHeader:
        bits = self.integer("bits_allocated")
        stored = self.integer("bits_stored", bits)
        number = self.decimal("instance_number")
        return ImageHeader(
            path=path,
            transfer_syntax=syntax,
            pixels_at=at,
            pixels_length=length,
            series_uid=self.text("series_uid"),
            study_uid=self.text("study_uid"),
            sop_uid=self.text("sop_uid"),
            frame_of_reference_uid=self.text("frame_of_reference_uid"),
            modality=self.text("modality"),
            description=self.person_text("description"),
            image_type=self.text("image_type"),
            instance_number=None if number is None else int(number),
            rows=self.integer("rows"),
            columns=self.integer("columns"),
            samples=self.integer("samples", 1),
            frames=int(self.decimal("frames") or 1),
            photometric=self.text("photometric"),
            bits_allocated=bits,
            bits_stored=stored,
            high_bit=self.integer("high_bit", stored - 1),
            signed=self.integer("signed") == 1,
            slope=self.decimal("slope"),
            intercept=self.decimal("intercept"),
            rescale_type=self.text("rescale_type"),
            position=self.numbers("position", 3),
            orientation=self.numbers("orientation", 6),
            pixel_spacing=self.numbers("pixel_spacing", 2),
            detector_spacing=self.numbers("detector_spacing", 2),
            thickness=self.decimal("thickness"),
            lossy=self.text("lossy") == "01",
        )
