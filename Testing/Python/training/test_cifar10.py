"""CIFAR-10 from archives like the official ones; nothing in them is run, and a download is whole or not there."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimg_training.datasets.cifar10 import (
    BATCHES,
    CLASSES,
    OFFICIAL,
    Archive,
    draft_of_cifar10,
    get_archive,
)
from medimg_training.datasets.cifar10_pickle import load_batch
from medimg_training.datasets.download import download
from medimg_training.datasets.manifest import Manifest
from MedImgClassifierLib.engine.errors import Refusal

Official = Mapping[str, Archive]


def text(value: bytes) -> bytes:
    """A str of Python 2 in a pickle."""
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def number(value: int) -> bytes:
    return b"K" + bytes([value]) if value < 256 else b"J" + struct.pack("<i", value)


def python2_batch(pixels: np.ndarray, labels: list[int], kind: bytes = b"u1") -> bytes:
    """The pickle that Python 2 with numpy of its time writes of {'batch_label', 'labels', 'data', 'filenames'}."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(kind) + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1 & 0x7F) * 2 + number(0) + b"tb"
    shape = b"(" + b"".join(number(n) for n in pixels.shape) + b"t"
    array += b"(" + number(1) + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    listed = b"](" + b"".join(number(label) for label in labels) + b"e"
    names = b"](" + text(b"x.png") * len(labels) + b"e"
    items = text(b"batch_label") + text(b"batch") + text(b"labels") + listed
    return b"\x80\x02}(" + items + text(b"data") + array + text(b"filenames") + names + b"u."


