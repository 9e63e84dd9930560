"""The viewer's HTTP door, over real connections to an application that is laid out as wslink lays out its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
import socket as sockets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.viewer.door import TAKEN_OVER, Door, Download, inline_script_hashes
from MedImgClassifierLib.viewer.uploads import Limits, Upload

aiohttp = pytest.importorskip("aiohttp", reason="the door is an aiohttp application's")
web = pytest.importorskip("aiohttp.web", reason="the door is an aiohttp application's")

SCRIPT = "\n  fetch('x').then(r => r.text());\n"
PAGE = f"<html><script src='vue.js'></script><body>PAGE<script>{SCRIPT}</script></body></html>"
FORM = {"Content-Type": "multipart/form-data; boundary=B"}
BODY = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.nii"\r\n\r\nvoxels\r\n--B--\r\n'


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Place:
    """A guarded server, and a client that has come in by the address unless it is a stranger."""

    def __init__(self, door: Door, port: int, session: Any, folder: Path) -> None:
        self.door, self.port, self.session, self.folder = door, port, session, folder
        self.got: list[Upload] = []
        self.origin = f"http://127.0.0.1:{port}"
        self.busy = asyncio.Event()  # while set, the application does not read its websocket
        self.talks = 0

    async def ask(self, path: str, method: str = "GET", **more: Any) -> Any:
        """The answer, its body read as `answer.body`; redirects are not followed."""
        more.setdefault("allow_redirects", False)
        async with self.session.request(method, self.origin + path, **more) as answer:
            answer.body = await answer.read()
            return answer

    async def post(self, path: str, headers: dict[str, str] = {}, **more: Any) -> Any:  # noqa: B006
        return await self.ask(path, "POST", headers={"Origin": self.origin, **headers}, **more)

    async def connect(self, **more: Any) -> Any:
        more.setdefault("origin", self.origin)
        return await self.session.ws_connect(f"{self.origin}/ws", **more)

    async def refused(self, **more: Any) -> int:
        """The status with which a websocket is refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await self.connect(**more)
        return int(refusal.value.status)

    async def raw(self, *lines: str) -> bytes:
        """The status line of the answer to a request that no library would send."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        async with asyncio.timeout(5):
            answer = await reader.readline()
        writer.close()
        return answer

    def cookie(self) -> str:
        (cookie,) = self.session.cookie_jar
        return f"{cookie.key}={cookie.value}"

    async def talk(self, request: Any) -> Any:
        """A websocket as wslink serves it."""
        self.talks += 1
        talk = web.WebSocketResponse()
        await talk.prepare(request)
        async for message in talk:
            await talk.send_str(message.data)
            while self.busy.is_set():
                await asyncio.sleep(0.01)
        return talk


async def gone(path: Path) -> None:
    async with asyncio.timeout(5):
        while path.exists():
            await asyncio.sleep(0.01)


def no_downloads(kind: str) -> Download:
    raise AssertionError(kind)


@asynccontextmanager
async def served(
    folder: Path,
    *,
    stranger: bool = False,
    host: str = "127.0.0.1",
    make: Callable[[str], Awaitable[Download] | Download] = no_downloads,
    on_upload: Callable[[Upload], None] | None = None,
    language: str = "en",
    patience_s: float = 0.5,
) -> AsyncIterator[Place]:
    www = folder / "www"
    www.mkdir()
    (www / "index.html").write_text(PAGE)
    (www / "app.js").write_text("app")
    (folder / "secret.txt").write_text("SECRET")
    place: Place
    door = Door(
        www / "index.html",
        kinds=("report", "table"),
        make=make,
        on_upload=lambda upload: (on_upload or place.got.append)(upload),
        language=lambda: language,
        limits=Limits(total_bytes=1000),
        patience_s=patience_s,
    )
    app = web.Application()

    async def talk(request: Any) -> Any:
        return await place.talk(request)

    async def broken(request: Any) -> Any:
        raise ZeroDivisionError

    async def root(request: Any) -> Any:
        raise web.HTTPFound("index.html")

    app.router.add_get("/ws", talk)
    door.attach(app)
    app.router.add_get("/broken", broken)
    app.router.add_get("/", root)
    app.router.add_static("/", www)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            place = Place(door, port, session, folder)
            if not stranger:
                assert (await place.ask(door.address(port).removeprefix(place.origin))).status == 303
            yield place
    finally:
        await runner.cleanup()
        door.close()


def play(folder: Path, scene: Callable[[Place], Awaitable[Any]], **changes: Any) -> Any:
    async def played() -> Any:
        async with asyncio.timeout(30), served(folder, **changes) as place:
            return await scene(place)

    return asyncio.run(played())


# --- the address, and the cookie that it gives


def test_the_printed_address_lets_in_and_does_not_stay_in_sight(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        address = place.door.address(place.port)
        token = re.fullmatch(rf"http://127\.0\.0\.1:{place.port}/\?token=([\w-]{{43}})", address)[1]  # type: ignore[index]
        for _ in range(2):  # a second browser may be let in as well
            answer = await place.ask(address.removeprefix(place.origin))
            assert (answer.status, answer.headers["Location"]) == (303, "/")
            name, _, rest = answer.headers["Set-Cookie"].partition("=")
            assert name == f"medimg-{place.port}"
            assert {part.strip() for part in rest.split(";")[1:]} == {"HttpOnly", "SameSite=Strict", "Path=/"}
            assert token not in rest
        assert b"PAGE" in (await place.ask("/", allow_redirects=True)).body

    play(scratch, scene, stranger=True)


def test_a_link_followed_from_another_site_lets_in_as_well(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        path = place.door.address(place.port).removeprefix(place.origin)
        answer = await place.ask(path, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
        assert answer.status == 200 and b'http-equiv="refresh" content="0; url=/"' in answer.body
        assert "Set-Cookie" in answer.headers and b"token" not in answer.body
        assert (await place.ask("/index.html")).status == 200

    play(scratch, scene, stranger=True)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 43, "%C3%A9", "%FF", "%ED%B2%80"])
def test_a_wrong_token_lets_nobody_in(scratch: Path, token: str) -> None:
    async def scene(place: Place) -> None:
        answer = await place.raw(f"GET /?token={token} HTTP/1.1", f"Host: 127.0.0.1:{place.port}")
        assert b" 403 " in answer

    play(scratch, scene, stranger=True)


def test_the_token_counts_nowhere_but_at_the_front(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        query = place.door.address(place.port).partition("?")[2]
        assert (await place.ask(f"/index.html?{query}")).status == 403

    play(scratch, scene, stranger=True)


STRANGE = ["/", "/index.html", "/app.js", "/no-such-file", "/download/report", "/ws"]


@pytest.mark.parametrize("path", STRANGE)
@pytest.mark.parametrize("cookie", ["", "medimg-{port}=wrong", "medimg-{port}=ü", "medimg-1={right}"])
def test_without_the_cookie_nothing_is_seen(scratch: Path, path: str, cookie: str) -> None:
    async def scene(place: Place) -> None:
        right = place.cookie().partition("=")[2]
        sent = cookie.format(port=place.port, right=right)
        place.session.cookie_jar.clear()
        answer = await place.ask(path, headers={"Cookie": sent} if sent else {})
        assert answer.status == 403 and answer.content_type == "text/html"
        text = answer.body.decode()
        assert "address that was printed" in text and "打印的完整地址" in text
        for told in ("MedImg", "token", "upload", str(place.port), "PAGE"):
            assert told not in text

    play(scratch, scene)


def test_a_cookie_that_is_no_text_is_a_wrong_one(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        head = ("GET /index.html HTTP/1.1", f"Host: 127.0.0.1:{place.port}")
        assert b" 403 " in await place.raw(*head, f"Cookie: medimg-{place.port}=\xff\xfe")

    play(scratch, scene)


def test_without_the_cookie_nothing_is_taken(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        assert (await place.post("/upload", data=BODY, headers=FORM)).status == 403
        assert (await place.post("/take-over")).status == 403
        assert await place.refused() == 403
        assert place.got == []

    play(scratch, scene, stranger=True)


def test_two_viewers_have_two_cookies(scratch: Path) -> None:
    async def scene() -> None:
        (scratch / "1").mkdir()
        (scratch / "2").mkdir()
        async with served(scratch / "1") as one, served(scratch / "2") as two:
            assert one.cookie().partition("=")[0] != two.cookie().partition("=")[0]
            assert one.cookie().partition("=")[2] != two.cookie().partition("=")[2]

    asyncio.run(scene())


# --- addressed to this computer, sent by our own page


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 403),
        ("127.0.0.1", 403),
        ("127.0.0.1:1", 403),
        ("127.0.0.1:{port}.evil.example", 403),
        ("", 403),
    ],
)
def test_only_requests_addressed_to_this_computer_are_answered(scratch: Path, host: str, status: int) -> None:
    async def scene(place: Place) -> None:
        head = f"Host: {host.format(port=place.port)}"
        answer = await place.raw("GET /index.html HTTP/1.1", head, f"Cookie: {place.cookie()}")
        assert f" {status} ".encode() in answer

    play(scratch, scene)


def test_a_request_without_host_is_not_answered(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        assert b" 403 " in await place.raw("GET /index.html HTTP/1.0", f"Cookie: {place.cookie()}")

    play(scratch, scene)


def test_the_token_helps_nobody_under_another_name(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        path = place.door.address(place.port).removeprefix(place.origin)
        assert b" 403 " in await place.raw(f"GET {path} HTTP/1.1", f"Host: evil.example:{place.port}")

    play(scratch, scene, stranger=True)


def test_other_computers_are_refused_even_where_the_server_listens_to_them(scratch: Path) -> None:
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this computer has no other address than the loopback's")
        address = probe.getsockname()[0]

    async def scene(place: Place) -> None:
        path = place.door.address(place.port).removeprefix(place.origin)
        reader, writer = await asyncio.open_connection(address, place.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\n\r\n".encode())
        assert b" 403 " in await reader.readline()
        writer.close()

    play(scratch, scene, host="0.0.0.0")


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "https://127.0.0.1:{port}"])
def test_pages_of_others_can_neither_ask_nor_send_nor_connect(scratch: Path, origin: str) -> None:
    async def scene(place: Place) -> None:
        foreign = {"Origin": origin.format(port=place.port)}
        assert (await place.ask("/app.js", headers=foreign)).status == 403
        assert (await place.post("/upload", data=BODY, headers={**FORM, **foreign})).status == 403
        assert (await place.post("/take-over", headers=foreign)).status == 403
        assert await place.refused(origin=foreign["Origin"]) == 403
        assert place.got == []

    play(scratch, scene)


def test_what_changes_something_must_say_where_it_comes_from(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        assert (await place.ask("/upload", "POST", data=BODY, headers=FORM)).status == 403
        assert (await place.ask("/take-over", "POST")).status == 403
        assert await place.refused(origin=None) == 403
        assert (await place.ask("/index.html")).status == 200  # opening a page sends no Origin

    play(scratch, scene)


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_pages_of_other_ports_can_link_to_the_page_only(scratch: Path, site: str) -> None:
    """To which browsers send the cookie, as it knows no ports."""

    async def scene(place: Place) -> None:
        foreign = {"Sec-Fetch-Site": site}
        assert (await place.ask("/app.js", headers=foreign)).status == 403
        assert (await place.ask("/download/report", headers=foreign)).status == 403
        assert (await place.ask("/index.html", headers=foreign)).status == 200
        assert (await place.ask("/app.js", headers={"Sec-Fetch-Site": "same-origin"})).status == 200

    play(scratch, scene)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/", "/index.html", "/app.js", "/ws", "/download/report", "/paraview/x")),
        *((method, "/upload") for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH")),
        ("GET", "/take-over"),
        *((method, "/") for method in ("PUT", "OPTIONS", "TRACE", "PROPFIND")),
    ],
)
def test_other_methods_are_refused(scratch: Path, method: str, path: str) -> None:
    async def scene(place: Place) -> None:
        for more in ({}, {"X-HTTP-Method-Override": "GET", "X-Method-Override": "POST"}):
            answer = await place.ask(path, method, headers={"Origin": place.origin, **more})
            assert answer.status == 405

    play(scratch, scene)


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/www/../../secret.txt", "/link.txt"]
)
def test_no_path_leads_out_of_the_served_folder(scratch: Path, path: str) -> None:
    async def scene(place: Place) -> None:
        if path == "/link.txt":
            try:
                (scratch / "www/link.txt").symlink_to(scratch / "secret.txt")
            except OSError:
                pytest.skip("this user may not make links")
        answer = await place.raw(f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{place.port}", f"Cookie: {place.cookie()}")
        assert re.match(rb"HTTP/1.1 (403|404) ", answer)

    play(scratch, scene)


# --- what every answer carries


def policy_of(answer: Any) -> dict[str, list[str]]:
    return {
        words[0]: words[1:] for words in (part.split() for part in answer.headers["Content-Security-Policy"].split(";"))
    }


def test_every_answer_carries_the_headers(scratch: Path) -> None:
    path = scratch / "made"

    def make(kind: str) -> Download:
        if kind == "table":
            raise Refusal("CANCELLED")
        path.write_text("made")
        return Download(path, "made")

    async def scene(place: Place) -> None:
        ask, post, bad = place.ask, place.post, {"Host": "evil.example"}
        answers = {
            200: [await ask("/index.html"), await ask("/app.js"), await ask("/download/report")],
            206: [await ask("/app.js", headers={"Range": "bytes=0-0"})],
            302: [await ask("/")],
            303: [await ask(place.door.address(place.port).removeprefix(place.origin)), await post("/take-over")],
            400: [await ask("/ws"), await post("/upload")],
            403: [await ask("/", headers=bad), await ask("/?token=x")],
            404: [await ask("/no-such-file"), await ask("/download/other")],
            405: [await ask("/", "PUT", headers={"Origin": place.origin})],
            409: [await ask("/download/table")],
            413: [await post("/upload", data=b"x" * 1001, headers=FORM)],
            417: [await ask("/app.js", headers={"Expect": "tea"})],
            500: [await ask("/broken")],
        }
        page = await place.connect()
        answers[409].append(await ask("/"))
        await page.close()
        answers[200].append(await post("/upload", data=BODY, headers=FORM))
        for status, several in answers.items():
            for answer in several:
                assert answer.status == status, answer.url
                assert policy_of(answer)["default-src"] == ["'none'"], answer.url
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "same-origin"
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert answer.headers["X-Frame-Options"] == "DENY"

    play(scratch, scene, make=make)


def test_the_page_may_load_nothing_from_elsewhere(scratch: Path) -> None:
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

    async def scene(place: Place) -> None:
        assert policy_of(await place.ask("/index.html")) == {
            "default-src": ["'none'"],
            "script-src": ["'self'", "'unsafe-eval'", f"'sha256-{digest}'"],
            "style-src": ["'self'", "'unsafe-inline'"],
            "img-src": ["'self'", "blob:", "data:"],
            "font-src": ["'self'", "data:"],
            "connect-src": ["'self'", f"ws://127.0.0.1:{place.port}"],
            "worker-src": ["'self'", "blob:"],
            "frame-ancestors": ["'none'"],
            "base-uri": ["'self'"],
            "form-action": ["'self'"],
        }
        named = await place.ask("/app.js", headers={"Host": f"localhost:{place.port}"})
        assert policy_of(named)["connect-src"] == ["'self'", f"ws://localhost:{place.port}"]
        rebound = await place.ask("/app.js", headers={"Host": "evil.example;script-src *"})
        assert rebound.status == 403 and policy_of(rebound)["connect-src"] == ["'self'"]

    play(scratch, scene)


def test_inline_scripts_are_known_by_their_very_text() -> None:
    first, second = "if (a && b < c) d('&amp;');", "\n"
    html = (
        f"<script>{first}</script><script src='x'>not this</script><p>nor this</p><script type=module>{second}</script>"
    )
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (first, second)]
    assert inline_script_hashes(html) == [f"'sha256-{digest}'" for digest in hashes]
    assert inline_script_hashes("<p>no script</p>") == []


def test_the_log_of_requests_never_holds_the_token(scratch: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def scene(place: Place) -> str:
        await place.ask("/app.js")
        query = place.door.address(place.port).partition("?")[2]
        await place.ask(f"/index.html?a=1&{query}")
        await place.ask("/app.js", headers={"Referer": place.door.address(place.port)})
        return query.partition("=")[2]

    token = play(scratch, scene)
    lines = [record.getMessage() for record in caplog.records if record.name == "aiohttp.access"]
    assert any('"GET /app.js HTTP/1.1" 200' in line for line in lines)
    assert not any(token in str(vars(record)) for record in caplog.records)
    assert logging.getLogger("aiohttp.access").filters == []


# --- one page at a time


def test_a_second_window_is_told_and_may_take_over(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        first = await place.connect()
        for path in ("/", "/index.html"):
            answer = await place.ask(path)
            text = answer.body.decode()
            assert answer.status == 409 and answer.content_type == "text/html"
            assert "Use it here" in text and "在此使用" in text and "color-scheme: light dark" in text
            assert '<form method="post" action="/take-over">' in text
            assert "<script" not in text and "src=" not in text
        assert (await place.ask("/app.js")).status == 200
        assert await place.refused() == 409
        await first.send_str("still here")
        assert (await first.receive()).data == "still here"

        closing = asyncio.create_task(first.receive())
        answer = await place.post("/take-over")
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        message = await closing
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, TAKEN_OVER, "taken over")
        assert TAKEN_OVER == 4001
        assert (await place.ask("/index.html")).status == 200
        second = await place.connect()
        assert await place.refused() == 409
        await second.send_str("here now")
        assert (await second.receive()).data == "here now"
        await second.close()

    play(scratch, scene, patience_s=0.1)


def test_two_windows_at_once_do_not_both_get_in(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        came = await asyncio.gather(*(place.connect() for _ in range(5)), return_exceptions=True)
        assert sorted(getattr(one, "status", 101) for one in came) == [101, 409, 409, 409, 409]

    play(scratch, scene, patience_s=0.1)


def test_a_window_may_be_reloaded(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        for _ in range(2):
            old = await place.connect()
            page = asyncio.create_task(place.ask("/index.html"))
            new = asyncio.create_task(place.connect())
            await asyncio.sleep(0.2)
            assert not page.done() and not new.done()
            await old.close()
            assert (await page).status == 200
            await (await new).close()

    play(scratch, scene, patience_s=2.0)


@pytest.mark.parametrize("how", ["aborted", "taken over"])
def test_an_application_that_is_busy_does_not_keep_the_next_window_out(scratch: Path, how: str) -> None:
    """wslink reads no message, the end of the connection included, before it has done with the last."""

    async def scene(place: Place) -> None:
        old = await place.connect()
        place.busy.set()
        await old.send_str("something long")
        await old.receive()
        if how == "aborted":
            old._response.connection.transport.abort()
        else:
            async with asyncio.timeout(5):
                assert (await place.post("/take-over")).status == 303
        assert (await place.ask("/index.html")).status == 200
        new = await place.connect()
        place.busy.clear()  # the old one ends only now, and the new one stays connected
        await asyncio.sleep(0.1)
        assert await place.refused() == 409
        await new.send_str("here")
        assert (await new.receive()).data == "here"

    play(scratch, scene, patience_s=0.2)


def test_a_take_over_when_nobody_is_there_opens_the_page(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        assert (await place.post("/take-over")).status == 303
        assert (await place.post("/take-over", allow_redirects=True)).body == PAGE.encode()

    play(scratch, scene)


def test_the_page_is_told_of_its_websocket(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        answer = await place.post("/paraview/")
        assert json.loads(answer.body)["sessionURL"] == f"ws://127.0.0.1:{place.port}/ws"
        place.session.cookie_jar.clear()
        assert (await place.post("/paraview/")).status == 403

    play(scratch, scene)


def test_a_failed_handshake_does_not_reach_the_application(scratch: Path) -> None:
    async def scene(place: Place) -> None:
        assert (await place.ask("/ws")).status == 400
        head = ("GET /ws HTTP/1.1", f"Host: 127.0.0.1:{place.port}", f"Origin: {place.origin}")
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13")
        assert b" 400 " in await place.raw(*head, f"Cookie: {place.cookie()}", *upgrade)
        assert place.talks == 0
        await (await place.connect()).close()

    play(scratch, scene)


def test_a_websocket_of_another_path_is_a_window_too(scratch: Path) -> None:
    """For wslink's can be chosen by an option of the command line that trame reads by itself."""

    async def scene(place: Place) -> None:
        page = await place.connect()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await place.session.ws_connect(f"{place.origin}/other", origin=place.origin)
        assert refusal.value.status == 409
        await page.close()

    play(scratch, scene, patience_s=0.1)


