"""IPFS against a double of a daemon's HTTP API, for there is no daemon here; it speaks as Kubo's documentation says."""

import asyncio
import hashlib
import json
import socket
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.providers.servers import Handler, Server, need, serving
from tests.workflows import Tier, every_tier, in_loop, run

need("httpx")


class Daemon(Handler):
    """`add` keeps a file and `cat` gives it, as POST alone; "hang" is content that nobody has."""

    kept: dict[str, bytes] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        self.answer(405, b"405 - Method Not Allowed\n")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlparse(self.path)
        if url.path == "/api/v0/add":
            kind = self.headers["Content-Type"].encode()
            parts: Any = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + body).get_payload()
            content: bytes = parts[0].get_payload(decode=True)
            cid = "Qm" + hashlib.sha256(content).hexdigest()[:44]
            self.kept[cid] = content
            said = {"Name": parts[0].get_filename(), "Hash": cid, "Size": str(len(content))}
            self.answer(200, json.dumps(said).encode() + b"\n", Content_Type="application/json")
        elif url.path == "/api/v0/cat":
            cid = parse_qs(url.query)["arg"][0]
            if cid == "hang":
                self.server.hanging.set()
                self.rfile.read(1)
                self.close_connection = True
            elif cid in self.kept:
                self.answer(200, self.kept[cid], Content_Type="text/plain")
            else:
                refusal = {
                    "Message": f"invalid path {cid!r}: wrong encoding",
                    "Code": 0,
                    "Type": "error",
                }
                self.answer(500, json.dumps(refusal).encode(), Content_Type="application/json")
        else:
            self.answer(404, b"404 page not found\n")


@pytest.fixture
def daemon() -> Iterator[Server]:
    with serving(Daemon) as server:
        yield server


@every_tier
def test_what_was_added_can_be_read(daemon: Server, tmp_path: Path, tier: Tier) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"\x00\xff")
    for data, content in [(b"bytes\r\n", b"bytes\r\n"), (str(path), b"\x00\xff"), (path, b"\x00\xff")]:
        cid = cs.ipfs.add(data, api=daemon.url)
        assert run(cs.ipfs.cat(cid, api=daemon.url), tier=tier) == content
    daemon.wait_until_none_is_connected()


def test_the_daemon_may_come_from_the_environment(daemon: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPFS_API", daemon.url + "/")
    assert run(cs.ipfs.cat(cs.ipfs.add(b"x"))) == b"x"


@every_tier
def test_what_the_daemon_refuses(daemon: Server, tier: Tier) -> None:
    with pytest.raises(ValueError, match="refuses to cat: invalid path 'no-cid'"):
        run(cs.ipfs.cat("no-cid", api=daemon.url), tier=tier)


@pytest.mark.parametrize("cid", ["", "/", 7])
def test_what_is_no_content_id_is_refused(cid: object) -> None:
    with pytest.raises(ValueError, match=r"cs\.ipfs\.cat takes a content id"):
        run(cs.ipfs.cat(cid))


def test_what_is_no_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cs\.ipfs\.add takes bytes"):
        run(cs.ipfs.add(7))
    for path in (tmp_path / "nothing", "a text that was meant as content"):
        with pytest.raises(FileNotFoundError):
            run(cs.ipfs.add(path))


def test_a_server_that_is_no_daemon(daemon: Server) -> None:
    with pytest.raises(ConnectionError, match="answered 404 to cat"):
        run(cs.ipfs.cat("x", api=f"{daemon.url}/elsewhere"))
    with serving() as other, pytest.raises(ConnectionError, match="no content id"):
        run(cs.ipfs.add(b"x", api=other.url))


@every_tier
def test_a_daemon_that_is_down(tier: Tier) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match="failed"):
            run(cs.ipfs.cat("x", api=f"http://127.0.0.1:{taken.getsockname()[1]}"), tier=tier)
        with pytest.raises(ConnectionError, match=r"http://me:\*\*\*@127"):
            run(cs.ipfs.cat("x", api=f"http://me:s3cret@127.0.0.1:{taken.getsockname()[1]}"), tier=tier)


@every_tier
def test_when_the_time_is_up_the_connection_is_closed(daemon: Server, tier: Tier) -> None:
    with pytest.raises(TimeoutError, match="took longer than"):
        run(cs.ipfs.cat("hang", api=daemon.url, timeout=0.3), tier=tier)
    daemon.wait_until_none_is_connected()


@every_tier
def test_cancelled_in_the_middle_the_connection_is_closed(daemon: Server, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.ipfs.cat("hang", api=daemon.url))
            assert await asyncio.to_thread(daemon.hanging.wait, 20)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            await asyncio.to_thread(daemon.wait_until_none_is_connected)

    in_loop(main)
