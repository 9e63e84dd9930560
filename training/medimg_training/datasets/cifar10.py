"""CIFAR-10 from its official archives, python or binary: 60000 images of 32 x 32 in ten classes, written as PNG.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Both archives give the same files: batches
1 to 4 are the split train, batch 5 val, the test batch test.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal

from .cifar10_pickle import load_batch
from .download import download
from .draft import Companion, Draft

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WAIVER = (
    "CIFAR-10 does not tell where its images come from; near-duplicates between train and test are known: 3.3 % of"
    " the test images (Barz & Denzler 2020, ciFAIR, J Imaging 6:41)"
)
BATCHES = {**{f"data_batch_{n}": "train" if n < 5 else "val" for n in range(1, 6)}, "test_batch": "test"}
_SIDE, _PIXELS = 32, 3 * 32 * 32
_LARGEST_ARCHIVE, _LARGEST_BATCH = 200_000_000, 40_000_000  # bytes; the official ones have 170 and 31 million


@dataclass(frozen=True)
class Archive:
    """An official archive. member: name of a batch inside, with {batch}."""

    url: str
    md5: str
    member: str


OFFICIAL: Mapping[str, Archive] = {
    "cifar-10-python.tar.gz": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py/{batch}",
    ),
    "cifar-10-binary.tar.gz": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        "cifar-10-batches-bin/{batch}.bin",
    ),
}


def get_archive(path: Path, *, official: Mapping[str, Archive] = OFFICIAL, progress: bool = False) -> None:
    """Download the official archive of the name of `path` to there; one that is there already is left as it is.

    Raises Refusal DATA_ARCHIVE for another name, and what `download` raises.
    """
    if path.name not in official:
        raise Refusal("DATA_ARCHIVE", path=path, reason=f"those are named {' and '.join(official)}")
    if not path.exists():
        chosen = official[path.name]
        download(chosen.url, path, chosen.md5, largest=_LARGEST_ARCHIVE, progress=progress)


def draft_of_cifar10(
    path: Path, folder: Path, *, official: Mapping[str, Archive] = OFFICIAL, progress: bool = False
) -> Draft:
    """The manifest of an official archive, known by its MD5, with its images as `folder`/images/<split>/<class>/*.png.

    folder: the manifest's. Raises Refusal DATA_ARCHIVE for a file that is none of the official archives.
    """
    chosen = _known(path, official)
    records: list[dict[str, object]] = []
    companions = []
    for batch, content in _batches(path, chosen, progress).items():
        try:
            images, labels = _python(content) if chosen.member.endswith("{batch}") else _binary(content)
        except ValueError as error:
            raise Refusal("DATA_ARCHIVE", path=path, reason=f"{batch}: {error}") from error
        for n, (image, label) in enumerate(zip(images, labels, strict=True)):
            name = f"{BATCHES[batch]}/{CLASSES[label]}/{batch.removesuffix('_batch')}_{n:05d}.png"
            record: dict[str, object] = {"sample": name, "group": "", "group_kind": "none", "path": f"images/{name}"}
            records.append(record | {"label": CLASSES[label], "split": BATCHES[batch]})
            companions.append(Companion(folder / "images" / name, partial(_png, image)))
    done = tuple(records)
    return Draft(path, folder, done, CLASSES, "multiclass", group_waiver=WAIVER, companions=tuple(companions))


def _known(path: Path, official: Mapping[str, Archive]) -> Archive:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise Refusal("DATA_ARCHIVE", path=path, reason=error.strerror or str(error)) from error
    known = next((archive for archive in official.values() if archive.md5 == digest), None)
    if known is None:
        wanted = ", ".join(f"{archive.md5} ({name})" for name, archive in official.items())
        raise Refusal("DATA_ARCHIVE", path=path, reason=f"its MD5 is {digest}, not {wanted}")
    return known


def _batches(path: Path, archive: Archive, progress: bool) -> dict[str, bytes]:
    """Content of each batch, in order. Only members of these names are read, into memory."""
    names = {archive.member.format(batch=batch): batch for batch in BATCHES}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as packed:
            for member in tqdm(packed, "unpack", len(names) + 3, disable=not progress, unit="file"):
                if member.name not in names:
                    continue
                if not member.isreg() or member.size > _LARGEST_BATCH:
                    raise ValueError(f"{member.name} is no file of at most {_LARGEST_BATCH} bytes")
                stream = packed.extractfile(member)
                assert stream is not None  # of a regular file there is one
                found[names[member.name]] = stream.read()
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise Refusal("DATA_ARCHIVE", path=path, reason=str(error) or type(error).__name__) from error
    missing = [name for name, batch in names.items() if batch not in found]
    if missing:
        raise Refusal("DATA_ARCHIVE", path=path, reason=f"{missing[0]} is missing")
    return {batch: found[batch] for batch in BATCHES}


def _python(content: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    """Images [n, 32, 32, 3] and labels of a batch of the python archive."""
    batch = load_batch(content)
    pixels, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
        raise ValueError("it has no data and labels")
    return _checked(pixels, labels)


def _binary(content: bytes) -> tuple[NDArray[np.uint8], list[int]]:
    """The same of a batch of the binary archive: label and pixels of one image after the other."""
    if len(content) % (1 + _PIXELS):
        raise ValueError("it ends within an image")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return _checked(rows[:, 1:], rows[:, 0].tolist())


def _checked(pixels: NDArray[np.uint8], labels: list[int]) -> tuple[NDArray[np.uint8], list[int]]:
    if pixels.shape != (len(labels), _PIXELS):
        raise ValueError(f"{len(labels)} labels, but pixels of shape {pixels.shape}")
    if not all(isinstance(label, int) and 0 <= label < len(CLASSES) for label in labels):
        raise ValueError("a label that is none of 0 to 9")
    return pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1), labels


def _png(image: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG")
    return stream.getvalue()