def images(seed: int, count: int = 10) -> tuple[np.ndarray, list[int]]:
    """Pixels [n, 3072] as both archives store them, and labels 0..9."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8), [n % 10 for n in range(count)]


def packed(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def known_as(path: Path, url: str = "https://nowhere.example") -> Official:
    """The table of official archives with the checksum of a file of the test."""
    return {path.name: Archive(url, hashlib.md5(path.read_bytes()).hexdigest(), OFFICIAL[path.name].member)}


@pytest.fixture
def python_archive(tmp_path: Path) -> Path:
    path = tmp_path / "cifar-10-python.tar.gz"
    members = {f"cifar-10-batches-py/{name}": python2_batch(*images(n)) for n, name in enumerate(BATCHES)}
    packed(path, {"../escape": b"never written", "cifar-10-batches-py/batches.meta": b"never read", **members})
    return path


@pytest.fixture
def binary_archive(tmp_path: Path) -> Path:
    path = tmp_path / "cifar-10-binary.tar.gz"
    members = {}
    for n, name in enumerate(BATCHES):
        pixels, labels = images(n)
        rows = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], 1)
        members[f"cifar-10-batches-bin/{name}.bin"] = rows.tobytes()
    packed(path, members)
    return path


def test_both_archives_give_the_same_pictures_and_manifest(
    python_archive: Path, binary_archive: Path, tmp_path: Path
) -> None:
    written = []
    for archive in (python_archive, binary_archive):
        out = tmp_path / archive.name.split(".")[0]
        draft_of_cifar10(archive, out, official=known_as(archive)).write(out)
        written.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert written[0] == written[1]
    manifest = Manifest.read(out / "manifest.csv")
    assert (manifest.classes, manifest.task, len(manifest.rows)) == (CLASSES, "multiclass", 60)
    splits = [row.split for row in manifest.rows]
    assert splits == ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    assert "near-duplicates between train and test" in manifest.group_waiver and "ciFAIR" in manifest.group_waiver
    row = manifest.rows[43]
    assert (row.label, row.group_kind) == (CLASSES[3], "none")
    with Image.open(row.path) as picture:
        assert np.array_equal(np.asarray(picture), images(4)[0][3].reshape(3, 32, 32).transpose(1, 2, 0))
    assert not list(tmp_path.rglob("escape"))


def test_the_official_checksums_and_addresses_are_those_of_the_site() -> None:
    assert {name: archive.md5 for name, archive in OFFICIAL.items()} == {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
        "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    }
    assert all(archive.url == f"https://www.cs.toronto.edu/~kriz/{name}" for name, archive in OFFICIAL.items())


def refused(make: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as found:
        make()
    return found.value


def test_an_archive_of_another_checksum_is_not_opened(python_archive: Path, tmp_path: Path) -> None:
    refusal = refused(lambda: draft_of_cifar10(python_archive, tmp_path / "out"))
    assert refusal.code == "DATA_ARCHIVE" and "its MD5 is" in str(refusal)
    assert refused(lambda: draft_of_cifar10(tmp_path / "none", tmp_path / "out")).code == "DATA_ARCHIVE"


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (None, "cifar-10-batches-py/test_batch is missing"),
        (b"", "test_batch: "),
        (python2_batch(images(0)[0], [0] * 9), "9 labels, but pixels of shape (10, 3072)"),
        (python2_batch(images(0)[0][:, :3000], [0] * 10), "pixels of shape (10, 3000)"),
        (python2_batch(images(0)[0], [10] * 10), "a label that is none of 0 to 9"),
        (python2_batch(images(0)[0], [0] * 10, b"f8"), "not of uint8"),
        (b"\x80\x02}.", "it has no data and labels"),
        (b"\x80\x02].", "it holds no dictionary"),
        (b"x" * 40_000_001, "at most 40000000 bytes"),
    ],
)
def test_batches_that_are_not_as_published_are_refused(tmp_path: Path, batch: bytes | None, said: str) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    members = {f"cifar-10-batches-py/{name}": python2_batch(*images(0)) for name in BATCHES}
    members["cifar-10-batches-py/test_batch"] = batch if batch is not None else b""
    packed(path, {name: content for name, content in members.items() if batch is not None or "test" not in name})
    refusal = refused(lambda: draft_of_cifar10(path, tmp_path / "out", official=known_as(path)))
    assert refusal.code == "DATA_ARCHIVE" and said in str(refusal)
    assert not (tmp_path / "out").exists()


def test_a_binary_batch_that_ends_within_an_image_is_refused(binary_archive: Path, tmp_path: Path) -> None:
    packed(binary_archive, {f"cifar-10-batches-bin/{name}.bin": b"\0" * 3074 for name in BATCHES})
    refusal = refused(lambda: draft_of_cifar10(binary_archive, tmp_path, official=known_as(binary_archive)))
    assert "it ends within an image" in str(refusal)


def test_a_truncated_or_linked_archive_is_refused(python_archive: Path, tmp_path: Path) -> None:
    python_archive.write_bytes(python_archive.read_bytes()[:5000])
    refusal = refused(lambda: draft_of_cifar10(python_archive, tmp_path, official=known_as(python_archive)))
    assert refusal.code == "DATA_ARCHIVE"
    with tarfile.open(python_archive, "w:gz") as archive:
        info = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    refusal = refused(lambda: draft_of_cifar10(python_archive, tmp_path, official=known_as(python_archive)))
    assert "is no file of at most" in str(refusal)


# ---------------------------------------------------------------- the restricted unpickler


class Runs:
    """Unpickled by anything else, this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_something_runs_nothing(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "ran"
    attack = pickle.dumps({"data": Runs(canary)}, protocol)
    pickle.loads(attack)
    assert canary.exists()
    canary.unlink()
    with pytest.raises(ValueError, match="which no official batch does"):
        load_batch(attack)
    assert not canary.exists()


@pytest.mark.parametrize(
    "attack",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"cbuiltins\neval\n.",
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"\x80\x02Pid\n.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02\x82\x01.",
        b"}U\x01acnumpy\nndarray\n)Rs.",
        b"}U\x01acnumpy\ndtype\nU\x01OK\x00K\x01\x87Rs.",
        b"}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\n(K\x00tU\x01b\x87Rs.",
        b"}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(K\x05tU\x01b\x87Rs.",
        b"}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(K\x00tU\x01c\x87Rs.",
        pickle.dumps({"data": np.zeros(3, np.float64)}),
        pickle.dumps({"data": np.array([object()])}),
    ],
)
def test_anything_that_official_batches_do_not_hold_is_refused(attack: bytes) -> None:
    with pytest.raises(ValueError):
        load_batch(attack)


