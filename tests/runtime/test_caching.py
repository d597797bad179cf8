"""Caches: what is kept is not called again, in memory and on disk, whatever goes wrong."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.caching import DiskStore, FileExistenceCache, MemoryStore
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunWarning, TaskEvent, TaskExecutionStarted, TaskSkipped
from cascade.runtime.policies import cache
from cascade.spec.caching import CacheEntry, CacheKey
from cascade.testing import SpySubscriber
from tests.workflows import Body, Tier, awaited, every_body, every_tier, in_loop, inline, run, turns


@dataclass
class Box:
    items: list[Any]


class Counted:
    """Counts the calls of a function made into a task."""

    def __init__(self, func: Callable[..., Any] = lambda x: x * 2, body: Any = inline) -> None:
        self.calls = 0

        def counted(x: Any = 0) -> Any:
            self.count()
            return func(x)

        self.task = body(counted)

    def count(self) -> None:
        self.calls += 1


@every_tier
@every_body
def test_a_second_call_is_not_made(body: Body, tier: Tier) -> None:
    counted = Counted(body=body)
    store = MemoryStore()
    for _ in range(2):
        assert run(counted.task(3).with_cache(cs.cached(store)), tier=tier) == 6
    assert counted.calls == 1


@every_tier
def test_the_memory_of_an_engine_is_its_own(tier: Tier) -> None:
    counted = Counted()

    async def main() -> None:
        for _ in range(2):
            async with Engine(tier=tier) as engine:
                for _ in range(3):
                    assert await engine.run(counted.task(3).with_cache(cs.cached())) == 6

    in_loop(main)
    assert counted.calls == 2


def test_a_run_says_that_what_it_kept_in_memory_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = Counted().task

    def told(target: Any) -> bool:
        cs.run(target, log_level="WARNING")
        return "CacheLost: 1 result(s) that cs.cached() kept in memory" in capsys.readouterr().err

    assert told(task(3).with_cache(cs.cached()))
    assert not told(task(3))
    assert not told([task(3).with_cache(cs.cached()), task(3).with_cache(cs.cached())])  # one is a hit
    assert not told(task(3).with_cache(cs.cached(tmp_path)))
    assert not told(task(3).with_cache(cs.cached(MemoryStore())))


def test_a_task_has_a_cache_for_all_its_calls_unless_a_node_says_otherwise() -> None:
    calls: list[int] = []
    store = MemoryStore()

    @cs.task(cache=cs.cached(store))
    def f(x: int) -> int:
        calls.append(x)
        return x

    run(f(1))
    run(f(1))
    assert calls == [1]
    run(f(1).with_cache(None))
    assert calls == [1, 1]
    run(f(1).with_cache(cs.cached(store, version=2)))
    assert calls == [1, 1, 1]


def test_an_engine_can_be_given_its_memory(tmp_path: Path) -> None:
    counted = Counted()
    for backend in (MemoryStore(), str(tmp_path)):
        for _ in range(2):
            run(counted.task(3).with_cache(cs.cached()), cache_backend=backend)
    assert counted.calls == 2
    with pytest.raises(TypeError, match="cache_backend"):
        Engine(cache_backend={})


@every_tier
def test_a_hit_is_a_skip_and_no_attempt(tier: Tier) -> None:
    store = MemoryStore()
    counted = Counted()
    node = counted.task(1).with_cache(cs.cached(store)).with_retry(3)
    run(node, tier=tier)
    bus = MessageBus()
    spy = SpySubscriber(bus)
    assert run(node, tier=tier, bus=bus) == 2
    (event,) = spy.events_of_type(TaskEvent)
    assert isinstance(event, TaskSkipped)
    assert (event.reason, event.task_id) == ("CacheHit", "counted#1")


@every_tier
def test_readers_and_followers_of_a_hit_run(tier: Tier) -> None:
    store = MemoryStore()
    counted = Counted()
    for _ in range(2):
        node = counted.task(1).with_cache(cs.cached(store))
        assert run([inline(lambda x: x + 1)(node), inline(lambda: 5)().after(node)], tier=tier) == [3, 5]
    assert counted.calls == 1


@every_tier
def test_a_node_whose_condition_is_false_is_not_looked_up(tier: Tier) -> None:
    class Refusing:
        async def check(self, node: Any, inputs: Any) -> Any:
            raise AssertionError

        async def save(self, node: Any, inputs: Any, value: Any) -> None: ...

    node = Counted().task(1).with_cache(Refusing()).run_if(False, otherwise="off")
    assert run(node, tier=tier) == "off"


@every_tier
def test_a_failure_is_not_kept_and_is_retried_inside(tier: Tier) -> None:
    attempts: list[int] = []

    def shaky(x: int) -> int:
        attempts.append(x)
        if len(attempts) < 3:
            raise ConnectionError
        return x

    node = inline(shaky)(1).with_cache(cs.cached(MemoryStore()))
    with pytest.raises(ConnectionError):
        run(node, tier=tier)
    node.with_retry(2)
    assert run(node, tier=tier) == run(node, tier=tier) == 1
    assert len(attempts) == 3


@every_tier
@pytest.mark.parametrize("on_disk", [False, True])
def test_none_is_a_value(tier: Tier, on_disk: bool, tmp_path: Path) -> None:
    counted = Counted(lambda x: None)
    store = str(tmp_path) if on_disk else MemoryStore()
    for _ in range(2):
        assert run(counted.task(1).with_cache(cs.cached(store)), tier=tier) is None
    assert counted.calls == 1


@every_tier
def test_each_item_of_a_map_has_its_key(tier: Tier) -> None:
    counted = Counted(body=awaited)
    store = MemoryStore()
    assert run(counted.task.map(x=[1, 2, 1, 3]).with_cache(cs.cached(store)), tier=tier) == [2, 4, 2, 6]
    assert counted.calls == 3
    assert run(counted.task.map(x=[3, 4]).with_cache(cs.cached(store)), tier=tier) == [6, 8]
    assert counted.calls == 4


@every_tier
def test_each_entry_of_a_loop_has_its_key_and_a_kept_jump_is_followed(tier: Tier) -> None:
    calls: list[int] = []

    def step(n: int) -> Any:
        calls.append(n)
        return cs.Jump("again", n - 1) if n else cs.Jump("exit", "done")

    store = MemoryStore()
    for start, seen in ((3, 4), (3, 4), (5, 6)):
        first = inline(step)(start).with_cache(cs.cached(store))
        cs.bind(first, cs.select_jump({"again": first, "exit": None}))
        assert run(first, tier=tier) == "done"
        assert len(calls) == seen


@every_tier
def test_a_kept_tail_call_is_followed(tier: Tier, tmp_path: Path) -> None:
    calls: list[int] = []

    def count(n: int) -> Any:
        calls.append(n)
        return cs.TailCall([n - 1]) if n else "done"

    for _ in range(2):
        assert run(inline(count)(3).with_cache(cs.cached(tmp_path)), tier=tier) == "done"
    assert calls == [3, 2, 1, 0]


@every_tier
def test_a_lazy_result_is_not_kept(tier: Tier) -> None:
    store = MemoryStore()
    inner = Counted()
    with pytest.raises(cs.StaticGraphError, match="returned"):
        run(inline(lambda: inner.task(1))().with_cache(cs.cached(store)), tier=tier)
    assert len(store) == 0


@every_tier
def test_a_neighbour_is_called_as_ever(tier: Tier) -> None:
    counted, neighbour = Counted(), Counted()
    store = MemoryStore()
    for _ in range(2):
        assert run(neighbour.task(counted.task(1).with_cache(cs.cached(store))), tier=tier) == 4
    assert (counted.calls, neighbour.calls) == (1, 2)


@every_tier
def test_a_method_keeps_by_its_object(tier: Tier) -> None:
    calls: list[int] = []

    class Service:
        def __init__(self, rate: int) -> None:
            self.rate = rate

        @cs.task
        def scale(self, x: int) -> int:
            calls.append(x)
            return x * self.rate

    store = MemoryStore()
    results = [run(Service(k).scale(2).with_cache(cs.cached(store)), tier=tier) for k in (2, 2, 3)]
    assert results == [4, 4, 6]
    assert len(calls) == 2


def test_pure_calls_with_unlike_caches_are_two_nodes() -> None:
    calls: list[int] = []

    @cs.task(pure=True, mode="inline")
    def f(x: int) -> int:
        calls.append(x)
        return x

    run([f(1).with_cache(cs.cached()), f(1).with_cache(cs.cached()), f(1)])
    assert calls == [1, 1]


# --- equal keys at once


@every_tier
def test_equal_keys_in_flight_run_once(tier: Tier) -> None:
    calls: list[int] = []
    released = asyncio.Event()

    @cs.task
    async def slow(x: int) -> int:
        calls.append(x)
        await released.wait()
        return x

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            runs = [engine.start(slow.map(x=[1] * 50).with_cache(cs.cached())) for _ in range(2)]
            await turns()
            released.set()
            assert [await each for each in runs] == [[1] * 50] * 2

    in_loop(main)
    assert calls == [1]


@every_tier
def test_if_the_first_fails_the_next_makes_a_call_of_its_own(tier: Tier) -> None:
    calls: list[int] = []

    @cs.task
    async def shaky(x: int) -> int:
        calls.append(x)
        await turns()
        if len(calls) < 3:
            raise ConnectionError(str(len(calls)))
        return x

    async def main() -> list[Any]:
        async with Engine(tier=tier) as engine:
            runs = [engine.start(shaky(1).with_cache(cs.cached())) for _ in range(6)]
            return await asyncio.gather(*runs, return_exceptions=True)

    results = in_loop(main)
    assert [str(each) for each in results if isinstance(each, ConnectionError)] == ["1", "2"]
    assert [each for each in results if not isinstance(each, ConnectionError)] == [1] * 4
    assert len(calls) == 3


@every_tier
def test_one_that_is_cancelled_hands_on_what_it_was_to_do(tier: Tier) -> None:
    calls: list[int] = []
    released = asyncio.Event()

    @cs.task
    async def slow(x: int) -> int:
        calls.append(x)
        await released.wait()
        return x

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            runs = [engine.start(slow(1).with_cache(cs.cached())) for _ in range(4)]
            await turns()
            runs[0].cancel()
            runs[1].cancel()
            await turns()
            released.set()
            assert [await runs[2], await runs[3]] == [1, 1]
            assert engine.caches.flights == {}

    in_loop(main)
    assert len(calls) == 2


# --- values


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_a_reader_does_to_its_value_harms_nobody(on_disk: bool, tmp_path: Path) -> None:
    counted = Counted(lambda x: {"list": [x]})
    store = str(tmp_path) if on_disk else MemoryStore()
    for _ in range(3):
        value = run(counted.task(1).with_cache(cs.cached(store)))
        assert value == {"list": [1]}
        value["list"].append("spoilt")
    assert counted.calls == 1


def test_what_cannot_be_copied_is_shared_in_memory() -> None:
    lock = threading.Lock()
    node = Counted(lambda x: lock).task(1).with_cache(cs.cached(MemoryStore()))
    assert run(node) is run(node) is lock


def test_memory_lets_go_of_what_was_not_used_for_longest() -> None:
    counted = Counted()
    store = MemoryStore(max_entries=2)
    for x in (1, 2, 1, 3, 1, 2):
        run(counted.task(x).with_cache(cs.cached(store)))
    assert counted.calls == 4
    assert len(store) == 2


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_result_older_than_its_ttl_is_made_anew(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(cache, "clock", lambda: now)
    counted = Counted()
    store = str(tmp_path) if on_disk else MemoryStore()
    seen = []
    for now in (1000.0, 1009.5, 1010.0, 1011.0, 1020.0):  # noqa: B007
        run(counted.task(1).with_cache(cs.cached(store, ttl=10)))
        seen.append(counted.calls)
    assert seen == [1, 1, 2, 2, 3]
    run(counted.task(1).with_cache(cs.cached(store)))
    assert counted.calls == 3


# --- on disk


VALUES = [
    *(None, True, 1, -(2**70), 1.5, -0.0, 1e308, "", "é\ud800\n", [1, [2.0, None]], {"b": 1, "a": [True]}),
    *((1, 2), {1: 2}, {1, 2}, b"\0", float("inf"), 10**5000, Box([1]), [(1,)], {"a": {1}}, Path("a")),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_from_disk_as_it_was(value: Any, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "cache")
    key = CacheKey("m:f", "d" * 40, dict)
    store.save(key, CacheEntry(value, 1.0, {"p": "q"}))
    entry = store.load(key)
    assert isinstance(entry, CacheEntry)
    assert entry.value == value
    assert not isinstance(value, float) or repr(entry.value) == repr(value)
    assert type(entry.value) is type(value)
    assert (entry.saved, entry.parts) == (1.0, {"p": "q"})


def test_plain_values_are_json_and_others_are_pickles(tmp_path: Path) -> None:
    for value, kind in (({"a": [1]}, ".json"), ((1,), ".pickle"), ({"b": 1}, ".json")):
        run(Counted(lambda x, value=value: value).task(0).with_cache(cs.cached(tmp_path, version=str(value))))
        newest = max(
            (path for path in tmp_path.rglob("*.*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns
        )
        assert newest.suffix == kind
        if kind == ".json":
            assert json.loads(newest.read_text(encoding="utf-8"))["value"] == value


def test_a_value_that_holds_one_thing_twice_comes_back_so(tmp_path: Path) -> None:
    def make(x: int) -> list[list[int]]:
        inner = [x]
        return [inner, inner]

    for _ in range(2):
        value = run(Counted(make).task(0).with_cache(cs.cached(tmp_path)))
        assert value[0] is value[1]


def test_a_value_that_does_not_pickle_is_an_error_that_names_the_task(tmp_path: Path) -> None:
    with pytest.raises(cs.CacheError, match=r"task 'counted' .* a lock cannot be kept on disk") as caught:
        run(Counted(lambda x: threading.Lock()).task(0).with_cache(cs.cached(tmp_path)))
    assert "attempt 1" in caught.value.__notes__[0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@every_tier
@pytest.mark.parametrize("value", [[1, 2, 3], (1, 2, 3)], ids=["json", "pickle"])
@pytest.mark.parametrize("harm", ["empty", "truncated", "flipped", "rubbish", "another"])
def test_a_corrupt_entry_is_made_anew_with_a_warning(value: Any, harm: str, tier: Tier, tmp_path: Path) -> None:
    counted = Counted(lambda x: value)
    node = counted.task(1).with_cache(cs.cached(tmp_path))
    run(node, tier=tier)
    (entry,) = entries(tmp_path)
    data = entry.read_bytes()
    flipped = data.replace(b"2", b"7") if isinstance(value, list) else data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    entry.write_bytes(
        {
            "empty": b"",
            "truncated": data[: len(data) - 5],
            "flipped": flipped,
            "rubbish": os.urandom(300),
            "another": b'{"cascade_cache": 99}\n',
        }[harm]
    )
    bus = MessageBus()
    spy = SpySubscriber(bus)
    assert run(node, tier=tier, bus=bus) == value
    (warning,) = spy.events_of_type(RunWarning)
    assert warning.code == "CacheCorrupt"
    assert "counted#1" in warning.message
    assert counted.calls == 2
    assert run(node, tier=tier, bus=bus) == value
    assert counted.calls == 2
    assert len(spy.events_of_type(RunWarning)) == 1


ran: list[str] = []


class Bomb:
    def __reduce__(self) -> Any:
        return explode, ("boom",)


def explode(word: str) -> None:
    ran.append(word)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owners here")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_a_pickle_is_not_read_from_a_folder_that_others_can_write_to(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    counted = Counted(lambda x: Bomb())
    node = counted.task(1).with_cache(cs.cached(folder))
    run(node)
    (entry,) = entries(folder)
    ran.clear()
    for path in (folder, entry.parent, entry):
        usual = path.stat().st_mode
        path.chmod(mode)
        with pytest.raises(cs.CacheError, match=r"others can write to .*chmod go-w"):
            run(node)
        path.chmod(usual)
    assert ran == []
    run(node)
    assert ran == ["boom"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="folders have no owners here")
def test_plain_values_need_no_private_folder_and_others_are_not_written_there(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    counted = Counted()
    for _ in range(2):
        assert run(counted.task(1).with_cache(cs.cached(tmp_path))) == 2
    assert counted.calls == 1
    with pytest.raises(cs.CacheError, match="others can write"):
        run(Counted(lambda x: (x,)).task(1).with_cache(cs.cached(tmp_path)))
    assert [path.suffix for path in entries(tmp_path)] == [".json"]


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    run(Counted().task(1).with_cache(cs.cached(tmp_path / "a" / "b")))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o022 == 0


def test_a_folder_that_is_a_file_is_an_error_that_names_the_task(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder", encoding="utf-8")
    with pytest.raises(cs.CacheError, match=r"task 'counted' .*cache folder .*cannot be"):
        run(Counted().task(1).with_cache(cs.cached(tmp_path / "cache")))


def test_two_engines_share_a_folder(tmp_path: Path) -> None:
    counted = Counted(lambda x: (x,), body=awaited)

    async def main() -> None:
        async with Engine() as one, Engine() as two:
            for engine in (one, two, one):
                assert await engine.run(counted.task(1).with_cache(cs.cached(tmp_path))) == (1,)

    in_loop(main)
    assert counted.calls == 1


def test_writers_at_once_do_no_harm(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    key = CacheKey("m:f", "d" * 40, dict)
    failures: list[Any] = []

    def work(size: int) -> None:
        for _ in range(30):
            store.save(key, CacheEntry([size] * size * 50, 1.0, {}))
            entry = store.load(key)
            if not isinstance(entry, CacheEntry) or len(set(entry.value)) != 1:
                failures.append(entry)

    threads = [threading.Thread(target=work, args=(size,)) for size in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(entries(tmp_path)) == 1


WRITER = """
import sys, cascade as cs
@cs.task
def f(x):
    return (x, "x" * 10_000)
