"""The HTTP door of the viewer: who may come in, one page at a time, files in and out.

The pictures behind it are a patient's, and every program and web page on this computer can reach a port of 127.0.0.1.
So: a request needs a cookie, which only the printed address gives; it must come from our own page and be addressed to
this computer (against DNS rebinding); and the page may load nothing from elsewhere. The door does not know what stands
behind it: it is hung into any aiohttp application before that starts.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..engine.errors import Refusal
from .uploads import DEFAULT_LIMITS, Limits, Upload, Uploads, settled

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler
    from aiohttp.web import Application, Request, Response, StreamResponse, WebSocketResponse

TAKEN_OVER = 4001
"""Code with which a websocket is closed when another window takes the viewer over."""

_PAGES = ("/", "/index.html")
_SOCKET = "/ws"
_LAUNCHER = "/paraview/"
"""Where trame's page asks for the address of its websocket before it takes the usual one."""
_POSTS = ("/upload", "/take-over", _LAUNCHER)
_CHUNK = 1 << 18
_LOOKS = 20  # at whether the page has gone, while it is waited for

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer: with that, browsers send 'Origin: null' with the form that takes the viewer over
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# Vue compiles the templates that trame sends in the page itself, hence 'unsafe-eval'; Vuetify writes styles.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self' {sockets}; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
_SHEET = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">{head}<style>'
    ":root {{ color-scheme: light dark }} "
    "body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem }} "
    "button {{ font: inherit; padding: .4rem 1.2rem }}"
    "</style></head><body>{body}</body></html>"
)
_STRANGER = _SHEET.format(
    head="<title>403</title>",
    body="<p>This page opens by the whole address that was printed when it was started: copy it from there into "
    'this browser.</p><p lang="zh">请使用启动查看器时打印的完整地址打开本页：从那里复制到此浏览器中。</p>',
)
_ELSEWHERE = _SHEET.format(
    head="<title>MedImgClassifier</title>",
    body="<p>The viewer is open in another window, and only one can use it at a time. If you use it here, that window "
    'is disconnected; what was done there is kept.</p><p lang="zh">查看器已在另一个窗口中打开，同一时间只能在一个窗口中'
    "使用。若在此使用，该窗口将断开连接，已完成的工作会保留。</p>"
    '<form method="post" action="/take-over"><button>Use it here / <span lang="zh">在此使用</span></button></form>',
)
_ONWARD = _SHEET.format(
    head='<title>…</title><meta http-equiv="refresh" content="0; url=/">', body='<p><a href="/">…</a></p>'
)


@dataclass(frozen=True)
class Download:
    """A file made for one download, which is deleted when it has been sent. name: for the user, in any language."""

    path: Path
    name: str


class Door:
    """Guards the web server of one viewer.

    index: the page's index.html, whose inline scripts are allowed by their hashes. kinds, make: what can be downloaded
    and who makes it; `make` may raise a Refusal. on_upload: gets each upload when it has arrived whole, and may raise a
    Refusal. language: 'en' or 'zh' at the moment. patience_s: how long a page that is being left may take to go.
    """

    def __init__(
        self,
        index: Path,
        *,
        kinds: tuple[str, ...],
        make: Callable[[str], Awaitable[Download] | Download],
        on_upload: Callable[[Upload], Awaitable[None] | None],
        language: Callable[[], str],
        limits: Limits = DEFAULT_LIMITS,
        patience_s: float = 1.0,
    ) -> None:
        self._scripts = " ".join(inline_script_hashes(index.read_text(encoding="utf-8")))
        self._kinds = kinds
        self._make = make
        self._language = language
        self._patience_s = patience_s
        self._uploads = Uploads(on_upload, language, limits)
        # The token may be used again and again, so that a second browser can be opened; neither outlives the server.
        self._token = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        self._page: _Connection | None = None
        self._silence = _Without(self._token)

    def attach(self, app: Application) -> None:
        """Guard an application that has not started yet, and add the door's own routes to it."""
        from aiohttp import web

        @web.middleware
        async def guard(request: Request, handler: Handler) -> StreamResponse:
            return await self._admit(request, handler)

        app.middlewares.insert(0, guard)
        app.on_response_prepare.append(self._finish_headers)  # reaches streamed answers and errors, too
        app.router.add_post("/upload", self._uploads.receive)
        app.router.add_post("/take-over", self._take_over)
        app.router.add_post(_LAUNCHER, _tell_socket)
        app.router.add_get("/download/{kind}", self._download, allow_head=False)
        logging.getLogger("aiohttp.access").addFilter(self._silence)

    def address(self, port: int) -> str:
        """What to open in a browser: the only thing that lets one in."""
        return f"http://127.0.0.1:{port}/?token={self._token}"

    def close(self) -> None:
        """Delete every upload that is still there. To be called when the server has ended, however it ended."""
        self._uploads.close()
        logging.getLogger("aiohttp.access").removeFilter(self._silence)

    # --- who may come in

    async def _admit(self, request: Request, handler: Handler) -> StreamResponse:
        from aiohttp import web

        socket = web.WebSocketResponse().can_prepare(request).ok
        if not _addressed_to_this_computer(request) or not _sent_by_our_page(request, socket):
            return _html(403, _STRANGER)
        if request.method not in (("POST",) if request.path in _POSTS else ("GET", "HEAD")):
            return web.Response(status=405)
        if request.path == "/" and "token" in request.query:
            return self._let_in(request)
        if not _same(request.cookies.get(_cookie_name(request), ""), self._cookie):
            return _html(403, _STRANGER)
        if socket:
            return await self._connect(request, handler)
        if request.path == _SOCKET:  # wslink never forgets a connection whose handshake failed
            return web.Response(status=400)
        if request.path in _PAGES and not await self._is_free():
            return _html(409, _ELSEWHERE)
        return await handler(request)

    def _let_in(self, request: Request) -> Response:
        from aiohttp import web

        if not _same(request.query["token"], self._token):
            return _html(403, _STRANGER)
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # followed from a link elsewhere: a redirect would count as coming from there, and go without the cookie
            response = _html(200, _ONWARD)
        else:
            response = web.Response(status=303, headers={"Location": "/"})
        name = _cookie_name(request)
        response.set_cookie(name, self._cookie, path="/", httponly=True, samesite="Strict")
        return response

    async def _finish_headers(self, request: Request, response: StreamResponse) -> None:
        from aiohttp.web import WebSocketResponse

        if isinstance(response, WebSocketResponse) and self._page is not None and self._page.request is request:
            self._page.socket = response
        # 'self' includes the websocket in new browsers only
        sockets = f"ws://{request.headers['Host']}" if _addressed_to_this_computer(request) else ""
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = _POLICY.format(scripts=self._scripts, sockets=sockets)

    # --- one page at a time

    async def _connect(self, request: Request, handler: Handler) -> StreamResponse:
        from aiohttp import web

        if not await self._is_free():
            return web.Response(status=409)
        mine = self._page = _Connection(request)
        try:
            return await handler(request)
        finally:
            if self._page is mine:
                self._page = None

    async def _is_free(self) -> bool:
        """Whether no page is connected, or is gone in a moment: a reload asks before its old websocket has closed."""
        for _ in range(_LOOKS):
            if not self._is_taken():
                break
            await asyncio.sleep(self._patience_s / _LOOKS)
        return not self._is_taken()

    def _is_taken(self) -> bool:
        return self._page is not None and not self._page.is_gone()

    async def _take_over(self, request: Request) -> Response:
        from aiohttp import web

        if self._page is not None:
            await self._page.close()
        return web.Response(status=303, headers={"Location": "/"})

    # --- files out

    async def _download(self, request: Request) -> StreamResponse:
        from aiohttp import web

        kind = request.match_info["kind"]
        if kind not in self._kinds:
            return web.Response(status=404)
        try:
            made = await settled(self._make(kind))
        except Refusal as refusal:
            return web.Response(status=409, text=refusal.message(self._language()))
        try:
            return await _stream(request, made)
        finally:
            made.path.unlink(missing_ok=True)


