"""Runs kept in a Redis server that the tests start: what every store must do, and what a server may do to it."""

import asyncio
import multiprocessing
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state.patient import PatientBackend
from cascade.adapters.state.redis import RedisBackend
from cascade.adapters.state.urls import backend_from
from cascade.errors import RunBusyError, StateError
from cascade.spec.state import Owner, Wanted
from cascade.testing import STATE_CHECKS, check_state_backend
from tests.adapters.state.runs import commit, run, step
from tests.providers.redis import Server
from tests.providers.servers import need

redis = need("redis")
THERE = Owner("another boot", "another namespace", 8, "1", "far")


def made(**options: str) -> Server:
    if shutil.which("redis-server") is None and os.environ.get("CASCADE_REQUIRE_ALL") != "1":
        pytest.skip("Redis is not installed (apt-get install redis-server)")
    server = Server(**options)
    server.start()
    return server


def version_of(server: Server) -> tuple[int, ...]:
    with redis.Redis(port=server.port) as client:
        return tuple(map(int, client.info("server")["redis_version"].split(".")[:2]))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = made()
    yield started
    started.remove()


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """A store of the test's own: a prefix."""
    return f"{server.url}?prefix=store{abs(hash(request.node.nodeid))}"


@pytest.fixture
def store(url: str) -> Iterator[RedisBackend]:
    opened = RedisBackend(url)
    opened.open()
    yield opened
    opened.close()


@pytest.mark.parametrize("check", STATE_CHECKS)
def test_it_does_what_a_store_must(server: Server, check: str) -> None:
    check_state_backend(lambda name: RedisBackend(f"{server.url}?prefix={check}-{name}", "each"), check)


class TestOpening:
    def test_what_is_not_there_is_told_at_once(self) -> None:
        with pytest.raises(StateError, match=r"is not reached: .*start the server") as caught:
            PatientBackend(RedisBackend("redis://me:hush@127.0.0.1:1/0")).open()
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("place", ["redis://127.0.0.1:x/0", "redis://127.0.0.1:6379/0?hots=1"])
    def test_what_is_no_address(self, place: str) -> None:
        with pytest.raises((StateError, ValueError, TypeError)):
            PatientBackend(RedisBackend(place)).open()

    def test_a_newer_schema_is_refused(self, server: Server, url: str, store: RedisBackend) -> None:
        with redis.Redis.from_url(server.url) as client:
            client.hset(store.keys.store, "version", 99)
        with pytest.raises(StateError, match=r"newer Cascade \(schema 99"):
            RedisBackend(url).open()

    def test_two_that_open_at_once_are_one_store(self, url: str, store: RedisBackend) -> None:
        other = RedisBackend(url)
        other.open()
        assert other.identity == store.identity
        other.close()

    def test_without_redis_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "redis", None)
        with pytest.raises(ImportError, match=r"pip install cascade-py\[redis\]"):
            RedisBackend("redis://here")


class TestWhatIsRefusedAtTheStart:
    """Settings of a server that cannot keep what is promised."""

    @pytest.mark.parametrize(
        ("options", "durability", "why"),
        [
            ({"appendonly": "no"}, "group", "writes no log"),
            ({"maxmemory_policy": "allkeys-lru"}, "group", "forgets what it has no room for .*allkeys-lru"),
            ({"appendfsync": "everysec"}, "each", "does not wait for its disk .*appendfsync everysec"),
            ({"no_appendfsync_on_rewrite": "yes"}, "each", "no-appendfsync-on-rewrite yes"),
        ],
    )
    def test_they_are_named(self, options: dict[str, str], durability: str, why: str) -> None:
        server = made(**options)
        try:
            version = version_of(server)
            if durability == "each" and version >= (7, 2):
                pytest.skip("this server has WAITAOF")
            with pytest.raises(StateError, match=why):
                PatientBackend(RedisBackend(server.url, durability)).open()
            if durability == "each":
                store = RedisBackend(server.url)
                store.open()
                with pytest.raises(StateError, match=why):
                    store.strengthen()
                store.close()
        finally:
            server.remove()

    def test_a_run_that_asks_for_more_than_its_server_keeps_is_refused(self) -> None:
        server = made(appendfsync="no")

        async def go() -> Any:
            async with cs.Engine(state_backend=server.url) as engine:
                await engine.run(cs.wait(0), run_id="group")
                return await engine.run(cs.wait(0), run_id="each", durability="each")

        try:
            if version_of(server) >= (7, 2):
                pytest.skip("this server has WAITAOF")
            with pytest.raises(StateError, match="does not wait for its disk"):
                asyncio.run(go())
        finally:
            server.remove()