for _ in range(5):
    got = cs.run(f.map(x=range(20)).with_cache(cs.cached(sys.argv[1])), log_level="WARNING")
    assert got == [(x, "x" * 10_000) for x in range(20)]
"""


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    assert [each.communicate(timeout=50)[1] for each in both] == [b"", b""]
    assert [each.returncode for each in both] == [0, 0]
    assert len(entries(tmp_path)) == 20


def test_keys_do_not_depend_on_the_process(tmp_path: Path) -> None:
    code = (
        "import sys, cascade as cs\n"
        "@cs.task\ndef f(x, y=frozenset('abc')):\n    print('called')\n    return x in {'a', 'b', 'c'}\n"
        "cs.run(f({'k', 'l', 'm'}).with_cache(cs.cached(sys.argv[1])), log_level='WARNING')\n"
    )
    shown = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout
        for seed in ("1", "2")
    ]
    assert shown == ["called\n", ""]


# --- policies of third parties


class Recorder:
    def __init__(self, fails: str = "", error: Exception | None = None) -> None:
        self.kept: dict[Any, Any] = {}
        self.asked: list[Any] = []
        self.fails, self.error = fails, error

    async def check(self, node: Any, inputs: dict[str, Any]) -> Any:
        self.asked.append((node.id, node.name, inputs))
        if self.fails == "check":
            assert self.error is not None
            raise self.error
        await asyncio.sleep(0)
        return self.kept.get(tuple(inputs.items()))

    async def save(self, node: Any, inputs: dict[str, Any], value: Any) -> None:
        if self.fails == "save":
            assert self.error is not None
            raise self.error
        self.kept[tuple(inputs.items())] = cs.Value(value)


@every_tier
@pytest.mark.parametrize("value", [None, 0, "x"])
def test_a_policy_of_a_third_party(value: Any, tier: Tier) -> None:
    policy = Recorder()
    counted = Counted(lambda x: value)
    for _ in range(2):
        assert run(counted.task(1).with_cache(policy), tier=tier) is value
    assert counted.calls == 1
    assert policy.asked == [("counted#1", "counted", {"x": 1})] * 2
    run(counted.task.map(x=[1, 2]).with_cache(policy), tier=tier)
    assert counted.calls == 2


@every_tier
@pytest.mark.parametrize("fails", ["check", "save"])
@pytest.mark.parametrize(
    "error", [OSError("no"), StopIteration("no"), KeyError("no")], ids=lambda value: type(value).__name__
)
def test_a_policy_that_raises_is_an_error_that_names_the_task(fails: str, error: Exception, tier: Tier) -> None:
    counted = Counted()
    with pytest.raises(cs.CacheError, match=rf"cache of task 'counted' .* failed to {fails}: ") as caught:
        run(counted.task(1).with_cache(Recorder(fails, error)), tier=tier)
    assert caught.value.__cause__ is not None
    assert counted.calls == (fails == "save")


def test_a_policy_that_is_not_async_is_an_error_that_says_so() -> None:
    class Plain:
        def check(self, node: Any, inputs: Any) -> Any: ...
        def save(self, node: Any, inputs: Any, value: Any) -> Any: ...

    with pytest.raises(cs.CacheError, match="write `async def check`"):
        run(Counted().task(1).with_cache(Plain()))


@pytest.mark.parametrize(
    "policy", ["folder", Path("folder"), True, cs.cached, Recorder, object(), 3], ids=lambda value: type(value).__name__
)
def test_what_is_no_policy_is_refused_at_once(policy: Any) -> None:
    with pytest.raises(TypeError, match=r"with_cache takes what cs\.cached returns"):
        Counted().task(1).with_cache(policy)
    with pytest.raises(TypeError, match=r"@cs.task\(cache=...\) takes what cs.cached returns"):
        cs.task(cache=policy)


def test_a_store_of_a_third_party_may_be_async_and_may_fail() -> None:
    class Store:
        kept: Any = None

        async def load(self, key: Any) -> Any:
            await asyncio.sleep(0)
            return self.kept

        async def save(self, key: Any, entry: Any) -> None:
            self.kept = entry

    counted, store = Counted(), Store()
    for _ in range(2):
        assert run(counted.task(2).with_cache(cs.cached(store))) == 4
    assert counted.calls == 1
    store.kept = "rubbish"
    with pytest.raises(
        cs.CacheError, match=r"task 'counted' .* failed to read: TypeError: Store\.load returned 'rubbish'"
    ):
        run(counted.task(2).with_cache(cs.cached(store)))


@every_tier
def test_a_file_that_is_there_is_the_value(tier: Tier, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    counted = Counted(lambda x: path.write_text("made", encoding="utf-8") and "fresh")
    for policy, result in ((FileExistenceCache(path), path), (FileExistenceCache(str(path)), str(path))):
        node = counted.task(1).with_cache(policy)
        path.unlink(missing_ok=True)
        assert [run(node, tier=tier), run(node, tier=tier)] == ["fresh", result]
    assert counted.calls == 2


@every_tier
def test_the_file_may_be_told_by_the_arguments(tier: Tier, tmp_path: Path) -> None:
    def write(name: str, *rest: str, ending: str = "txt") -> str:
        (tmp_path / f"{name}.{ending}").write_text("fresh")
        return "fresh"

    named = FileExistenceCache(lambda name, ending: tmp_path / f"{name}.{ending}")
    placed = FileExistenceCache(lambda name, *rest, ending: str(tmp_path / f"{name}.{ending}"))
    whole = FileExistenceCache(lambda inputs: tmp_path / f"{inputs['name']}.{inputs['ending']}")
    task = inline(write)
    for policy, args in ((named, ["a"]), (placed, ["b", "more"]), (whole, ["c", "more"])):
        nodes = [task(*args).with_cache(policy), task(*args, ending="csv").with_cache(policy)]
        assert run(nodes, tier=tier) == ["fresh", "fresh"]
        assert [str(path)[-5:] for path in run(nodes, tier=tier)] == [f"{args[0]}.txt", f"{args[0]}.csv"]
    assert [str(path)[-5:] for path in run(task.map(name=["a", "b"]).with_cache(named), tier=tier)] == [
        "a.txt",
        "b.txt",
    ]


@pytest.mark.parametrize("function", [lambda other: "a", lambda name: 5, lambda name: 1 / 0])
def test_a_function_that_gives_no_path_is_an_error_that_names_the_task(function: Any) -> None:
    with pytest.raises(cs.CacheError, match="the cache of task '<lambda>'"):
        run(inline(lambda name: name)("a").with_cache(FileExistenceCache(function)))
    with pytest.raises(TypeError, match="FileExistenceCache takes the path of a file, or a function"):
        FileExistenceCache(5)  # type: ignore[arg-type]


def test_a_relative_path_is_that_of_the_directory_where_it_was_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.chdir(tmp_path)
    policy = cs.cached("kept")
    (tmp_path / "elsewhere").mkdir()
    for folder in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(folder)
        assert run(counted.task(3).with_cache(policy)) == 6
    assert counted.calls == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere", "kept"]


# --- explanations


def test_explain_cache_says_hit_or_what_changed(tmp_path: Path) -> None:
    counted = Counted()
    policy = cs.cached(tmp_path)
    (row,) = cs.explain_cache(counted.task(1).with_cache(policy))
    assert (row.task_id, row.status, row.changed) == ("counted#1", "miss", ())
    assert "nothing is kept" in row.reason
    run(counted.task(1).with_cache(policy))
    (row,) = cs.explain_cache(counted.task(1).with_cache(policy))
    assert row.status == "hit"
    (row,) = cs.explain_cache(counted.task(2).with_cache(policy))
    assert (row.status, row.changed) == ("miss", ("argument 'x'",))
    (row,) = cs.explain_cache(counted.task(1).with_cache(cs.cached(tmp_path, version=2)))
    assert row.changed == ("version",)
    assert counted.calls == 1
    assert "counted#1" in str(cs.explain_cache(counted.task(2).with_cache(policy)))


def test_explain_cache_of_nodes_that_feed_each_other() -> None:
    counted, plain = Counted(), Counted()
    policy = cs.cached()

    async def main() -> None:
        async with Engine() as engine:
            first = counted.task(cs.Param("n", 1)).with_cache(policy)
            mapped = counted.task.map(x=[first, 9]).with_cache(policy)
            last = counted.task(plain.task(1)).with_cache(policy)
            off = counted.task(3).with_cache(policy).run_if(False, otherwise=0)
            await engine.run([counted.task(1).with_cache(policy), counted.task(2).with_cache(policy)])
            rows = cs.explain_cache([first, mapped, last, off], engine=engine)
            found = sorted((row.status, row.reason.split(" ")[0]) for row in rows)
            assert found == [
                ("hit", "kept"),
                ("hit", "kept"),
                ("miss", "argument"),
                ("skipped", "its"),
                ("unknown", "it"),
            ]
            assert [row.status for row in cs.explain_cache(first, {"n": 7}, engine=engine)] == ["miss"]

    asyncio.run(main())
    assert plain.calls == 0
    assert cs.explain_cache(5) == ()


def test_no_event_of_a_start_for_hits() -> None:
    store = MemoryStore()
    node = Counted().task.map(x=[1, 2]).with_cache(cs.cached(store))
    run(node)
    bus = MessageBus()
    spy = SpySubscriber(bus)
    run(node, bus=bus)
    assert spy.events_of_type(TaskExecutionStarted) == []
    assert [event.task_id for event in spy.events_of_type(TaskSkipped)] == ["counted#1[0]", "counted#1[1]"]


# --- a bound for what is on disk


def test_a_folder_with_a_bound_lets_go_of_what_was_not_used_for_longest(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, max_bytes=10_000)
    clock = itertools.count(1_000_000_000)

    def put(n: int) -> None:
        key = CacheKey("app:f", f"{n:040x}", dict)
        store.save(key, CacheEntry("x" * 1000, 0.0, {}, key.digest))
        os.utime(next(tmp_path.glob(f"*/{key.digest}.json")), (next(clock),) * 2)

    def has(n: int) -> bool:
        return store.load(CacheKey("app:f", f"{n:040x}", dict)) is not None

    other = tmp_path / "notes.txt"
    other.write_text("x" * 50_000)
    for n in range(7):
        put(n)
    assert has(0)  # used, so it is younger than all others now
    beside = next(tmp_path.glob("app*")) / "mine.json"
    beside.write_text("{}")
    for n in range(7, 20):
        put(n)
    left = [n for n in range(20) if has(n)]
    assert 0 in left
    assert left[1:] == [*range(20 - len(left) + 1, 20)]
    assert sum(path.stat().st_size for path in tmp_path.glob("app*/*")) <= 10_000 + 2
    assert other.exists()
    assert beside.exists()


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "1 MB"])
def test_a_bound_is_a_number_of_bytes(most: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_bytes of 1 or more"):
        DiskStore(tmp_path, max_bytes=most)


def test_a_result_larger_than_the_bound_is_given_all_the_same(tmp_path: Path) -> None:
    policy = cs.cached(DiskStore(tmp_path, max_bytes=100))
    large = cs.task(lambda: "x" * 1000)
    for _ in range(2):
        assert run(large().with_cache(policy)) == "x" * 1000
    assert not [*tmp_path.glob("*/*.json")]