def test_what_official_batches_hold_is_read() -> None:
    pixels, labels = images(0)
    batch = load_batch(python2_batch(pixels, labels))
    assert set(batch) == {b"batch_label", b"labels", b"data", b"filenames"}
    assert np.array_equal(batch[b"data"], pixels) and batch[b"data"].dtype == np.uint8
    assert batch[b"labels"] == labels


# ---------------------------------------------------------------- download


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Address of a server on this computer, and what it serves. '/cut' says more than it sends, '/silent' nothing."""
    content: dict[str, bytes] = {}
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/silent":
                over.wait(10)
                return
            found = content.get(self.path)
            self.send_response(404 if found is None else 200)
            extra = 100 if self.path == "/cut" else 0
            self.send_header("Content-Length", str(len(found or b"") + extra))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", content
    over.set()
    running.shutdown()
    thread.join()
    running.server_close()


def test_an_archive_is_downloaded_checked_and_then_used(
    server: tuple[str, dict[str, bytes]], python_archive: Path, tmp_path: Path
) -> None:
    url, content = server
    content["/c"] = python_archive.read_bytes()
    official = known_as(python_archive, f"{url}/c")
    target = tmp_path / "new" / python_archive.name
    target.parent.mkdir()
    get_archive(target, official=official)
    assert target.read_bytes() == content["/c"]
    content.clear()
    get_archive(target, official=official)  # it is there already
    assert len(draft_of_cifar10(target, tmp_path / "out", official=official).records) == 60
    assert refused(lambda: get_archive(tmp_path / "other.zip", official=official)).code == "DATA_ARCHIVE"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/other", "its MD5 is"),
        ("/missing", "404"),
        ("/cut", "its MD5 is"),
        ("/large", "it is larger than 1000 bytes"),
        ("/silent", "timed out"),
    ],
)
def test_a_download_that_is_not_the_file_leaves_nothing(
    server: tuple[str, dict[str, bytes]], tmp_path: Path, place: str, said: str
) -> None:
    url, content = server
    content |= {"/other": b"other", "/cut": b"begin", "/large": b"x" * 1001}
    md5 = hashlib.md5(b"wanted").hexdigest()
    refusal = refused(lambda: download(url + place, tmp_path / "f", md5, largest=1000, timeout_s=0.5))
    assert refusal.code == "DATA_DOWNLOAD" and said in str(refusal)
    assert list(tmp_path.iterdir()) == []


def test_addresses_that_are_none_and_places_that_are_none_are_refused(
    server: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    md5 = hashlib.md5(b"x").hexdigest()
    for url in ((tmp_path / "x").as_uri(), "x", "http://127.0.0.1:1/x", "http://[bad/x"):
        with pytest.raises((Refusal, ValueError)) as found:
            download(url, tmp_path / "f", md5, largest=10, timeout_s=1)
        assert isinstance(found.value, Refusal) and found.value.code == "DATA_DOWNLOAD"
    server[1]["/x"] = b"x"
    refusal = refused(lambda: download(server[0] + "/x", tmp_path / "none" / "f", md5, largest=10))
    assert refusal.code == "USAGE_FILE_NOT_WRITTEN"


def test_an_interrupted_download_leaves_nothing(
    server: tuple[str, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medimg_training.datasets import download as module

    def interrupted(*_: object) -> Iterator[bytes]:
        yield b"begin"
        assert (tmp_path / "f.part").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        download(server[0] + "/x", tmp_path / "f", "", largest=10)
    assert list(tmp_path.iterdir()) == []
