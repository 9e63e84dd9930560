"""Files that come in through the viewer's door, over real connections: whole and harmless, or not at all."""

from __future__ import annotations

import asyncio
import gzip
import re
import stat
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.viewer.uploads import Limits, Upload, Uploads

aiohttp = pytest.importorskip("aiohttp", reason="uploads come through aiohttp")
web = pytest.importorskip("aiohttp.web", reason="uploads come through aiohttp")

FORM = {"Content-Type": "multipart/form-data; boundary=BOUND"}
OURS = re.compile(r"\d{5}/\d{5}(\.nii\.gz|\.[a-z][a-z0-9]{0,7})?")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the test: what stays on the disk stays here."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def form(*files: tuple[str, bytes], end: bytes = b"--BOUND--\r\n") -> bytes:
    """What a browser sends: quotes and line ends of a name escaped, nothing else."""
    parts = []
    for name, content in files:
        escaped = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
        head = f'--BOUND\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n")
    return b"".join(parts) + end


class Place:
    """A server that takes uploads; `got` is what the application was given."""

    def __init__(self, port: int, session: Any, uploads: Uploads, got: list[Upload]) -> None:
        self.port, self.session, self.uploads, self.got = port, session, uploads, got
        self.url = f"http://127.0.0.1:{port}/upload"

    async def send(self, data: Any, **headers: str) -> tuple[int, dict[str, str]]:
        async with self.session.post(self.url, data=data, headers={**FORM, **headers}) as answer:
            return answer.status, await answer.json()

    async def connect(self, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which the head of a request was sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = ("POST /upload HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Content-Type: {FORM['Content-Type']}")
        writer.write("\r\n".join([*head, *lines, "", ""]).encode())
        return reader, writer


@asynccontextmanager
async def served(
    limits: Limits = Limits(),  # noqa: B008
    on_upload: Callable[[Upload], Awaitable[None] | None] | None = None,
    language: str = "en",
) -> AsyncIterator[Place]:
    got: list[Upload] = []
    uploads = Uploads(on_upload or got.append, lambda: language, limits)
    app = web.Application()
    app.router.add_post("/upload", uploads.receive)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Place(runner.addresses[0][1], session, uploads, got)
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def send(*files: tuple[str, bytes], **changes: Any) -> tuple[int, dict[str, str], list[Upload]]:
    async def scene() -> tuple[int, dict[str, str], list[Upload]]:
        async with served(**changes) as place:
            return *await place.send(form(*files)), place.got

    return asyncio.run(scene())


def files_of(upload: Upload) -> list[str]:
    return sorted(path.relative_to(upload.folder).as_posix() for path in upload.folder.rglob("*") if path.is_file())


def test_one_file_arrives_as_it_was_sent(scratch: Path) -> None:
    content = bytes(range(256)) * 5000 + b"\r\n--BOUN"
    status, answer, (upload,) = send(("Head CT.nii.gz", content))
    assert (status, answer) == (200, {"upload": upload.id})
    assert upload.path.read_bytes() == content and upload.name == "Head CT.nii.gz"
    assert files_of(upload) == ["00000/00000.nii.gz"]
    upload.remove()
    assert list(scratch.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_can_look_into_the_folder() -> None:
    _, _, (upload,) = send(("a.dcm", b"x"))
    assert stat.S_IMODE(upload.folder.stat().st_mode) == 0o700


def test_files_of_a_folder_stay_together_and_lose_their_names() -> None:
    names = ("Doe^Jane/t1/IM1", "Doe^Jane/t1/IM2", "Doe^Jane/t2/IM1", "Doe^Jane/DICOMDIR")
    _, _, (upload,) = send(*((name, name.encode()) for name in names))
    contents = {name: (upload.folder / name).read_text() for name in files_of(upload)}
    assert contents == {
        "00000/00000": "Doe^Jane/t1/IM1",
        "00000/00001": "Doe^Jane/t1/IM2",
        "00001/00002": "Doe^Jane/t2/IM1",
        "00002/00003": "Doe^Jane/DICOMDIR",
    }
    assert upload.path == upload.folder and upload.name == "Doe^Jane"


@pytest.mark.parametrize(
    ("sent", "ending"),
    [
        ("a.nii", ".nii"),
        ("A.B.NII.GZ", ".nii.gz"),
        ("x.tar.gz", ".gz"),
        ("x.mha", ".mha"),
        ("x.zip", ".zip"),
        ("IM0001", ""),
        ("1.2.840.113619.2.55", ""),
        ("x.dcm\n", ""),
        ("x.ünï", ""),
        ("x.", ""),
        ("x.averylongending", ""),
        ("x.a/b", ""),
        ("x.sh;rm", ""),
    ],
)
def test_a_file_keeps_its_ending_where_that_is_harmless(sent: str, ending: str) -> None:
    _, _, (upload,) = send((sent, b"x"))
    assert files_of(upload) == [f"00000/00000{ending}"]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x", "x"),
        ("C:\\x", "x"),
        ("a/../../b", "b"),
        ("", "upload"),
        ("..", "upload"),
        ("/", "upload"),
        ("n" * 300, "n" * 120),
        ("two\r\nlines", "twolines"),
        ("\u0085\u200bhidden\u2028", "hidden"),
        ("gnp\u202e.exe", "gnp.exe"),
        ("头部 CT.nii", "头部 CT.nii"),
        ('a;b;c "d".nii', 'a;b;c "d".nii'),
    ],
)
def test_a_name_can_only_be_shown(scratch: Path, sent: str, shown: str) -> None:
    status, _, (upload,) = send((sent, b"x"))
    assert (status, upload.name) == (200, shown)
    assert [path.parent for path in scratch.iterdir()] == [scratch]
    assert all(OURS.fullmatch(path) for path in files_of(upload))


