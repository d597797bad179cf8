"""Real servers on this machine for tests of providers, and pipes that tell whether processes are gone."""

import asyncio
import http.server
import importlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def need(name: str) -> Any:
    """Import a package that a test needs; without it the test is skipped, unless nothing may be."""
    return importlib.import_module(name) if os.environ.get("CASCADE_REQUIRE_ALL") == "1" else pytest.importorskip(name)


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server that knows which connections are open."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        self.connections = 0
        self.accepted = 0
        self.changed = threading.Condition()
        self.hanging = threading.Event()
        """Set when a request came that is not answered."""
        self.seen: list[tuple[str, str, bytes]] = []
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self.changed:
            self.connections += 1
            self.accepted += 1
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self.changed:
                self.connections -= 1
                self.changed.notify_all()

    def wait_until_none_is_connected(self) -> None:
        """Return once all connections are closed; fail if that does not come."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.connections == 0, timeout=20)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path: /echo, /status/N, /hang, /break, /redirect, /latin, /no_gzip."""

    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind == "status":
            self.answer(int(rest), b"as you wish")
        elif kind == "redirect":
            self.answer(302, b"", Location="/echo")
        elif kind == "latin":
            self.answer(200, "café".encode("latin-1"), Content_Type="text/plain; charset=latin-1")
        elif kind == "no_gzip":
            self.answer(200, b"plain", Content_Encoding="gzip")
        elif kind == "hang":
            self.server.hanging.set()
            self.rfile.read(1)  # returns when the other side closes
            self.close_connection = True
        elif kind == "break":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"and then")
            self.close_connection = True
        else:
            said = {"method": self.command, "path": self.path, "body": body.decode(), "headers": dict(self.headers)}
            self.answer(200, json.dumps(said).encode(), Content_Type="application/json")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler] = Handler) -> Iterator[Server]:
    """Run a server in a thread."""
    server = Server(handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Tether:
    """A pipe whose other end commands hold: it says when they have begun, and when the last of them is gone.

    A command opens it by `exec 3>PATH` and says so by `echo begun >&3`; what it starts inherits it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tether"
        os.mkfifo(self.path)
        self._file: Any = None

    def _begin(self) -> str:
        self._file = open(self.path)  # noqa: SIM115
        line: str = self._file.readline()
        return line

    async def begun(self) -> str:
        """Wait until a command says something, and return that."""
        return await asyncio.to_thread(self._begin)

    async def gone(self) -> str:
        """Wait until nobody holds the other end any more; return what else was said."""
        rest: str = await asyncio.to_thread(self._file.read)
        self._file.close()
        return rest
