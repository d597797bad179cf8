"""Serves the page over HTTP, to its user alone; needs starlette and uvicorn."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext, suppress
from importlib.resources import files
from time import monotonic
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cascade.adapters.page.guard import HEADERS, Guard
from cascade.errors import CascadeError, ConnectorError

__all__ = ["PageServer"]

LOOPBACK = "127.0.0.1"
LARGEST = 256 << 10
"""Bytes of a request."""
EVERY = 0.1
"""Seconds between two looks of one live page."""
RUNS_EVERY = 0.5
ALIVE_EVERY = 10.0
"""Seconds until a page hears that the server is there."""
ENDING = 2
"""Seconds that open requests have to end when the server is closed."""
MOST_STREAMS = 50
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
FILES = ("page.js", "page.css", "icon.svg")

Ask = Callable[[dict[str, Any]], Awaitable[Any]]


class _Server(uvicorn.Server):
    """One that leaves signals to the program that it is a part of."""

    def capture_signals(self) -> Any:
        return nullcontext()


class PageServer:
    """Serves the page on a port that it has at once; `start` serves on the running event loop until `close`."""

    def __init__(self, ask: Ask, port: int = 0, host: str | None = None, token: str | None = None) -> None:
        """Take the port.

        Args:
            ask: answers what the page asks, or raises a CascadeError.
            port: 0 for a free one.
            host: the name or address of this machine for others; by default it is reached from this machine alone.
            token: what lets a browser in; by default a fresh one. With a host it is to be given.

        Raises:
            ConnectorError: the port cannot be had, or the token is missing or too short.
        """
        if host is not None and not token:
            raise ConnectorError("a page that other machines reach has a token of yours: token=")
        self._ask = ask
        self.token: str = token or secrets.token_urlsafe(32)
        self._socket = _listening(host or LOOPBACK, port)
        self.port: int = self._socket.getsockname()[1]
        try:
            self._guard = Guard(self.token, self.port, host)
        except ConnectorError:
            self._socket.close()
            raise
        shown = LOOPBACK if host is None or host in ("0.0.0.0", "::") else host
        self.address: str = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"
        """Where the page is, for those who were let in before."""
        self._closing = asyncio.Event()
        self._streams = 0
        self._serving: asyncio.Task[None] | None = None
        config = uvicorn.Config(
            self._app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=ENDING,
        )
        self._server = _Server(config)

    @property
    def url(self) -> str:
        """Where the page is, with the token behind a #, which no browser sends and no server logs."""
        return f"{self.address}#token={self.token}"

    async def start(self) -> None:
        """Serve from now on."""
        self._serving = asyncio.create_task(self._server.serve([self._socket]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """End: pages that are open say so."""
        self._closing.set()
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait({self._serving})
        self._socket.close()

    async def closed(self) -> None:
        """Wait until it is closed."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    # --- what is asked

    def _app(self) -> ASGIApp:
        routes = [
            Route("/", self._index, methods=["GET"]),
            Route("/page/{name}", self._file, methods=["GET"]),
            Route("/enter", self._enter, methods=["POST"]),
            Route("/ask", self._asked, methods=["POST"]),
            Route("/live", self._live, methods=["GET"]),
        ]
        return _guarded(Starlette(routes=routes), self._guard)

    async def _index(self, request: Request) -> Response:
        return _file("page.html")

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = name in FILES or (name.endswith(".js") and name[:-3].isalpha() and _static(name).is_file())
        return _file(name) if known else Response(status_code=404)

    async def _enter(self, request: Request) -> Response:
        try:
            given = await _json_of(request)
        except ConnectorError:
            given = {}
        if not self._guard.is_token(given.get("token")):
            return _json({"ok": False, "error": "that is not the token of this page"}, 403)
        answer = _json({"ok": True})
        answer.set_cookie(self._guard.cookie_name, self._guard.cookie, httponly=True, samesite="strict", path="/")
        return answer

    async def _asked(self, request: Request) -> Response:
        if not self._guard.is_known(request.cookies):
            return _json({"ok": False, "error": "the token is missing", "kind": "NoToken"}, 401)
        try:
            asked = await _json_of(request)
        except ConnectorError as error:
            return _json({"ok": False, "error": str(error), "kind": "ConnectorError"}, 400)
        try:
            return _json({"ok": True, "value": await self._ask(asked)})
        except CascadeError as error:  # an answer, too: a run may just have ended
            return _json({"ok": False, "error": str(error), "kind": type(error).__name__})

    async def _live(self, request: Request) -> Response:
        if not self._guard.is_known(request.cookies):
            return _json({"ok": False, "error": "the token is missing", "kind": "NoToken"}, 401)
        if self._streams >= MOST_STREAMS:
            return _json({"ok": False, "error": "too many pages are open", "kind": "TooMany"}, 503)
        engine, run = request.query_params.get("engine"), request.query_params.get("run")
        asked: dict[str, Any] = {"do": "runs"}
        if engine is not None and run is not None:
            asked = {"do": "seen", "engine": engine, "run": run, "part": "head"}
        return StreamingResponse(self._told(asked), media_type="text/event-stream")

    async def _told(self, asked: dict[str, Any]) -> AsyncIterator[str]:
        """Give what has changed, ten times a second at the most, and a word now and then where nothing has."""
        self._streams += 1
        before, said = "", monotonic()
        every = RUNS_EVERY if asked["do"] == "runs" else EVERY
        try:
            while not self._closing.is_set():
                try:
                    told = _text(await self._ask(asked))
                    event = "told"
                except CascadeError as error:
                    told, event = _text({"error": str(error), "kind": type(error).__name__}), "gone"
                if told != before:
                    yield f"event: {event}\ndata: {told}\n\n"
                    before, said = told, monotonic()
                elif monotonic() - said > ALIVE_EVERY:
                    yield ": there\n\n"
                    said = monotonic()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), every if event == "told" else 1.0)
            yield "event: closed\ndata: {}\n\n"
        finally:
            self._streams -= 1


def _guarded(app: ASGIApp, guard: Guard) -> ASGIApp:
    """Refuse what comes from elsewhere before anything looks at it, and put the headers on every answer."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        why = guard.refusal(scope["method"], headers)
        if why is not None:
            await _json({"ok": False, "error": why, "kind": "Refused"}, 403)(scope, receive, sent)
        else:
            await app(scope, receive, sent)

    return called


async def _json_of(request: Request) -> dict[str, Any]:
    """Return the object that was sent.

    Raises:
        ConnectorError: it is none, or too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ConnectorError("what is asked is JSON")
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > LARGEST:
            raise ConnectorError(f"a request has {LARGEST} bytes at the most")
    try:
        said = json.loads(bytes(found))
    except (ValueError, RecursionError):
        raise ConnectorError("what was asked is no JSON") from None
    if not isinstance(said, dict):
        raise ConnectorError("what was asked is no JSON object")
    return said


def _text(value: object) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # JSON has no NaN
        plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
        return json.dumps(plain, separators=(",", ":"))


def _json(value: object, status: int = 200) -> Response:
    return Response(_text(value), status, media_type="application/json")


def _static(name: str) -> Any:
    return files("cascade.adapters.page").joinpath("static", name)


def _file(name: str) -> Response:
    kind = KINDS[name.rpartition(".")[2]]
    return Response(_static(name).read_bytes(), media_type=kind)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that is listened on.

    Raises:
        ConnectorError: there can be none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, address = found[0]
        made = socket.socket(family, kind, number)
    except OSError as error:
        raise ConnectorError(f"the page cannot be served on {host}: {error}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(64)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise ConnectorError(
            f"the page cannot be served on port {port} of {host}: {error.strerror}; give another one, or none"
        ) from None
    return made