def test_names_are_not_printed_by_the_library() -> None:
    with warnings.catch_warnings(record=True) as printed:
        warnings.simplefilter("always")
        send(("Doe;Jane;1950.nii", b"x"))
    assert [str(line.message) for line in printed if "Jane" in str(line.message)] == []


def test_what_announces_to_be_too_large_is_refused_before_it_is_sent(scratch: Path) -> None:
    async def scene() -> bytes:
        async with served(Limits(total_bytes=10 << 30)) as place:
            reader, writer = await place.connect(f"Content-Length: {11 << 30}")
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readuntil(b"}")
            writer.close()
            assert place.got == []
            return head + body

    answer = asyncio.run(scene())
    assert b" 413 " in answer and b"error[USAGE_UPLOAD_TOO_LARGE]: more than 10 GB" in answer
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_what_becomes_too_large_on_its_way_is_refused(scratch: Path, compressed: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield form(("a.nii", b"0" * 200_000), ("b.nii", b"0" * 900_000))

    async def scene() -> None:
        async with served(Limits(total_bytes=1_000_000)) as place:
            if compressed:
                body = gzip.compress(form(("a.nii", bytes(9_000_000))))
                assert len(body) < 20_000
                status, answer = await place.send(body, **{"Content-Encoding": "gzip"})
            else:
                status, answer = await place.send(pieces())
            assert status == 413 and answer["error"].startswith("error[USAGE_UPLOAD_TOO_LARGE]: ")
            assert place.got == [] and list(scratch.iterdir()) == []
            assert (await place.send(form(("a.nii", bytes(900_000)))))[0] == 200

    asyncio.run(scene())


def test_too_many_files_are_refused(scratch: Path) -> None:
    limits = Limits(files=3)
    assert send(*[("a", b"x")] * 3, limits=limits)[0] == 200
    status, answer, got = send(*[("a", b"x")] * 4, limits=limits)
    assert status == 413 and answer["error"].startswith("error[USAGE_UPLOAD_TOO_MANY]: more than 3 files")
    assert got == [] and len(list(scratch.iterdir())) == 1


@pytest.mark.parametrize("length", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_what_is_cut_off_in_the_middle_leaves_nothing(scratch: Path, length: str) -> None:
    async def scene() -> None:
        async with served() as place:
            _, writer = await place.connect(length)
            half = form(("a.nii", bytes(300_000)), end=b"")
            writer.write(half if "Content" in length else f"{len(half):x}\r\n".encode() + half + b"\r\n")
            await until(lambda: any(path.stat().st_size for path in scratch.rglob("*.nii")))
            writer.close()
            await until(lambda: list(scratch.iterdir()) == [])
            assert place.got == []
            assert (await place.send(form(("a.nii", b"x"))))[0] == 200  # and the next one may come

    asyncio.run(scene())


def test_a_server_that_stops_in_the_middle_leaves_nothing(scratch: Path) -> None:
    async def scene() -> None:
        async with served() as place:
            _, writer = await place.connect("Content-Length: 1000000")
            writer.write(form(("a.nii", bytes(300_000)), end=b""))
            await until(lambda: list(scratch.rglob("*.nii")) != [])
        writer.close()

    asyncio.run(scene())
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form(("a.nii", b"x" * 500), end=b""), ""),
        (form(("a.nii", b"x" * 500))[:300], ""),
        (b"no boundary at all", ""),
        (form(("\x1b[2J.nii", b"x")), ""),
        (b'--BOUND\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--BOUND--\r\n', "a part is not a file"),
        (b"--BOUND\r\n\r\nx\r\n--BOUND--\r\n", "a part is not a file"),
        (
            b'--BOUND\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n'
            b"Content-Type: multipart/mixed; boundary=IN\r\n\r\n--IN\r\n\r\nx\r\n--IN--\r\n--BOUND--\r\n",
            "a part is not a file",
        ),
        (b"--BOUND\r\n" + b"X: y\r\n" * 500 + b"\r\nx\r\n--BOUND--\r\n", "Too many headers"),
        (b"--BOUND\r\nX: " + b"y" * 100_000 + b"\r\n\r\nx\r\n--BOUND--\r\n", ""),
    ],
)
def test_what_is_no_form_of_files_is_refused(scratch: Path, body: bytes, reason: str) -> None:
    async def scene() -> None:
        async with served(Limits(silence_s=5)) as place:
            status, answer = await place.send(body)
            assert (status, place.got) == (400, [])
            assert answer["error"].startswith("error[USAGE_UPLOAD_BROKEN]: ") and reason in answer["error"]

    asyncio.run(scene())
    assert list(scratch.iterdir()) == []