# --- files in and out


def test_files_come_in_and_go_when_the_door_closes(scratch: Path) -> None:
    async def scene(place: Place) -> Path:
        answer = await place.post("/upload", data=BODY, headers=FORM)
        (upload,) = place.got
        assert (answer.status, json.loads(answer.body)) == (200, {"upload": upload.id})
        assert upload.path.read_bytes() == b"voxels"
        large = await place.post("/upload", data=b"x" * 1001, headers=FORM)
        assert large.status == 413 and "error[USAGE_UPLOAD_TOO_LARGE]" in json.loads(large.body)["error"]
        return upload.folder

    assert not play(scratch, scene).exists()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_file_goes_out_under_its_name_and_is_deleted(scratch: Path, asynchronous: bool) -> None:
    made: list[str] = []
    content = bytes(range(256)) * 3000

    def make(kind: str) -> Download:
        made.append(kind)
        path = scratch / "made.csv"
        path.write_bytes(content)
        (scratch / "made.csv.gz").write_bytes(b"something else")  # which aiohttp's own answer would send instead
        return Download(path, '头部 CT "1"\r\nX: y.csv')

    async def make_later(kind: str) -> Download:
        await asyncio.sleep(0)
        return make(kind)

    async def scene(place: Place) -> None:
        answer = await place.ask("/download/report")
        assert (answer.status, answer.body, made) == (200, content, ["report"])
        assert answer.headers["Content-Disposition"] == (
            'attachment; filename="___CT__1___X__y.csv"; '
            "filename*=UTF-8''%E5%A4%B4%E9%83%A8%20CT%20%221%22%0D%0AX%3A%20y.csv"
        )
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert "X" not in answer.headers
        await gone(scratch / "made.csv")

    play(scratch, scene, make=make_later if asynchronous else make)


