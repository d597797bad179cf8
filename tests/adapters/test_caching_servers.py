"""Results kept in servers, PostgreSQL and Redis, that the tests start: shared, signed, no harm where they are away."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.caching import store_at
from cascade.adapters.caching.in_redis import RedisStore
from cascade.errors import CacheError
from cascade.runtime.events import RunWarning
from cascade.spec.caching import CacheEntry, CacheKey, Corrupt
from cascade.testing import SpySubscriber
from tests.providers.postgres import Server as Database
from tests.providers.postgres import program
from tests.providers.redis import Server as RedisServer
from tests.providers.servers import need

need("psycopg")
redis = need("redis")
calls: list[Any] = []


class Plain:
    """What has no form but a pickle."""

    def __init__(self, x: int) -> None:
        self.x = x


@cs.task
def double(x: int) -> dict[str, Any]:
    calls.append(x)
    return {"twice": 2 * x, "pair": (x, {x})}


class Closed:
    """A store that counts how often it was closed."""

    count = 0

    def close(self) -> None:
        self.count += 1


def test_an_engine_closes_the_stores_that_it_has_made() -> None:
    import asyncio

    async def main() -> None:
        async with cs.Engine() as engine:
            engine.caches._stores["somewhere"] = made
        async with cs.Engine():  # which has none
            pass

    made = Closed()
    asyncio.run(main())
    assert made.count == 1


@cs.task
def plain(x: int) -> Any:
    calls.append(x)
    return Plain(x)


@pytest.fixture(scope="module", params=["postgres", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    required = os.environ.get("CASCADE_REQUIRE_ALL") == "1"
    if request.param == "postgres" and program("initdb") is None and not required:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    if request.param == "redis" and shutil.which("redis-server") is None and not required:
        pytest.skip("Redis is not installed (apt-get install redis-server)")
    started: Any = Database() if request.param == "postgres" else RedisServer(appendonly="no")
    try:
        started.start()
        yield started
    finally:
        started.remove()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    monkeypatch.delenv("CASCADE_SECRET", raising=False)


def run(target: Any) -> tuple[Any, list[str]]:
    """Run a target on a new engine; return its value, and what it was warned of."""
    import asyncio

    async def main() -> tuple[Any, list[str]]:
        bus = cs.MessageBus()
        spy = SpySubscriber(bus)
        async with cs.Engine(bus=bus) as engine:
            value = await engine.run(target)
        return value, [event.message for event in spy.events_of_type(RunWarning)]

    return asyncio.run(main())


def test_what_one_engine_has_made_another_finds(server: Any) -> None:
    for _ in range(2):
        value, warnings = run(double(3).with_cache(cs.cached(server.url)))
        assert (value, warnings) == ({"twice": 6, "pair": (3, {3})}, [])
    assert calls == [3]
    assert run(double.map(x=[3, 4]).with_cache(cs.cached(server.url)))[0][1]["twice"] == 8
    assert calls == [3, 4]
    (told,) = cs.explain_cache(double(3).with_cache(cs.cached(server.url)))
    assert "hit" in str(told).lower()
    assert "changed" in str(cs.explain_cache(double(5).with_cache(cs.cached(server.url)))[0]).lower()


def test_a_result_that_is_too_old_is_made_anew(server: Any) -> None:
    target = double(100).with_cache(cs.cached(server.url, ttl=1e-6))
    assert [run(target)[0]["twice"] for _ in range(2)] == [200, 200]
    assert calls == [100, 100]


def test_pickles_are_signed_or_not_kept(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CacheError, match="set CASCADE_SECRET"):
        run(plain(1).with_cache(cs.cached(server.url)))
    monkeypatch.setenv("CASCADE_SECRET", "long and random")
    assert [run(plain(1).with_cache(cs.cached(server.url)))[0].x for _ in range(2)] == [1, 1]
    assert calls == [1, 1]
    for secret in ("another", ""):
        monkeypatch.setenv("CASCADE_SECRET", secret)
        key, store = CacheKey("m:f", "d", dict), store_at(server.url)
        monkeypatch.setenv("CASCADE_SECRET", "long and random")
        store_at(server.url).save(key, CacheEntry(Plain(2), 1.0, {}))
        found = store.load(key)
        assert isinstance(found, Corrupt)
        assert "signed with another key" in found.reason
    store = store_at(server.url)
    saved, parts, data = store.read("m:f", "d")
    store.write("m:f", "other", saved, parts, data)
    assert isinstance(store.load(CacheKey("m:f", "other", dict)), Corrupt), "one that was moved is not read"


def test_what_is_not_ours_is_made_anew_and_runs_nothing(server: Any) -> None:
    store, key = store_at(server.url), CacheKey("m:g", "d", dict)
    for data in (b"", b"p1cos\nsystem\n", b"nonsense", b"j1{"):
        store.write("m:g", "d", 1.0, "{}", data)
        assert isinstance(store.load(key), Corrupt)
    store.write("m:g", "d", 1.0, "no json", b"j11")
    assert isinstance(store.load(key), Corrupt)
    store.close()


def test_a_server_that_is_away_costs_no_run(server: Any) -> None:
    target = double(50).with_cache(cs.cached(server.url))
    store, key = store_at(server.url), CacheKey("m:h", "d", dict)
    store.save(key, CacheEntry(1, 1.0, {}))
    server.end(signal.SIGINT)  # PostgreSQL waits for nobody then
    try:
        value, warnings = run(target)
        assert value["twice"] == 100
        assert "does not answer" in warnings[0]
        assert isinstance(store.load(key), Corrupt)
        store.save(key, CacheEntry(2, 1.0, {}))
        assert store.history("m:h") == []
    finally:
        server.start()
    store.save(key, CacheEntry(3, 1.0, {"argument 'x'": "a"}, "d"))
    found = store.load(key)
    assert isinstance(found, CacheEntry)
    assert found.value == 3
    assert [each.parts for each in store.history("m:h")] == [{"argument 'x'": "a"}]
    store.close()


def test_entries_of_redis_may_have_a_lifetime() -> None:
    if shutil.which("redis-server") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
        pytest.skip("Redis is not installed (apt-get install redis-server)")
    server = RedisServer()
    server.start()
    try:
        store, key = RedisStore(f"{server.url}?prefix=mine", lifetime=1000), CacheKey("m:f", "d", dict)
        store.save(key, CacheEntry(1, 1.0, {}))
        with redis.Redis.from_url(server.url) as client:
            assert 900 < client.ttl("mine:cache:m:f:d") <= 1000
        store.close()
    finally:
        server.remove()


class TestRefused:
    def test_a_server_that_no_cache_is_known_for(self) -> None:
        with pytest.raises(ValueError, match="there is no cache for mysql://"):
            cs.cached("mysql://host/db")

    @pytest.mark.parametrize("lifetime", [0, -1, float("inf"), True])
    def test_a_lifetime_that_is_none(self, lifetime: float) -> None:
        with pytest.raises(ValueError, match="a lifetime above 0"):
            RedisStore("redis://here", lifetime)

    def test_passwords_are_not_shown(self) -> None:
        assert "hush" not in repr(cs.cached("redis://me:hush@host/0"))
        assert "hush" not in repr(store_at("redis://me:hush@host/0"))

    @pytest.mark.parametrize(("name", "place"), [("psycopg", "postgresql://here"), ("redis", "redis://here")])
    def test_without_its_package_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, name: str, place: str
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(ImportError, match=r"pip install cascade-py\[(postgres|redis)\]"):
            store_at(place)