def test_a_form_without_a_file_is_refused(scratch: Path) -> None:
    status, answer, got = send()
    assert (status, got) == (400, []) and answer["error"].startswith("error[USAGE_UPLOAD_EMPTY]: ")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/mixed; boundary=BOUND"]
)
def test_other_types_of_content_are_refused(scratch: Path, content_type: str) -> None:
    async def scene() -> None:
        async with served() as place:
            status, answer = await place.send(form(("a", b"x")), **{"Content-Type": content_type})
            assert status == 400 and content_type.partition(";")[0] in answer["error"]

    asyncio.run(scene())
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("sent", [b"", form(("a.nii", b"x" * 1000), end=b"")])
def test_silence_ends_an_upload(scratch: Path, sent: bytes) -> None:
    async def scene() -> bytes:
        async with served(Limits(silence_s=0.2)) as place:
            reader, writer = await place.connect("Content-Length: 1000000")
            writer.write(sent)
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readuntil(b"}")
            writer.close()
            return head + body

    answer = asyncio.run(scene())
    assert b" 400 " in answer and b"error[USAGE_UPLOAD_SILENT]" in answer and b"0.2 s" in answer
    assert list(scratch.iterdir()) == []


def test_a_second_upload_waits_for_its_turn(scratch: Path) -> None:
    async def scene() -> None:
        async with served() as place:
            body = form(("a.nii", b"x" * 1000))
            reader, writer = await place.connect(f"Content-Length: {len(body)}")
            writer.write(body[:200])
            await until(lambda: list(scratch.iterdir()) != [])
            status, answer = await place.send(form(("b.nii", b"y")))
            assert status == 409 and answer["error"].startswith("error[USAGE_UPLOAD_BUSY]: ")
            writer.write(body[200:])
            assert b" 200 " in await reader.readline()
            writer.close()
            (upload,) = place.got
            assert upload.path.read_bytes() == b"x" * 1000

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file sizes")
def test_a_disk_that_becomes_full_leaves_nothing(scratch: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        status, answer, got = send(("a.nii", bytes(3 << 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (status, got) == (507, []) and answer["error"].startswith("error[RESOURCE_TEMPORARY_FOLDER]: ")
    assert list(scratch.iterdir()) == []


def test_what_the_disk_has_no_room_for_is_refused_at_once(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import _ntuple_diskusage  # type: ignore[attr-defined]

    monkeypatch.setattr("shutil.disk_usage", lambda path: _ntuple_diskusage(10**9, 10**9 - 50, 50))
    status, answer, got = send(("a.nii", bytes(100)))
    assert (status, got) == (507, []) and "No space left on device" in answer["error"]
    assert list(scratch.iterdir()) == []


def test_a_temporary_folder_that_is_gone_is_told(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    status, answer, _ = send(("a.nii", b"x"))
    assert status == 507 and "Permission denied" in answer["error"]


def test_the_application_may_decline_an_upload(scratch: Path) -> None:
    async def decline(upload: Upload) -> None:
        assert upload.path.is_file()
        raise Refusal("CANCELLED")

    status, answer, _ = send(("a.nii", b"x"), on_upload=decline, language="zh")
    assert (status, answer) == (409, {"error": Refusal("CANCELLED").message("zh")})
    assert list(scratch.iterdir()) == []


def test_an_application_that_fails_leaves_nothing(scratch: Path) -> None:
    def fail(upload: Upload) -> None:
        raise RuntimeError("broken")

    async def scene() -> int:
        async with (
            served(on_upload=fail) as place,
            place.session.post(place.url, data=form(("a", b"x")), headers=FORM) as answer,
        ):
            return int(answer.status)

    assert asyncio.run(scene()) == 500
    assert list(scratch.iterdir()) == []


def test_refusals_speak_the_language_of_the_moment() -> None:
    _, answer, _ = send(language="zh")
    assert answer["error"] == Refusal("USAGE_UPLOAD_EMPTY").message("zh")


def test_closing_deletes_what_is_still_there(scratch: Path) -> None:
    async def scene() -> Sequence[Upload]:
        async with served() as place:
            for _ in range(2):
                await place.send(form(("a.nii", b"x")))
            place.got[0].remove()
            assert len(list(scratch.iterdir())) == 1
            place.uploads.close()
            place.uploads.close()
            return place.got

    assert len(asyncio.run(scene())) == 2
    assert list(scratch.iterdir()) == []
