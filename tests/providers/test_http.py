"""Requests to a real server on this machine: answers, failures, and connections that are gone afterwards."""

import asyncio
import json
import pickle
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

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
                cs.http.post(url, json=None),
                cs.http.post(url),
                cs.http.put(url, content=b"raw"),
                cs.http.delete(url),
                cs.http.request("PATCH", url, data={"x": "1"}),
            ]
        )
    )
    assert [(method, body) for method, _, body in server.seen] == [
        ("POST", b'{"a":[1,null]}'),
        ("POST", b"null"),
        ("POST", b""),
        ("PUT", b"raw"),
        ("DELETE", b""),
        ("PATCH", b"x=1"),
    ]
    assert server.accepted == 1  # a run keeps its connections
    server.wait_until_none_is_connected()


def test_null_is_json_also_when_it_comes_late_and_headers_of_ones_own_win(server: Server) -> None:
    nothing = cs.task(lambda: None)()
    late = cs.http.put(f"{server.url}/echo", json=nothing)
    own = cs.http.post(f"{server.url}/echo", json=None, headers={"content-type": "application/x"})
    heads = [{name.lower(): value for name, value in each.json()["headers"].items()} for each in run([late, own])]
    assert [each["content-type"] for each in heads] == ["application/json", "application/x"]
    assert {body for *_, body in server.seen} == {b"null"}


@every_tier
def test_a_second_body_is_refused_and_not_lost(server: Server, tier: Tier) -> None:
    for parts in ({"json": None, "data": {"a": 1}}, {"content": "x", "json": 1}, {"content": b"", "files": {}}):
        with pytest.raises(ValueError, match="a request has one body, and this has"):
            run(cs.http.post(f"{server.url}/echo", **parts), tier=tier)
    assert server.seen == []


@every_tier
def test_files_of_a_form(server: Server, tmp_path: Path, tier: Tier) -> None:
    (tmp_path / "a.txt").write_text("first")
    paths = cs.task(lambda: [tmp_path / "a.txt", ("b.csv", b"1,2", "text/csv")])()
    files = {"many": paths, "path": str(tmp_path / "a.txt"), "raw": b"third", "named": ("c.txt", tmp_path / "a.txt")}
    sent = cs.http.post(f"{server.url}/echo", data={"x": "1"}, files=files, check=True)
    body = run(sent, tier=tier).json()["body"]
    for part in (
        'name="x"\r\n\r\n1',
        'name="many"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nfirst',
        'name="many"; filename="b.csv"\r\nContent-Type: text/csv\r\n\r\n1,2',
        'name="path"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nfirst',
        'name="raw"; filename="raw"\r\nContent-Type: application/octet-stream\r\n\r\nthird',
        'name="named"; filename="c.txt"\r\nContent-Type: text/plain\r\n\r\nfirst',
    ):
        assert part in body


def test_a_retry_sends_files_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("all of it")
    url = f"{server.url}/status/503"
    sent = cs.http.put(url, files={"f": tmp_path / "a.txt"}, check=True).with_retry(2, delay=0.001)
    with pytest.raises(HttpStatusError):
        run(sent)
    assert [b"all of it" in body for *_, body in server.seen] == [True, True]


def test_what_is_no_file_is_refused(server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/echo"
    with pytest.raises(FileNotFoundError):
        run(cs.http.post(url, files={"f": tmp_path / "nothing"}))
    with pytest.raises(TypeError, match="the file of 'f' is a path, bytes or a tuple"):
        run(cs.http.post(url, files={"f": 7}))
    with pytest.raises(TypeError, match="files are a dict by field"):
        run(cs.http.post(url, files=["a.txt"]))
    assert server.seen == []


def test_only_some_statuses_are_tried_again(server: Server) -> None:
    def is_final(error: BaseException) -> bool:
        return isinstance(error, HttpStatusError) and error.status < 500

    for status, count in ((404, 1), (503, 3)):
        server.seen.clear()
        asked = cs.http.get(f"{server.url}/status/{status}", check=True)
        with pytest.raises(HttpStatusError):
            run(asked.with_retry(3, delay=0.001, give_up=is_final))
        assert len(server.seen) == count


def test_a_body_that_is_not_what_it_says(server: Server) -> None:
    with pytest.raises(
        ConnectionError, match=r"GET http://.*/no_gzip failed: the body is not what its Content-Encoding"
    ):
        run(cs.http.get(f"{server.url}/no_gzip"))


@every_tier
def test_passwords_of_urls_are_in_no_message(server: Server, tier: Tier) -> None:
    at = server.url.removeprefix("http://")
    secret = f"http://me:s3cret@{at}"
    for target in (
        cs.http.get(f"{secret}/status/500", check=True),
        cs.http.get(f"{secret}/break"),
        cs.http.get(f"{secret}/hang", timeout=0.05),
        cs.http.get(f"{secret}/no_gzip"),
        cs.http.get("http://me:s3c/ret@x/"),
        cs.http.get("ftp://me:s3cret@x/"),
        cs.http.post(secret, json=1, content=b""),
    ):
        with pytest.raises((ConnectionError, HttpStatusError, TimeoutError, ValueError)) as caught:
            run(target, tier=tier)
        told = "".join(traceback.format_exception_only(caught.value))
        chain = "".join(map(repr, (caught.value, caught.value.__cause__, *notes_of(caught.value))))
        assert "s3c" not in told + chain
        assert "me:***@" in told
    answer = run(cs.http.get(f"{secret}/echo"), tier=tier)
    assert answer.url == f"{secret}/echo"
    assert "s3cret" not in repr(answer)


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