class TestSeveralAtOnce:
    def race(self, url: str, act: Callable[[RedisBackend, int], Any]) -> list[Any]:
        """Let eight stores do one thing at once; return what came of it, errors too."""
        stores = [RedisBackend(url) for _ in range(8)]
        found: list[Any] = [None] * len(stores)
        ready = threading.Barrier(len(stores))

        def work(at: int) -> None:
            stores[at].open()
            ready.wait()
            try:
                found[at] = act(stores[at], at)
            except Exception as error:
                found[at] = error
            finally:
                stores[at].close()

        threads = [threading.Thread(target=work, args=[at]) for at in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def test_one_makes_a_run(self, url: str, store: RedisBackend) -> None:
        assert sorted(self.race(url, lambda each, at: each.create(run()))) == [False] * 7 + [True]

    def test_one_takes_it(self, url: str, store: RedisBackend) -> None:
        store.create(run(owner=None)._replace(status="Enqueued"))
        found = self.race(url, lambda each, at: each.take("run", 0, THERE, b"", b""))
        assert [type(each) for each in found if isinstance(each, Exception)] == [RunBusyError] * 7

    def test_messages_are_numbered_without_gaps(self, url: str, store: RedisBackend) -> None:
        store.create(run())

        def work(each: RedisBackend, at: int) -> None:
            for n in range(at, at + 20):
                each.send("run", f"m{at}", b"", f"{n}")

        assert self.race(url, work) == [None] * 8
        assert [each.number for each in store.signals("run")] == list(range(1, 28))

    def test_commits_and_beats_of_many_runs_all_come_through(self, url: str, store: RedisBackend) -> None:
        for at in range(5):
            store.create(run(f"r{at}"))

        def work(each: RedisBackend, at: int) -> None:
            for number in range(10):
                each.beat([(f"r{name}", 1) for name in range(5)])
                each.commit([commit(number * 8 + at + 1, step(f"k{at}"), run_id=f"r{name}") for name in range(5)])

        assert self.race(url, work) == [None] * 8
        assert {len([*store.steps(f"r{name}")]) for name in range(5)} <= {*range(1, 9)}

    @pytest.mark.parametrize("concurrency", [None, 7])
    def test_servers_that_claim_at_once_get_each_run_once(
        self, url: str, store: RedisBackend, concurrency: int | None
    ) -> None:
        for name in map(str, range(20)):
            store.enqueue(run(name, owner=None)._replace(status="Enqueued", queue="mail"))
        wanted = Wanted("mail", ["flows.py:main"], THERE, 4, concurrency)

        def claim(each: RedisBackend, at: int) -> list[str]:
            return [found.run_id for _ in range(3) for found in each.claim(wanted).runs]

        found = sorted((run_id for some in self.race(url, claim) for run_id in some), key=int)
        assert found == [str(each) for each in range(20 if concurrency is None else concurrency)]


class TestFaults:
    def test_a_connection_that_is_lost_is_made_anew(self, server: Server, store: RedisBackend) -> None:
        patient = PatientBackend(store)
        patient.create(run())
        with redis.Redis.from_url(server.url) as client:
            for number in range(1, 4):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                assert patient.commit([commit(number, step(f"k{number}"))]) == []
        assert [each.key for each in patient.steps("run")] == ["k1", "k2", "k3"]

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_a_server_that_is_killed_and_started_again_has_all(
        self, server: Server, store: RedisBackend, how: int
    ) -> None:
        patient = PatientBackend(store)
        patient.create(run())
        patient.commit([commit(1, step("a"))])
        patient.send("run", "go", b"1", "once")
        server.end(how)
        again = threading.Timer(0.3, server.start)
        again.start()
        assert patient.commit([commit(2, step("b"))]) == []
        again.join()
        assert [each.key for each in patient.steps("run")] == ["a", "b"]
        assert [each.name for each in patient.signals("run")] == ["go"]

    def test_a_server_without_room_is_tried_again(self, server: Server, store: RedisBackend) -> None:
        patient = PatientBackend(store)
        patient.create(run())
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1mb")
            try:
                with pytest.raises(redis.OutOfMemoryError):
                    store.commit([commit(1, step("a", b"x" * 100_000))])
            finally:
                timer = threading.Timer(0.3, lambda: client.config_set("maxmemory", "0"))
                timer.start()
            assert patient.commit([commit(1, step("a", b"x" * 100_000))]) == []
            timer.join()

    def test_who_listens_is_woken_also_after_the_server_was_started_again(
        self, server: Server, store: RedisBackend
    ) -> None:
        woken: queue.SimpleQueue[int] = queue.SimpleQueue()
        end = store.listen("mail", lambda: woken.put(1))
        assert woken.get(timeout=30), "as soon as it listens, as something may have come before"
        store.enqueue(run("a", owner=None)._replace(status="Enqueued", queue="mail"))
        assert woken.get(timeout=30)
        server.end()
        server.start()
        assert woken.get(timeout=30)
        PatientBackend(store).enqueue(run("c", owner=None)._replace(status="Enqueued", queue="mail"))
        assert woken.get(timeout=30)
        end()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_a_fork_leaves_the_connection_to_its_parent(self, store: RedisBackend) -> None:
        store.create(run())
        child = multiprocessing.get_context("fork").Process(target=_see, args=[store])
        child.start()
        child.join()
        assert child.exitcode == 0
        assert store.commit([commit(1, step("a"))]) == []
        assert [each.key for each in store.steps("run")] == ["a"]

    @pytest.mark.parametrize("damage", [b"", b"nonsense", b"[1, 2]", b"\xff"])
    def test_a_record_that_is_not_ours_is_a_clear_error(
        self, server: Server, store: RedisBackend, damage: bytes
    ) -> None:
        store.create(run())
        store.commit([commit(1, step("a"))])
        with redis.Redis.from_url(server.url) as client:
            client.hset(store.keys.of("run", "steps"), "a", damage)
            with pytest.raises(StateError, match="cannot be read"):
                list(store.steps("run"))
            client.hset(store.keys.run("run"), "record", damage)
        with pytest.raises(StateError, match="record of run 'run' cannot be read"):
            store.find("run")

    def test_half_a_character_in_a_name_is_a_clear_error(self, store: RedisBackend) -> None:
        with pytest.raises(StateError, match="half a character"):
            store.create(run("\ud800"))


WRITER = """
import os, sys
from cascade.adapters.state.owner import this_process
from cascade.adapters.state.patient import PatientBackend
from cascade.adapters.state.redis import RedisBackend
from tests.adapters.state.runs import commit, run, step

store = PatientBackend(RedisBackend(sys.argv[1], "each"))
store.open()
store.create(run("run", this_process()))
store.create(run("other", this_process()))
for number in range(1, 1_000_000):
    value = b"%d" % number
    other = commit(number, step("big", value * 10_000), run_id="other")
    store.commit([commit(number, *(step(f"k{at}", value) for at in range(20)), step(f"n{number}")), other])
    os.write(1, b"%9d\\n" % number)
"""


def test_what_was_told_is_there_whole_wherever_server_and_writer_are_killed() -> None:
    """`kill -9` at any moment: of the server, which is started again under way, and in the end of the writer."""
    server = made()
    draw = random.Random(7)
    command = [sys.executable, "-c", WRITER, server.url]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=path) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline()]
            for _ in range(4):
                lines += [writer.stdout.readline() for _ in range(draw.randrange(1, 12))]
                time.sleep(draw.random() * 0.01)
                server.end(signal.SIGKILL)
                server.start()
            lines += [writer.stdout.readline() for _ in range(5)]
            writer.kill()
            lines += writer.stdout.readlines()
        told = max(int(line) for line in lines if line.endswith(b"\n"))
        store = RedisBackend(server.url, "each")
        store.open()
        steps = {each.key: each.value for each in store.steps("run")}
        (number,) = {steps[f"k{at}"] for at in range(20)}
        assert len(steps) - 20 == int(number) >= told > 4
        assert [each.value for each in store.steps("other")] == [number * 10_000]
        store.close()
    finally:
        server.remove()


def _see(store: RedisBackend) -> None:
    assert store.find("run") is not None


class TestRuns:
    """Whole runs, by the URL alone."""

    @pytest.mark.parametrize("durability", ["each", "group", "exit"])
    def test_a_run_goes_on_where_it_was(self, url: str, durability: Any) -> None:
        calls: list[str] = []
        fails = [1]

        @cs.task
        def first(x: int) -> int:
            calls.append("first")
            return x + 1

        @cs.task
        def second(x: int) -> int:
            calls.append("second")
            if fails:
                raise OSError("no")
            return x * 2

        target = second(first(cs.Param("x", type=int)))

        async def go() -> int:
            async with cs.Engine(state_backend=url, durability=durability) as engine:
                found: int = await engine.run(target, {"x": 20}, run_id="r")
                return found

        with pytest.raises(OSError, match="no"):
            asyncio.run(go())
        fails.clear()
        assert asyncio.run(go()) == 42
        assert asyncio.run(go()) == 42
        assert calls == ["first", "second", "second"]

    def test_pickles_are_signed(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CASCADE_SECRET", raising=False)
        assert backend_from(url, "it").may_pickle is False  # type: ignore[attr-defined]