class _Connection:
    """The websocket of a page."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.socket: WebSocketResponse | None = None  # from the handshake on

    def is_gone(self) -> bool:
        """Whether its connection has ended, though what handles it may not have noticed yet."""
        transport = self.request.transport
        return transport is None or transport.is_closing()

    async def close(self) -> None:
        if self.socket is not None:
            with suppress(TimeoutError):  # a page that does not answer is disconnected all the same
                async with asyncio.timeout(1.0):
                    await self.socket.close(code=TAKEN_OVER, message=b"taken over")
        elif self.request.transport is not None:
            self.request.transport.close()


class _Without(logging.Filter):
    """Keeps a secret out of a log: drops the lines that hold it."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        return self._secret not in record.getMessage()


class _InlineScripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and "src" not in dict(attrs)
        if self._inside:
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[-1] += data


def inline_script_hashes(html: str) -> list[str]:
    """The inline scripts of a page (line ends as \\n) as sources of a Content-Security-Policy."""
    parser = _InlineScripts()
    parser.feed(html)
    parser.close()
    digests = (hashlib.sha256(text.encode()).digest() for text in parser.texts)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def _own_port(request: Request) -> int | None:
    """The port on which the request came in; None where it did not come over the loopback, or is gone."""
    here = None if request.transport is None else request.transport.get_extra_info("sockname")
    if here is None or not ipaddress.ip_address(here[0]).is_loopback:
        return None
    return int(here[1])


def _addressed_to_this_computer(request: Request) -> bool:
    port = _own_port(request)
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}")
    return port is not None and request.headers.get("Host") in hosts


def _sent_by_our_page(request: Request, socket: bool) -> bool:
    """By Origin, without which no browser opens a websocket or posts; by Sec-Fetch-Site, which tells the pages of other
    ports apart, to which the cookie goes, too. Elsewhere there may be links to the page, and to nothing else."""
    origin = request.headers.get("Origin")
    if origin != f"http://{request.headers['Host']}" and (origin or socket or request.method == "POST"):
        return False
    own = request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
    return own or socket or request.path in _PAGES


def _cookie_name(request: Request) -> str:
    """Cookies do not know ports: two viewers on one computer need two names."""
    return f"medimg-{_own_port(request)}"


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def _html(status: int, text: str) -> Response:
    from aiohttp import web

    return web.Response(status=status, text=text, content_type="text/html")


async def _tell_socket(request: Request) -> Response:
    from aiohttp import web

    return web.json_response({"sessionURL": f"ws://{request.headers['Host']}{_SOCKET}", "secret": "wslink-secret"})


async def _stream(request: Request, made: Download) -> StreamResponse:
    from aiohttp import web

    plain = re.sub(r"[^A-Za-z0-9._-]", "_", made.name)
    named = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(made.name, safe='', errors='replace')}"
    response = web.StreamResponse(headers={"Content-Disposition": named})
    with made.path.open("rb") as file:
        response.content_length = made.path.stat().st_size
        await response.prepare(request)
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            await response.write(chunk)
    await response.write_eof()
    return response
