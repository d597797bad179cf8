"""Who may ask the server of the page for what: the token, the Host, the Origin; and what no answer lacks."""

import asyncio
import logging
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.errors import ConnectorError
from cascade.runtime import Engine
from tests.providers.servers import need
from tests.showing import Showing, asked

need("starlette")
need("uvicorn")


@cs.task
def double(x: int) -> int:
    return 2 * x


@pytest.fixture(scope="module")
def showing() -> Iterator[Showing]:
    with Showing() as made:
        assert made.end_of(made.start(double(2), run_id="two")) == 4
        yield made


def entered(showing: Showing) -> str:
    """Give the token, and return the cookie."""
    origin = showing.address.rstrip("/")
    status, _, headers = asked(showing.address, "enter", {"token": showing.token}, origin=origin)
    assert status == 200
    return headers["set-cookie"]


class TestToken:
    def test_it_becomes_a_cookie_that_scripts_do_not_see_and_other_sites_do_not_send(self, showing: Showing) -> None:
        cookie = entered(showing)
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert showing.token not in cookie
        origin = showing.address.rstrip("/")
        known = {"cookie": cookie.partition(";")[0], "origin": origin}
        status, told, _ = asked(showing.address, "ask", {"do": "runs"}, **known)
        assert (status, told["value"]["runs"][0]["run"]) == (200, "two")

    @pytest.mark.parametrize("token", ["", "wrong" * 8, None, 7, ["x"], "é" * 20])
    def test_another_one_lets_nobody_in(self, showing: Showing, token: Any) -> None:
        origin = showing.address.rstrip("/")
        status, told, headers = asked(showing.address, "enter", {"token": token}, origin=origin)
        assert status == 403
        assert "token" in told["error"]
        assert "set-cookie" not in headers

    @pytest.mark.parametrize("cookie", ["", "cascade-PORT=wrong", "cascade-PORT=", "other=1"])
    def test_without_it_nothing_is_told_but_the_files_of_the_page(self, showing: Showing, cookie: str) -> None:
        known = {"cookie": cookie.replace("PORT", showing.address.split(":")[-1].rstrip("/"))}
        origin = showing.address.rstrip("/")
        for asking in ({"do": "runs"}, {"do": "cancel", "engine": "engine", "run": "two"}):
            status, told, _ = asked(showing.address, "ask", asking, origin=origin, **known)
            assert (status, told["kind"]) == (401, "NoToken")
        assert asked(showing.address, "live", **known)[0] == 401
        for file in ("", "page/page.js", "page/page.css", "page/icon.svg"):
            assert asked(showing.address, file)[0] == 200

    def test_it_is_in_no_log(self, showing: Showing, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        entered(showing)
        asked(showing.address, f"?token={showing.token[:5]}")
        assert showing.token not in caplog.text

    def test_only_files_of_the_page_are_given(self, showing: Showing) -> None:
        for path in ("page/serving.py", "page/..%2fserving.py", "page/../guard.py", "page/%2e%2e%2fguard.py", "x"):
            assert asked(showing.address, path)[0] == 404


class TestOtherSites:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:PORT", "127.0.0.1.evil.example:PORT", "127.0.0.1:1", "localhost", ""]
    )
    def test_a_name_that_is_not_the_servers_own_is_refused(self, showing: Showing, host: str) -> None:
        """So that no site whose name is made to lead here reads anything (DNS rebinding)."""
        known = {"cookie": entered(showing).partition(";")[0]}
        port = showing.address.split(":")[-1].rstrip("/")
        for path in ("", "live", "page/page.js"):
            status, told, _ = asked(showing.address, path, host=host.replace("PORT", port), **known)
            assert (status, told["kind"]) == (403, "Refused")

    def test_its_own_names_are_fine(self, showing: Showing) -> None:
        port = showing.address.split(":")[-1].rstrip("/")
        for name in ("127.0.0.1", "localhost", "LocalHost", "[::1]"):
            assert asked(showing.address, "", host=f"{name}:{port}")[0] == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost", None])
    def test_what_another_site_sends_is_refused_though_it_had_the_cookie(
        self, showing: Showing, origin: str | None
    ) -> None:
        known = {"cookie": entered(showing).partition(";")[0]} | ({} if origin is None else {"origin": origin})
        status, told, _ = asked(showing.address, "ask", {"do": "runs"}, **known)
        assert (status, told["kind"]) == (403, "Refused")

    def test_a_picture_or_a_frame_of_another_site_gets_nothing(self, showing: Showing) -> None:
        known = {"cookie": entered(showing).partition(";")[0], "sec_fetch_site": "cross-site"}
        assert asked(showing.address, "live", sec_fetch_mode="no-cors", **known)[0] == 403
        assert asked(showing.address, "", sec_fetch_mode="navigate", **known)[0] == 200  # a link that was pressed

    def test_every_answer_has_a_policy_that_lets_nothing_in_from_elsewhere(self, showing: Showing) -> None:
        for path, host in (("", None), ("page/page.js", None), ("nothing", None), ("ask", None), ("", "evil")):
            headers = asked(showing.address, path, **({} if host is None else {"host": host}))[2]
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in headers


