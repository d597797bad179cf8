"""Requests to a real server on this machine: answers, failures, and connections that are gone afterwards."""

import asyncio
import json
import pickle
import socket
from collections.abc import Iterator

import pytest

import cascade as cs
from cascade.providers.http import Headers, HttpResponse, HttpStatusError
from cascade.runtime import Engine
from tests.providers.servers import Server, need, serving
from tests.workflows import Tier, every_tier, in_loop, notes_of, run

need("httpx")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@every_tier
def test_get_gives_a_response(server: Server, tier: Tier) -> None:
    answer = run(cs.http.get(f"{server.url}/echo", params={"q": "a b"}, headers={"X-Mine": "1"}), tier=tier)
    assert isinstance(answer, HttpResponse)
    assert (answer.status, answer.ok, answer.headers["content-TYPE"]) == (200, True, "application/json")
    said = answer.json()
    assert (said["method"], said["path"], said["headers"]["X-Mine"]) == ("GET", "/echo?q=a+b", "1")
    assert json.loads(answer.text()) == said
    server.wait_until_none_is_connected()


def test_post_put_delete_and_request_send_what_they_are_given(server: Server) -> None:
    url = f"{server.url}/echo"
    run(
        cs.sequence(
            [
                cs.http.post(url, json={"a": [1, None]}),
                cs.http.put(url, content=b"raw"),
                cs.http.delete(url),
                cs.http.request("PATCH", url, data={"x": "1"}),
            ]
        )
    )
    assert [(method, body) for method, _, body in server.seen] == [
        ("POST", b'{"a":[1,null]}'),
        ("PUT", b"raw"),
        ("DELETE", b""),
        ("PATCH", b"x=1"),
    ]
    assert server.accepted == 1  # a run keeps its connections
    server.wait_until_none_is_connected()


def test_a_lazy_url_and_a_map_of_urls(server: Server) -> None:
    path = cs.task(lambda number: f"{server.url}/status/{number}")
    answers = run(cs.http.get.map(url=path.map(number=[200, 404, 503])))
    assert [answer.status for answer in answers] == [200, 404, 503]
    assert answers[1].text() == "as you wish"
    server.wait_until_none_is_connected()


def test_redirects_are_followed(server: Server) -> None:
    assert run(cs.http.get(f"{server.url}/redirect")).url == f"{server.url}/echo"


def test_text_is_read_in_its_charset(server: Server) -> None:
    assert run(cs.http.get(f"{server.url}/latin")).text() == "café"


@every_tier
def test_a_bad_status_is_a_failure_where_asked_for(server: Server, tier: Tier) -> None:
    step = cs.http.get(f"{server.url}/status/503", check=True)
    with pytest.raises(HttpStatusError, match="/status/503 answered 503: as you wish") as caught:
        run(step, tier=tier)
    assert caught.value.response.status == 503
    assert any(f"http.get#1, declared at {__file__}" in n or "http.get" in n for n in notes_of(caught.value))
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.response.status == 503


@every_tier
def test_a_server_that_is_down(tier: Tier) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port, and nobody answers
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match=r"GET http://127\.0\.0\.1"):
            run(cs.http.get(f"http://127.0.0.1:{taken.getsockname()[1]}/"), tier=tier)


def test_a_server_that_breaks_off(server: Server) -> None:
    with pytest.raises(ConnectionError, match="/break failed"):
        run(cs.http.get(f"{server.url}/break"))
    server.wait_until_none_is_connected()


@every_tier
def test_when_the_time_is_up_the_connection_is_closed(server: Server, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            with pytest.raises(TimeoutError, match=r"/hang took longer than 0\.3 seconds"):
                await engine.run(cs.http.get(f"{server.url}/hang", timeout=0.3))
            await asyncio.to_thread(server.wait_until_none_is_connected)

    in_loop(main)
    assert server.hanging.is_set()


@every_tier
def test_cancelled_in_the_middle_the_connection_is_closed(server: Server, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.http.get(f"{server.url}/hang"))
            assert await asyncio.to_thread(server.hanging.wait, 20)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            await asyncio.to_thread(server.wait_until_none_is_connected)

    in_loop(main)


@pytest.mark.parametrize("url", ["ftp://x", "no url", "http://", "http://a b:port/", 7])
def test_what_is_no_url_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match=r"URL|cannot be sent"):
        run(cs.http.get(url))


def test_a_wrong_timeout_is_refused(server: Server) -> None:
    with pytest.raises(ValueError, match=r"cs\.http\(timeout=\.\.\.\)"):
        run(cs.http.get(server.url, timeout=0))


def test_a_body_that_is_no_json_says_so() -> None:
    with pytest.raises(ValueError, match="the body of http://x is no JSON"):
        HttpResponse(200, Headers({}), b"<html>", "http://x").json()


def test_a_charset_that_nobody_knows_is_read_as_utf_8() -> None:
    assert HttpResponse(200, Headers({"Content-Type": "text/plain; charset=x-none"}), b"ok").text() == "ok"
