"""Policies of a sub-flow as a whole: retries, timeouts, caches, constraints; on every tier."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.caching import FileExistenceCache, MemoryStore
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import (
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.testing import SpySubscriber
from tests.workflows import Tier, Way, every_tier, every_watched_way, every_way, in_loop, notes_of, run, turns


class Calls(list[Any]):
    """What was called, and tasks that note it."""

    def __init__(self) -> None:
        super().__init__()

        @cs.task(mode="inline")
        def first(x: int) -> int:
            self.append(f"first {x}")
            return x + 1

        @cs.task
        async def second(x: int, failures: int = 0) -> int:
            self.append("second")
            await asyncio.sleep(0)
            if self.count("second") <= failures:
                raise ConnectionError(f"no {self.count('second')}")
            return x * 10

        self.first = first
        self.second = second

    def flow(self, failures: int = 0) -> Any:
        x = cs.Param("x", type=int)
        return cs.subflow(self.second(self.first(x), failures), params={"x": self.first(0)})


# --- retry


@every_way
def test_all_of_it_runs_again(way: Way) -> None:
    calls = Calls()
    assert way.run(calls.first(calls.flow(2).with_retry(3))) == 21
    assert calls == ["first 0", *["first 1", "second"] * 3, "first 20"]


@every_watched_way
def test_each_attempt_has_nodes_of_its_own_in_events(way: Way) -> None:
    calls = Calls()
    assert way.run(calls.flow(1).with_retry(3)) == 20
    assert way.started() == [("first#1", 0), ("first#2", 0), ("second#1", 0), ("first#2~2", 0), ("second#1~2", 0)]
    (again,) = [event for event in way.events if isinstance(event, TaskRetrying)]
    assert (again.task_id, again.attempt, again.max_attempts) == ("subflow#1", 1, 3)
    assert again.error == "ConnectionError: no 1"


@every_tier
def test_the_last_failure_comes_out_and_names_the_sub_flow(tier: Tier) -> None:
    calls = Calls()
    with pytest.raises(ConnectionError, match="no 2") as caught:
        run(calls.flow(9).with_retry(2, on=OSError), tier=tier)
    assert [note.partition(" (")[0] for note in notes_of(caught.value)] == [
        "in task second#1~2",
        "in the sub-flow subflow#1",
    ]
    assert "attempt 2" in notes_of(caught.value)[1]
    calls.clear()
    with pytest.raises(ConnectionError, match="no 1"):
        run(calls.flow(9).with_retry(5, give_up=ConnectionError), tier=tier)
    assert calls.count("second") == 1


@every_tier
def test_each_entry_of_a_loop_has_its_own_attempts(tier: Tier) -> None:
    failed: list[int] = []

    @cs.task
    def shaky(n: int) -> int:
        if n not in failed:
            failed.append(n)
            raise OSError(n)
        return n

    @cs.task
    def step(n: int, again: int) -> Any:
        return cs.Jump("again", n - 1) if n else again

    n = cs.Param("n", default=0)
    flow = cs.subflow(shaky(n)).with_retry(2)
    loop = step(3, flow)
    cs.bind(loop, cs.select_jump({"again": loop, "exit": None}))
    assert run(loop, tier=tier) == 0
    assert failed == [0]


def test_a_cancel_is_no_attempt_to_be_made_again() -> None:
    begun = 0

    @cs.task
    async def wait() -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    async def main() -> None:
        async with Engine() as engine:
            running = engine.start(cs.subflow(wait()).with_retry(5))
            while not begun:
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    in_loop(main)
    assert begun == 1


# --- timeout


@every_tier
def test_a_timeout_is_for_all_that_it_does(tier: Tier) -> None:
    ended: list[int] = []

    @cs.task
    async def wait(n: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(n)

    flow = cs.subflow([wait(1), wait(2)]).with_timeout(0.01)
    with pytest.raises(
        TimeoutError, match=r"subflow#1 \(declared at .* took longer than its timeout of 0.01 s"
    ) as caught:
        run(flow, tier=tier)
    assert sorted(ended) == [1, 2]
    assert notes_of(caught.value)[0].startswith("in task subflow#1 (declared at")


@every_tier
def test_each_attempt_has_the_whole_time(tier: Tier) -> None:
    tries: list[int] = []

    @cs.task
    async def slow_at_first() -> int:
        tries.append(1)
        if len(tries) < 3:
            await asyncio.Event().wait()
        return len(tries)

    assert run(cs.subflow(slow_at_first()).with_timeout(0.01).with_retry(3, on=TimeoutError), tier=tier) == 3


def test_a_cancel_of_the_run_wins_over_its_timeout() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stubborn() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(50):
                    await asyncio.sleep(0)

        async with Engine() as engine:
            running = engine.start(cs.subflow(stubborn()).with_timeout(0.005))
            await begun.wait()
            await asyncio.sleep(0.005)
            running.cancel()
            with pytest.raises((asyncio.CancelledError, TimeoutError)):
                await running
            assert await engine.run(cs.task(abs)(-1)) == 1

    in_loop(main)


def test_a_failure_inside_is_its_own() -> None:
    calls = Calls()
    with pytest.raises(ConnectionError, match="no 1"):
        run(calls.flow(1).with_timeout(30))


# --- constraints


class Room:
    """Counts how many calls are in at once; they wait for each other until so many are, or could have come."""

    def __init__(self, expected: int) -> None:
        self.now = self.most = 0
        self.expected = expected

    async def stay(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await turns(5)
        for _ in range(500):
            if self.most >= self.expected:
                break
            await asyncio.sleep(0)
        self.now -= 1


@every_tier
def test_it_holds_its_share_from_beginning_to_end(tier: Tier) -> None:
    flows, inner = Room(2), Room(8)

    @cs.task
    async def enter() -> None:
        flows.now += 1
        flows.most = max(flows.most, flows.now)

    @cs.task
    async def stay() -> None:
        await inner.stay()

    @cs.task
    async def leave(*waited: Any) -> None:
        flows.now -= 1

    def flow() -> Any:
        entered = enter()
        return cs.subflow(leave(*[stay().after(entered) for _ in range(4)])).with_constraints(gpu=1)

    run([flow() for _ in range(6)], tier=tier, system_resources={"gpu": 2})
    assert flows.most == 2
    assert inner.most == 8


@every_tier
def test_what_is_inside_shares_what_it_holds(tier: Tier) -> None:
    rooms = [Room(2), Room(2)]

    @cs.task
    async def stay(at: int) -> None:
        await rooms[at].stay()

    def flow(at: int) -> Any:
        return cs.subflow([stay(at).with_constraints(gpu=1) for _ in range(6)]).with_constraints(gpu=2)

    run([flow(0), flow(1)], tier=tier, system_resources={"gpu": 4})
    assert [room.most for room in rooms] == [2, 2]


@every_tier
def test_sub_flows_that_hold_all_there_is_do_not_wait_for_each_other(tier: Tier) -> None:
    room = Room(2)

    @cs.task
    async def stay(x: Any = None) -> None:
        await room.stay()

    def flow() -> Any:
        inside = cs.subflow(stay.map(x=[1, 2, 3]).with_constraints(gpu=1)).with_constraints(gpu=1)
        return cs.subflow(stay(inside).with_constraints(gpu=1)).with_constraints(gpu=1)

    run([flow() for _ in range(5)], tier=tier, system_resources={"gpu": 2})
    assert room.most == 2


def test_those_inside_come_before_those_who_wait_for_what_it_holds() -> None:
    order: list[str] = []

    async def main() -> None:
        door = asyncio.Event()

        @cs.task(name="x")
        async def x(who: str) -> None:
            order.append(who)

        @cs.task
        async def first() -> None:
            order.append("first")
            await door.wait()

        async with Engine(system_resources={"gpu": 1}) as engine:
            engine.set_limit("task:x", concurrency=1)
            began = first()
            inner = engine.start(cs.subflow(x("inside").after(began)).with_constraints(gpu=1))
            while not order:
                await asyncio.sleep(0)
            # it waits for the gpu, and the only place under the limit is spoken for on its behalf
            outside = engine.start(x("outside").with_constraints(gpu=1))
            await turns()
            door.set()
            await inner
            await outside

    in_loop(main)
    assert order == ["first", "inside", "outside"]


def test_its_calls_count_under_limits_and_it_does_not() -> None:
    calls = Calls()

    async def main() -> None:
        async with Engine(system_resources={"gpu": 1}) as engine:
            engine.set_limit("global", concurrency=1)
            engine.set_limit("task:*", concurrency=1)
            assert await engine.run(calls.flow().with_constraints(gpu=1)) == 20

    in_loop(main)


@pytest.mark.parametrize(
    ("inside", "outside", "says"),
    [
        ({"gpu": 2}, {"gpu": 1}, "needs gpu=2, but the sub-flow around it holds only gpu=1"),
        ({"gpu": 1, "memory": 1}, {"gpu": 1}, "needs memory=1, but the sub-flow around it holds no memory"),
        ({"gpu": 1}, {"gpu": 9}, "subflow .*needs gpu=9, but the engine has 4"),
    ],
)
def test_more_inside_than_it_holds_is_an_error_before_anything_runs(inside: Any, outside: Any, says: str) -> None:
    calls = Calls()
    flow = cs.subflow(calls.first(1).with_constraints(**inside)).with_constraints(**outside)
    with pytest.raises(cs.ConstraintError, match=says):
        run([calls.first(2), flow], system_resources={"gpu": 4, "memory": 4})
    assert calls == []


@every_tier
def test_amounts_may_be_lazy(tier: Tier) -> None:
    calls = Calls()
    two = calls.first(1)
    assert run(calls.flow().with_constraints(gpu=two), tier=tier, system_resources={"gpu": 2}) == 20
    with pytest.raises(cs.ConstraintError, match=r"subflow .*needs gpu=2, but the engine has 1"):
        run(calls.flow().with_constraints(gpu=two), tier=tier, system_resources={"gpu": 1})
    hungry = cs.subflow(calls.first(1).with_constraints(gpu=3)).with_constraints(gpu=two)
    with pytest.raises(cs.ConstraintError, match="needs gpu=3, but the sub-flow around it holds only gpu=2"):
        run(hungry, tier=tier, system_resources={"gpu": 8})
    lazy = cs.subflow(calls.first(1).with_constraints(gpu=calls.first(2))).with_constraints(gpu=two)
    with pytest.raises(cs.ConstraintError, match="needs gpu=3, but the sub-flow around it holds only gpu=2"):
        run(lazy, tier=tier, system_resources={"gpu": 8})


def test_it_gives_back_what_it_held_and_holds_nothing_between_attempts() -> None:
    calls = Calls()

    async def main() -> None:
        async with Engine(system_resources={"gpu": 1}) as engine:
            spy = SpySubscriber(engine.bus)
            with pytest.raises(ConnectionError):
                await engine.run(calls.flow(9).with_constraints(gpu=1).with_retry(2))
            flow = cs.subflow(calls.second(1, 99)).with_constraints(gpu=1).with_retry(100, delay=100)
            waiting = engine.start(flow)
            while len(spy.events_of_type(TaskRetrying)) < 2:
                await asyncio.sleep(0)
            assert await engine.run(calls.first(1).with_constraints(gpu=1)) == 2
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert engine.admission.capacities.free == {"gpu": 1}
            assert engine.admission.capacities.whole == {"gpu": 1}

    in_loop(main)


def test_waiting_for_them_is_told_of() -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    calls = Calls()
    run([calls.flow().with_constraints(gpu=1) for _ in range(2)], bus=bus, system_resources={"gpu": 1})
    (blocked,) = spy.events_of_type(TaskBlocked)
    assert (blocked.task_id, blocked.reason) == ("subflow#2", "waits for gpu=1")


# --- cache


def doubling(x: int, made: list[int]) -> Any:
    """Make a sub-flow that doubles and adds one, and notes that it does."""

    @cs.task
    def double(v: int) -> int:
        made.append(v)
        return 2 * v

    @cs.task
    async def more(v: int) -> int:
        made.append(v)
        return v + 1

    return cs.subflow(more(double(cs.Param("x", type=int))), params={"x": x})


@every_way
def test_nothing_of_it_runs_for_a_hit(way: Way) -> None:
    made: list[int] = []
    store = MemoryStore()
    for _ in range(2):
        assert way.run(doubling(5, made).with_cache(cs.cached(store))) == 11
    assert made == [5, 10]
    if way.watched:
        assert ("subflow#1", 0, "CacheHit") in way.skipped()


def test_its_parameters_literals_and_code_count() -> None:
    made: list[int] = []
    store = MemoryStore()

    def flow(x: int, y: int, tail: Any) -> Any:
        @cs.task
        def add(a: int, b: int) -> int:
            made.append(1)
            return a + b

        return cs.subflow(tail(add(cs.Param("x", default=0), y)), params={"x": x}).with_cache(cs.cached(store))

    double, triple = cs.task(lambda v: 2 * v), cs.task(lambda v: 3 * v)
    assert [run(flow(*given)) for given in [(1, 1, double), (1, 1, double), (2, 1, double)]] == [4, 4, 6]
    assert len(made) == 2
    assert run(flow(1, 2, double)) == 6
    assert run(flow(1, 1, triple)) == 6
    assert len(made) == 4
    assert run(flow(1, 1, triple)) == 6
    assert len(made) == 4


def test_how_it_is_put_together_counts() -> None:
    store = MemoryStore()
    one, two = cs.task(name="one")(lambda: 1), cs.task(name="two")(lambda: 2)
    minus = cs.task(lambda a, b: a - b)
    policy = cs.cached(store)
    assert run(cs.subflow(minus(one(), two())).with_cache(policy)) == -1
    assert run(cs.subflow(minus(two(), one())).with_cache(policy)) == 1
    assert run(cs.subflow(minus(b=one(), a=two()).run_if(False, otherwise=7)).with_cache(policy)) == 7
    assert run(cs.subflow([one(), two()]).with_cache(policy)) == [1, 2]
    assert run(cs.subflow((one(), two())).with_cache(policy)) == (1, 2)
    inner = cs.subflow(minus(one(), cs.Param("b", default=5)))
    assert run(cs.subflow(inner).with_cache(policy)) == -4
    inner = cs.subflow(minus(one(), cs.Param("b", default=6)))
    assert run(cs.subflow(inner).with_cache(policy)) == -5


def test_variables_of_the_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    flow = cs.subflow(cs.task(str.upper)(cs.Env("CASCADE_TESTED"))).with_cache(cs.cached(store))
    for value in ("a", "b", "a"):
        monkeypatch.setenv("CASCADE_TESTED", value)
        assert run(flow) == value.upper()
    assert len(store) == 2


def test_a_literal_that_cannot_be_keyed_is_named() -> None:
    import threading

    flow = cs.subflow(cs.task(id)(threading.Lock())).with_cache(cs.cached())
    with pytest.raises(cs.CacheError, match=r"the cache of task 'subflow' .* cannot key a literal value in it"):
        run(flow)


def test_a_failure_is_not_kept_and_neither_is_a_target_that_was_skipped() -> None:
    calls, store = Calls(), MemoryStore()
    flow = calls.flow(1).with_cache(cs.cached(store))
    with pytest.raises(ConnectionError):
        run(flow)
    assert run(flow) == 20
    assert len(store) == 1
    skipped = cs.subflow(calls.first(1).run_if(False, otherwise=5)).with_cache(cs.cached(store))
    assert run(skipped) == 5
    assert len(store) == 1
    nothing = cs.subflow(cs.sequence([calls.first(1).run_if(False)])).with_cache(cs.cached(store))
    assert run([nothing]) == [None]


def test_policies_of_third_parties_and_explanations(tmp_path: Path) -> None:
    path = tmp_path / "made.txt"

    @cs.task
    def write() -> Path:
        path.write_text("made")
        return path

    flow = cs.subflow(write()).with_cache(FileExistenceCache(path))
    assert run(flow) == path
    path.write_text("kept")
    assert run(flow) == path
    assert path.read_text() == "kept"

    policy = cs.cached(tmp_path / "cache")
    assert run(doubling(1, []).with_cache(policy)) == 3
    (row,) = cs.explain_cache(doubling(1, []).with_cache(policy))
    assert (row.task_id, row.status) == ("subflow#1", "hit")
    (row,) = cs.explain_cache(doubling(2, []).with_cache(policy))
    assert (row.status, row.changed) == ("miss", ("argument 'x'",))


def test_what_policies_publish_is_all_there_is_of_it_in_events() -> None:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    calls = Calls()
    run(calls.flow(1).with_retry(2).with_timeout(30).with_constraints(gpu=1).with_cache(cs.cached()), bus=bus)
    own = [event for event in spy.events_of_type(TaskEvent) if event.task_name == "subflow"]
    assert [type(event) for event in own] == [TaskRetrying]
    kinds = {type(event) for event in spy.events_of_type(TaskEvent)}
    assert kinds == {TaskExecutionStarted, TaskExecutionFinished, TaskRetrying}
    assert not spy.events_of_type(TaskSkipped)
