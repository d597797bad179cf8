"""What type checkers see of the providers; here it is seen to run as well."""

from datetime import UTC, datetime
from typing import Any, assert_type

import cascade as cs
from cascade.providers.http import HttpResponse
from cascade.providers.shell import ShellResult
from cascade.providers.sql import Rows
from cascade.spec.lazy import LazyResult, MappedResult


def test_each_call_gives_a_lazy_result_of_its_type() -> None:
    assert_type(cs.shell("true"), LazyResult[ShellResult])
    assert_type(cs.wait(1), LazyResult[None])
    assert_type(cs.wait(until=datetime.now(UTC)), LazyResult[None])
    assert_type(cs.wait_signal("name", type=bool, timeout=5, default=None), LazyResult[Any])
    assert_type(cs.recv("topic"), LazyResult[Any])
    assert_type(cs.http.get("http://x"), LazyResult[HttpResponse])
    assert_type(cs.http.request("GET", "http://x").with_retry(3), LazyResult[HttpResponse])
    assert_type(cs.http.get.map(url=["http://x"]), MappedResult[HttpResponse])
    assert_type(cs.sql("select 1", "sqlite://"), LazyResult[Rows])
    assert_type(cs.template("x"), LazyResult[str])
    assert_type(cs.format("x"), LazyResult[str])
    assert_type(cs.dict(a=1), LazyResult[dict[Any, Any]])
    assert_type(cs.load_yaml("x"), LazyResult[Any])
    assert_type(cs.lookup({}, "x"), LazyResult[Any])
    assert_type(cs.read.text("x"), LazyResult[str])
    assert_type(cs.read.bytes("x"), LazyResult[bytes])
    assert_type(cs.fs.exists("x"), LazyResult[bool])
    assert_type(cs.io.stdin(), LazyResult[str])
    assert_type(cs.io.s3.read("bucket", "key"), LazyResult[bytes])
    assert_type(cs.io.s3.read("bucket", "key", encoding="utf-8"), LazyResult[str])
    assert_type(cs.io.prompt("who?"), LazyResult[str])
    assert_type(cs.http.post("http://x", files={"f": "a.txt"}), LazyResult[HttpResponse])
    assert_type(cs.template("x", context={}), LazyResult[str])
    assert_type(cs.io.s3.list("bucket"), LazyResult[list[str]])
    assert_type(cs.ipfs.cat("cid"), LazyResult[bytes])
    assert_type(cs.ipfs.add(b""), LazyResult[str])
