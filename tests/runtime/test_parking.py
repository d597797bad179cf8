"""Runs that only wait give up their process, and come back by time, by a message, and on any engine."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.state import MemoryBackend, SqliteBackend
from cascade.errors import StateError
from cascade.runtime.inspect import parking
from cascade.spec.events import RunFinished, RunParked, RunStarted
from cascade.spec.state import StateBackend

Test = Callable[..., Coroutine[Any, Any, None]]
calls: list[Any] = []
failing: list[str] = []


def awaited(test: Test) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    failing.clear()
    monkeypatch.setattr(parking, "LOOK", 0.01)
    monkeypatch.setattr(parking, "SOON", 0.001)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateBackend]:
    made: StateBackend = MemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "runs.db")
    made.open()
    yield made
    made.close()


@cs.task
def note(word: Any, *others: Any) -> Any:
    calls.append(word)
    return word


@cs.task
async def work(seconds: float) -> str:
    calls.append("work")
    await asyncio.sleep(seconds)
    return "worked"


@cs.task(mode="blocking")
def block(seconds: float) -> str:
    time.sleep(seconds)
    return "blocked"


@cs.task
def fail() -> str:
    calls.append("fail")
    if failing:
        raise OSError("no line")
    return "fine"


async def parked(engine: cs.Engine, target: Any, park: Any = 1, **options: Any) -> cs.Parked:
    engine.register_blueprint("it", target)
    async with asyncio.timeout(20):
        value = await engine.run(engine.blueprints["it"], run_id="run", park=park, **options)
    assert type(value) is cs.Parked
    return value


def found(store: StateBackend) -> Any:
    record = store.find("run")
    assert record is not None
    return record


@awaited
async def test_a_run_that_only_waits_is_let_go_of_and_goes_on_elsewhere(store: StateBackend) -> None:
    target = note(cs.sequence([note("before"), cs.wait(3600)]))
    async with cs.Engine(state_backend=store) as engine:
        events: list[Any] = []
        engine.bus.subscribe(RunFinished, events.append)
        before = time.time()
        value = await parked(engine, target)
        assert value.until is not None
        assert value.until.tzinfo is UTC
        assert 3590 < value.until.timestamp() - before < 3620
        assert value.signals == ()
        (event,) = events
        assert type(event) is RunParked
        assert (event.status, event.until, event.signals) == ("Parked", value.until.timestamp(), ())
    record = found(store)
    assert (record.status, record.owner, record.error, record.target) == ("Parked", None, "", "it")
    assert record.due == pytest.approx(value.until.timestamp())
    assert calls == ["before"]
    async with cs.Engine(state_backend=store) as engine:  # whoever starts it goes on with it
        again = await parked(engine, target)
        assert again.until == pytest.approx(value.until, abs=timedelta(seconds=0.01))
    assert calls == ["before"], "what is recorded is not run again"


@awaited
async def test_started_and_parked(store: StateBackend) -> None:
    async with cs.Engine(state_backend=store) as engine:
        engine.register_blueprint("it", cs.wait(3600))
        run = engine.start(engine.blueprints["it"], park=1)
        assert type(await run) is cs.Parked
        assert run.status == "Parked"


@awaited
async def test_a_message_makes_it_due_and_one_that_was_there_before_is_taken(store: StateBackend) -> None:
    target = note(cs.wait_signal("go"))
    async with cs.Engine(state_backend=store) as engine:
        assert await parked(engine, target, park=0.01) == (None, ("go",))
        assert found(store).due == float("inf")
        await engine.signal("run", "go", 17)
        assert (found(store).due, found(store).status) == (0.0, "Parked")
        assert await engine.run(engine.blueprints["it"], run_id="run", park=0.01) == 17
    assert calls == [17]


@awaited
async def test_a_message_that_comes_while_it_is_parked_is_not_overlooked(store: StateBackend) -> None:
    """Between the decision and the commit: it has not been seen, or was handed out and put back."""

    class Late(type(store)):  # type: ignore[misc]
        """Sends a message right before the commit that parks."""

        def commit(self, commits: Any) -> Any:
            if any(each.status == "Parked" for each in commits) and not calls:
                calls.append("sent")
                store.send("run", "go", b"null", None)
            return store.commit(commits)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    late = Late.__new__(Late)
    for name in dir(StateBackend):
        if not name.startswith("_") and name != "commit":
            setattr(late, name, getattr(store, name))
    async with cs.Engine(state_backend=late) as engine:
        await parked(engine, cs.wait_signal("go"), park=0.01)
    assert found(store).due == 0.0


@awaited
async def test_the_first_of_several_waits_counts_and_a_timeout_of_a_signal_is_one(store: StateBackend) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    waits = [cs.wait(7000), cs.wait(until=soon), cs.wait.map(seconds=[8000, 9000]), cs.wait_signal("b", timeout=9000)]
    inner = cs.subflow(note(cs.wait_signal("a", timeout=9000)))
    async with cs.Engine(state_backend=store) as engine:
        value = await parked(engine, [*waits, inner], park=0.05)
    assert value.until is not None
    assert abs(value.until - soon) < timedelta(seconds=0.001)
    assert value.signals == ("a", "b")


@awaited
async def test_a_run_that_does_something_else_stays(store: StateBackend) -> None:
    for busy in (work(0.2), block(0.2), cs.subflow(work(0.2)), work.map(seconds=[0.1, 0.2])):
        async with cs.Engine(state_backend=store) as engine:
            began = asyncio.get_running_loop().time()
            await parked(engine, [cs.wait(3600), note("seen", busy)])
            assert asyncio.get_running_loop().time() - began >= 0.19
            assert calls[-1] == "seen"
        store.forget("run")


@awaited
async def test_a_wait_under_a_timeout_is_waited_for(store: StateBackend) -> None:
    for target in (cs.wait(3600).with_timeout(0.1), cs.subflow(cs.wait(3600)).with_timeout(0.1)):
        async with cs.Engine(state_backend=store) as engine:
            with pytest.raises(TimeoutError, match=r"its timeout of 0.1 s"):
                await parked(engine, target, park=0.01)
        store.forget("run")


@awaited
async def test_what_ends_soon_is_waited_for(store: StateBackend) -> None:
    async with cs.Engine(state_backend=store) as engine:
        engine.register_blueprint("it", note(cs.wait(0.1)))
        assert await engine.run(engine.blueprints["it"], park=True) is None


@awaited
async def test_the_delay_of_a_retry_is_a_wait_and_no_attempt_is_lost(store: StateBackend) -> None:
    target = fail().with_retry(max_attempts=2, delay=3600)
    failing.append("x")
    async with cs.Engine(state_backend=store) as engine:
        value = await parked(engine, target)
        assert value.until is not None
        assert 3500 < (value.until - datetime.now(UTC)).total_seconds() <= 3600
    assert calls == ["fail"]
    waiting = cs.subflow(note(cs.wait_signal("go"))).with_retry(max_attempts=2)
    store.forget("run")
    async with cs.Engine(state_backend=store) as engine:
        for _ in range(4):
            await parked(engine, waiting, park=0.01)
        counts = [step.attempt for step in await engine.history("run") if step.kind == "begun"]
        assert max(counts) <= 1, "to be parked is not to have failed"


@awaited
async def test_in_a_loop_each_entry_may_be_parked(store: StateBackend) -> None:
    @cs.task
    def count(n: int, word: str) -> cs.Jump:
        calls.append(word)
        return cs.Jump("again", {"n": n + 1}) if n < 2 else cs.Jump("out", n)

    state = count(0, cs.wait_signal("next"))
    target = cs.bind(state, cs.select_jump({"again": state, "out": None}))
    async with cs.Engine(state_backend=store) as engine:
        for word in "ab":
            assert (await parked(engine, target, park=0.01)).signals == ("next",)
            await engine.signal("run", "next", word)
        await parked(engine, target, park=0.01)
        await engine.signal("run", "next", "c")
        assert await engine.run(engine.blueprints["it"], run_id="run", park=0.01) == 2
    assert calls == ["a", "b", "c"]


@awaited
async def test_resources_are_torn_down_and_set_up_again(store: StateBackend) -> None:
    @cs.resource
    def thing() -> Iterator[str]:
        calls.append("up")
        try:
            yield "thing"
        finally:
            calls.append("down")

    @cs.task
    def use(word: Any, it: str = cs.inject(thing)) -> str:
        calls.append(it)
        return it

    async with cs.Engine(state_backend=store) as engine:
        await parked(engine, use(cs.sequence([use(1), cs.wait_signal("go")])), park=0.01)
        assert calls == ["up", "thing", "down"]
        await engine.signal("run", "go")
        assert await engine.run(engine.blueprints["it"], run_id="run") == "thing"
        assert calls == ["up", "thing", "down"] * 2


@awaited
async def test_hooks_are_not_told_and_the_timeout_of_a_run_does_not_go_on(store: StateBackend) -> None:
    async with cs.Engine(state_backend=store) as engine:
        started: list[Any] = []
        engine.bus.subscribe(RunStarted, started.append)
        hook = calls.append
        await parked(engine, cs.wait_signal("go"), park=0.01, on_failure=hook, on_success=hook, timeout=30)
        await engine.signal("run", "go", "x")
        assert await engine.run(engine.blueprints["it"], run_id="run", timeout=30) == "x"
        assert [event.resumed for event in started] == [False, True]
    assert calls == []


@awaited
async def test_it_can_be_cancelled_before_and_started_again_after(store: StateBackend) -> None:
    async with cs.Engine(state_backend=store) as engine:
        engine.register_blueprint("it", cs.wait_signal("go"))
        begun = asyncio.Event()
        engine.bus.subscribe(RunStarted, lambda event: begun.set())
        run = engine.start(engine.blueprints["it"], run_id="run", park=1000)
        await begun.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert found(store).status == "Cancelled"
        assert type(await engine.run(engine.blueprints["it"], run_id="run", park=0.01)) is cs.Parked


class TestRefused:
    @awaited
    async def test_without_a_name(self, store: StateBackend) -> None:
        async with cs.Engine(state_backend=store) as engine:
            with pytest.raises(StateError, match="has no name"):
                engine.start(note(1), park=True)
            target = note(cs.wait_signal("go"))
            run = engine.start(target, run_id="run")
            while store.find("run") is None:
                await asyncio.sleep(0.005)
            run.cancel()
            await asyncio.wait({run._task})
            with pytest.raises(StateError, match="was begun without park="):
                await parked(engine, target)

    @awaited
    async def test_without_a_store(self) -> None:
        async with cs.Engine() as engine:
            with pytest.raises(StateError, match="park= is for runs that are recorded"):
                await engine.run(note(1), park=True)

    @pytest.mark.parametrize(("park", "kind"), [("5", TypeError), (-1, ValueError), (float("nan"), ValueError)])
    @awaited
    async def test_what_is_no_time(self, park: Any, kind: type[Exception], store: StateBackend) -> None:
        async with cs.Engine(state_backend=store) as engine:
            with pytest.raises(kind, match="park= is True, or"):
                await engine.run(note(1), park=park)


flow = note(cs.wait_signal("go"))


def test_cs_run_parks_what_has_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: Any = {"state_backend": tmp_path / "runs.db", "run_id": "run", "park": 0.01}
    assert cs.run(flow, **options) == cs.Parked(None, ("go",))
    assert "run parked after" in capsys.readouterr().err
