"""Objects on moto's S3 server, over HTTP; and on a server of ours that never answers."""

import asyncio
import logging
import socket
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.providers.servers import Server, need, serving
from tests.workflows import Tier, every_tier, in_loop, run

need("aiobotocore")
moto_server = need("moto.server")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(moto: str) -> str:
    """A bucket that is there, and empty."""
    import urllib.request

    request = urllib.request.Request(f"{moto}/moto-api/reset", method="POST")
    urllib.request.urlopen(request).close()
    urllib.request.urlopen(urllib.request.Request(f"{moto}/goods", method="PUT")).close()
    return "goods"


@every_tier
def test_objects_are_written_listed_read_and_deleted(moto: str, bucket: str, tier: Tier) -> None:
    there: dict[str, Any] = {"endpoint": moto}
    put = cs.io.s3.write(bucket, "a/1", b"\x00one", **there)
    other = cs.io.s3.write(bucket, "b/2", "zwei", **there)
    got = cs.io.s3.read(bucket, "a/1", **there).after(put)
    keys = cs.io.s3.list(bucket, "a/", **there).after(put, other)
    is_there = cs.io.s3.exists(bucket, "b/2", **there).after(other)
    assert run([put, got, keys, is_there], tier=tier) == ["s3://goods/a/1", b"\x00one", ["a/1"], True]
    run(cs.io.s3.delete(bucket, "b/2", **there), tier=tier)
    assert run(cs.io.s3.exists(bucket, "b/2", **there), tier=tier) is False
    assert run(cs.io.s3.list(bucket, **there), tier=tier) == ["a/1"]


def test_the_endpoint_may_come_from_the_environment(moto: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    assert run(cs.io.s3.list(bucket)) == []


def test_text_is_written_and_read_in_an_encoding(moto: str, bucket: str) -> None:
    there: dict[str, Any] = {"endpoint": moto}
    put = cs.io.s3.write(bucket, "t", "é\r\n", encoding="latin-1", **there)
    plain, text = (cs.io.s3.read(bucket, "t", encoding=name, **there).after(put) for name in (None, "latin-1"))
    assert run([plain, text]) == [b"\xe9\r\n", "é\r\n"]
    with pytest.raises(UnicodeDecodeError):
        run(cs.io.s3.read(bucket, "t", encoding="utf-8", **there))


def test_a_password_of_an_endpoint_is_in_no_message() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://me:s3cret@127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match="cannot read s3://b/k") as caught:
            run(cs.io.s3.read("b", "k", endpoint=endpoint))
    assert "s3cret" not in "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.__cause__)


def test_all_pages_are_listed(moto: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")  # the server is in this process
    keys = [f"{number:04}" for number in range(8)]
    write = cs.io.s3.write.partial(bucket=bucket, data=b"", endpoint=moto)
    assert run(cs.io.s3.list(bucket, endpoint=moto).after(write.map(key=keys))) == keys


@every_tier
@pytest.mark.parametrize(("of", "key"), [("goods", "nothing"), ("no-such-bucket", "a")])
def test_what_is_not_there(moto: str, bucket: str, of: str, key: str, tier: Tier) -> None:
    with pytest.raises(FileNotFoundError, match=f"cannot read s3://{of}/{key}"):
        run(cs.io.s3.read(of, key, endpoint=moto), tier=tier)
    assert run(cs.io.s3.exists(of, key, endpoint=moto), tier=tier) is False


@pytest.mark.parametrize("name", ["", "NO SUCH/bucket", 7])
def test_what_is_no_bucket_is_refused(moto: str, name: object) -> None:
    with pytest.raises(ValueError, match="cannot read s3://"):
        run(cs.io.s3.read(name, "a", endpoint=moto))


def test_what_is_no_content_is_refused(moto: str) -> None:
    with pytest.raises(TypeError, match="writes bytes or a str, not int"):
        run(cs.io.s3.write("goods", "a", 7, endpoint=moto))


def test_no_credentials(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PermissionError, match="credentials"):
        run(cs.io.s3.read("goods", "a", endpoint=moto))


@every_tier
def test_a_server_that_is_down(tier: Tier) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match="cannot read s3://goods/a"):
            run(cs.io.s3.read("goods", "a", endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}"), tier=tier)


@pytest.fixture
def silent() -> Iterator[Server]:
    with serving() as server:
        yield server


@every_tier
def test_when_the_time_is_up_the_connection_is_closed(silent: Server, tier: Tier) -> None:
    with pytest.raises(TimeoutError, match=r"took longer than 0\.5 seconds"):
        run(cs.io.s3.read("hang", "a", endpoint=silent.url, timeout=0.5), tier=tier)
    silent.wait_until_none_is_connected()


@every_tier
def test_cancelled_in_the_middle_the_connection_is_closed(silent: Server, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            going = engine.start(cs.io.s3.read("hang", "a", endpoint=silent.url))
            assert await asyncio.to_thread(silent.hanging.wait, 20)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            await asyncio.to_thread(silent.wait_until_none_is_connected)

    in_loop(main)