def test_a_file_is_deleted_where_nobody_waits_for_it_any_more(scratch: Path) -> None:
    path = scratch / "made.bin"

    def make(kind: str) -> Download:
        path.write_bytes(bytes(50_000_000))
        return Download(path, "made.bin")

    async def scene(place: Place) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port, limit=1)
        head = ("GET /download/report HTTP/1.1", f"Host: 127.0.0.1:{place.port}", f"Cookie: {place.cookie()}")
        writer.write("\r\n".join([*head, "", ""]).encode())
        assert (await reader.read(12)) == b"HTTP/1.1 200"
        assert path.exists()
        writer.transport.abort()
        await gone(path)

    play(scratch, scene, make=make)


@pytest.mark.parametrize("kind", ["other", "", "..%2fsecret.txt", "report/x"])
def test_only_known_kinds_are_made(scratch: Path, kind: str) -> None:
    async def scene(place: Place) -> None:
        assert (await place.ask(f"/download/{kind}")).status == 404

    play(scratch, scene)


def test_what_cannot_be_made_is_told(scratch: Path) -> None:
    def make(kind: str) -> Download:
        raise Refusal("CANCELLED")

    async def scene(place: Place) -> None:
        answer = await place.ask("/download/table")
        assert (answer.status, answer.content_type) == (409, "text/plain")
        assert answer.body.decode() == Refusal("CANCELLED").message("zh")

    play(scratch, scene, make=make, language="zh")