class TestWhatIsAsked:
    def test_what_makes_no_sense_is_refused_and_says_why(self, showing: Showing) -> None:
        known = {"cookie": entered(showing).partition(";")[0], "origin": showing.address.rstrip("/")}
        for asking, why in (
            ({"do": "eval"}, "cannot ask"),
            ({"do": ["x"]}, "cannot ask"),
            ([1], "no JSON object"),
            ({"do": "seen", "engine": "engine", "run": "two", "part": "all"}, "there is"),
            ({"do": "seen", "engine": "engine", "run": "three", "part": "head"}, "nothing is known"),
            ({"do": "seen", "engine": "engine", "run": "two", "part": "steps", "after": -1}, "whole number"),
            ({"do": "seen", "engine": "engine", "run": "two", "part": "steps", "text": 7}, "a text"),
            ({"do": "seen", "engine": "store", "run": "two", "part": "head"}, "no store"),
            ({"do": "set_limit", "engine": "engine", "scope": "double", "concurrency": 1}, "the scope of a limit"),
        ):
            status, told, _ = asked(showing.address, "ask", asking, **known)
            assert status == (400 if isinstance(asking, list) else 200)
            assert why in told["error"]
            assert told["ok"] is False
        status, told, _ = asked(showing.address, "ask", {"do": "x" * 300_000}, **known)
        assert (status, "at the most" in told["error"]) == (400, True)

    def test_what_is_sent_is_data_and_nothing_of_it_is_evaluated(self, showing: Showing, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "made"),)

        known = {"cookie": entered(showing).partition(";")[0], "origin": showing.address.rstrip("/")}
        for value in (pickle.dumps(Evil()).decode("latin-1"), {"__reduce__": ["os.mkdir", [str(tmp_path / "made")]]}):
            run = showing.start(cs.wait_signal("go"), run_id="waits")
            asking = {"do": "signal", "engine": "engine", "run": "waits", "name": "go", "value": value}
            assert asked(showing.address, "ask", asking, **known)[0] == 200
            assert showing.end_of(run) == value
        assert not (tmp_path / "made").exists()


def test_it_listens_on_loopback_alone() -> None:
    with Showing() as showing:
        page: Any = showing.engine.page
        assert page.server._socket.getsockname()[0] == "127.0.0.1"


def test_for_other_machines_it_needs_a_token_of_ones_own() -> None:
    async def main() -> None:
        async with Engine() as engine:
            with pytest.raises(ConnectorError, match="has a token of yours"):
                await engine.ui(host="0.0.0.0")
            with pytest.raises(ConnectorError, match="16 letters"):
                await engine.ui(host="0.0.0.0", token="short")
            url = await engine.ui(host="0.0.0.0", token="t" * 16)
            port = url.split(":")[2].partition("/")[0]
            assert url == f"http://127.0.0.1:{port}/#token={'t' * 16}"
            assert await engine.ui() == url  # it has one page

    asyncio.run(main())


def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    async def main() -> None:
        async with Engine() as engine:
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                other.listen()
                port = other.getsockname()[1]
                with pytest.raises(ConnectorError, match=f"port {port} of 127.0.0.1"):
                    await engine.ui(port)

    asyncio.run(main())


def test_it_closes_with_the_engine() -> None:
    with Showing() as showing:
        address = showing.address
        assert asked(address, "")[0] == 200
    with pytest.raises(OSError, match="refused"):
        asked(address, "")
