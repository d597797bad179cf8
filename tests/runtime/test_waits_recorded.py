"""Waits and messages: their ends and takings are recorded, so that a run that goes on waits what is left."""

import asyncio
import functools
import gc
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import cascade as cs
from cascade.errors import StateError
from cascade.spec import clocks

Test = Callable[..., Coroutine[Any, Any, None]]
later = timedelta(hours=2)


def awaited(test: Test) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture(params=["unrecorded", "memory", "sqlite"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> cs.Engine:
    """An engine that records runs, or does not."""
    if request.param == "unrecorded":
        return cs.Engine()
    return cs.Engine(state_backend="memory" if request.param == "memory" else tmp_path / "runs.db")


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the system's clock."""
    by = [0.0]

    class Clock:
        @staticmethod
        def time() -> float:
            return time.time() + by[0]

    monkeypatch.setattr(clocks, "time", Clock)
    monkeypatch.setattr(clocks, "LOOK", 0.005)

    def move(seconds: float) -> None:
        by[0] += seconds

    return move


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)


async def stopped(run: Any, engine: cs.Engine) -> None:
    """Have the run handed back, as at the end of a process."""
    await engine.aclose()
    with pytest.raises(asyncio.CancelledError):
        await run


async def steps(engine: cs.Engine, run_id: str, kind: str) -> list[Any]:
    return [step for step in await engine.history(run_id) if step.kind == kind]


async def begun(engine: cs.Engine, run_id: str, kind: str = "waits", count: int = 1) -> list[Any]:
    """Wait until so many waits are recorded."""
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.001)
            if run_id in {record.run_id for record in await engine.runs()}:
                found = await steps(engine, run_id, kind)
                if len(found) >= count:
                    return found


# --- time


@awaited
async def test_a_wait_goes_on_where_it_was(tmp_path: Path, moved: Callable[[float], None]) -> None:
    engine = cs.Engine(state_backend=tmp_path / "runs.db")
    run = engine.start(cs.wait(3600), run_id="long")
    (before,) = await begun(engine, "long")
    await stopped(run, engine)
    moved(1800)
    run = engine.start(cs.wait(3600), run_id="long")
    await asyncio.sleep(0.03)
    (after,) = await steps(engine, "long", "waits")
    assert after.ended == before.ended
    assert run.status == "Running"
    moved(1801)  # while it goes on
    await run
    await engine.aclose()


@awaited
async def test_a_wait_whose_time_is_over_takes_none(tmp_path: Path, moved: Callable[[float], None]) -> None:
    engine = cs.Engine(state_backend=tmp_path / "runs.db")
    ends = [cs.wait(7000), cs.wait(until=datetime.now(UTC) + later), cs.wait.map(seconds=[7000, 7100])]
    run = engine.start(ends, run_id="long")
    await begun(engine, "long", count=4)
    await stopped(run, engine)
    moved(7300)
    assert await engine.run(ends, run_id="long") == [None, None, [None, None]]
    await engine.aclose()


@awaited
async def test_each_entry_of_a_loop_waits_anew(moved: Callable[[float], None]) -> None:
    engine = cs.Engine(state_backend="memory")

    @cs.task
    def turn(waited: None, n: int = 0) -> Any:
        return cs.Jump("again", {"n": n + 1}) if n < 2 else cs.Jump("out", n)

    state = turn(cs.wait(1000))
    run = engine.start(cs.bind(state, cs.select_jump({"again": state, "out": None})), run_id="loop")
    ends: set[float] = set()
    for _ in range(3):
        while not (new := {step.ended for step in await begun(engine, "loop")} - ends):
            assert run.status == "Running"
        ends |= new
        moved(1001)
    assert await run == 2
    assert len(ends) == 3


@awaited
async def test_a_time_is_that_of_the_systems_clock(engine: cs.Engine, moved: Callable[[float], None]) -> None:
    run = engine.start(cs.wait(until=datetime.now(UTC) + later), run_id="clock")
    await asyncio.sleep(0.02)
    assert run.status == "Running"
    moved(7201)
    await run
    await engine.run([cs.wait(until=datetime.now(UTC) - later), cs.wait(0), cs.wait(0.001)])
    await engine.aclose()


@awaited
async def test_times_without_a_zone_are_refused() -> None:
    engine = cs.Engine()
    with pytest.raises(TypeError, match="time zone"):
        await engine.run(cs.wait(until=datetime(2030, 1, 1)))
    for wrong in (cs.wait(), cs.wait(1, until=datetime.now(UTC))):
        with pytest.raises(TypeError, match="either seconds"):
            await engine.run(wrong)


# --- messages


@dataclass
class Answer:
    yes: bool
    by: str = "nobody"


@awaited
async def test_a_message_is_given_converted(engine: cs.Engine) -> None:
    target = {
        "any": cs.wait_signal("any"),
        "bool": cs.wait_signal("bool", type=bool),
        "int": cs.wait_signal("int", type=int),
        "answer": cs.wait_signal("answer", type=Answer),
    }
    run = engine.start(target, run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    for name, value in {"any": [1], "bool": "yes", "int": "7", "answer": '{"yes": true}'}.items():
        await engine.signal("one", name, value)
    assert await run == {"any": [1], "bool": True, "int": 7, "answer": Answer(True)}
    await engine.aclose()


@awaited
async def test_messages_are_kept_and_taken_once_in_order(engine: cs.Engine) -> None:
    go = asyncio.Event()

    @cs.task
    async def first() -> str:
        await go.wait()
        return "x"

    one = cs.wait_signal(first())
    two = cs.wait_signal("x").after(one)
    run = engine.start([one, two, cs.wait_signal("x", timeout=60).after(two)], run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    for value, id in ((1, None), (2, "a"), (3, "a"), (4, "b")):
        await engine.signal("one", "x", value, id)
    await engine.signal("one", "y", 0)
    go.set()
    assert await run == [1, 2, 4]
    await engine.aclose()


@awaited
async def test_runs_that_are_unknown_or_over_take_none(engine: cs.Engine) -> None:
    with pytest.raises(StateError, match="nothing"):
        await engine.signal("nothing", "x")
    await engine.run(cs.wait(0), run_id="over")
    with pytest.raises(StateError, match="over"):
        await engine.signal("over", "x")
    for wrong in ("", 3):
        with pytest.raises(ValueError, match="name of a signal"):
            await engine.signal("one", wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="id of a signal"):
        await engine.signal("one", "x", id=3)  # type: ignore[arg-type]
    await engine.aclose()


@awaited
async def test_so_many_are_kept_and_no_more() -> None:
    engine = cs.Engine()
    run = engine.start(cs.wait_signal("never"), run_id="full")
    for number in range(10_000):
        await engine.signal("full", "x", number)
    with pytest.raises(StateError, match="10,000"):
        await engine.signal("full", "x")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@awaited
async def test_a_message_that_does_not_come(engine: cs.Engine) -> None:
    assert await engine.run(cs.wait_signal("x", timeout=0.01, default=None)) is None
    with pytest.raises(TimeoutError, match=r"no signal 'x' came within 0\.01 seconds") as caught:
        await engine.run(cs.wait_signal("x", timeout=0.01), run_id="late")
    assert "wait_signal#1" in "".join(caught.value.__notes__)
    await engine.aclose()


@awaited
async def test_what_cannot_be_read_is_told_and_the_next_one_counts(engine: cs.Engine) -> None:
    target = cs.wait_signal("n", type=int).with_retry(max_attempts=2, delay=0)
    run = engine.start(target, run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    await engine.signal("one", "n", "many")
    await engine.signal("one", "n", 5)
    assert await run == 5
    run = engine.start(cs.wait_signal("api_key", type=int), run_id="two")
    await until(lambda: engine._active["two"].run is not None)
    await engine.signal("two", "api_key", "hidden")
    with pytest.raises(cs.ParameterError) as caught:
        await run
    assert "hidden" not in str(caught.value)
    await engine.aclose()


@awaited
async def test_a_wait_that_is_cancelled_leaves_the_message(engine: cs.Engine) -> None:
    """Of two that wait the first is ended; what comes is the second's, and nothing is left behind."""
    short = cs.wait_signal("x").with_timeout(0.02)

    @cs.task
    async def instead(value: Any) -> Any:
        return value

    run = engine.start([short.with_retry(max_attempts=1), cs.wait_signal("x")], run_id="one")
    with pytest.raises(TimeoutError):
        await run
    run = engine.start(cs.wait_signal("x"), run_id="two")
    await until(lambda: engine._active["two"].run is not None)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await engine.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@awaited
async def test_a_message_is_sent_from_another_loop(engine: cs.Engine) -> None:
    run = engine.start(cs.wait_signal("x"), run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    await asyncio.to_thread(lambda: asyncio.run(engine.signal("one", "x", "there")))
    assert await run == "there"
    await engine.aclose()


@awaited
async def test_a_task_sends_one_to_its_own_run(engine: cs.Engine) -> None:
    @cs.task
    async def send() -> None:
        await cs.current_engine().signal(cs.current().run_id, "x", 1)

    assert await engine.run([cs.wait_signal("x"), send()]) == [1, None]
    await engine.aclose()


# --- over a restart


@awaited
async def test_messages_wait_for_the_run_to_go_on(tmp_path: Path) -> None:
    engine = cs.Engine(state_backend=tmp_path / "runs.db")
    target = [cs.wait_signal("a"), cs.wait_signal("b")]
    run = engine.start(target, run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    await engine.signal("one", "a", 1)
    await begun(engine, "one", "value")
    await stopped(run, engine)
    await engine.signal("one", "b", 2)
    await engine.signal("one", "a", 3)
    assert await engine.run(target, run_id="one") == [1, 2]
    await engine.aclose()


@awaited
async def test_a_step_that_goes_on_gets_the_message_that_it_took() -> None:
    """Taken, and not recorded as a value: it could not be read, which was mended since."""
    engine = cs.Engine(state_backend="memory")
    target = cs.wait_signal("x", type=read_later)
    run = engine.start(target, run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    taken.clear()
    await engine.signal("one", "x", "first")
    with pytest.raises(cs.ParameterError):
        await run
    assert await engine.run(target, run_id="one") == "first"
    assert taken == ["first", "first"]
    await engine.aclose()


taken: list[Any] = []


def read_later(value: Any) -> Any:
    taken.append(value)
    if len(taken) == 1:
        raise ValueError(value)
    return value


@awaited
async def test_a_taken_message_is_no_other_steps() -> None:
    engine = cs.Engine(state_backend="memory")
    store = engine.recorder.backend.backend
    target = [cs.wait_signal("x"), cs.wait_signal("x")]
    run = engine.start(target, run_id="one")
    await until(lambda: engine._active["one"].run is not None)
    await engine.signal("one", "x", 1)
    await begun(engine, "one", "value")
    await stopped(run, engine)
    # as if the value had not been committed any more: the message is
    (message,) = store.signals("one")
    assert message.taken_by
    kept = store._kept["one"]
    for key in [key for key, step in kept.steps.items() if step.kind == "value"]:
        del kept.steps[key]
    await engine.signal("one", "x", 2)
    assert sorted(await engine.run(target, run_id="one")) == [1, 2]
    assert len({each.taken_by for each in store.signals("one")}) == 2


@awaited
async def test_the_end_of_a_timeout_is_kept(tmp_path: Path, moved: Callable[[float], None]) -> None:
    engine = cs.Engine(state_backend=tmp_path / "runs.db")
    target = cs.wait_signal("x", timeout=3600, default="nobody")
    run = engine.start(target, run_id="one")
    await begun(engine, "one")
    await stopped(run, engine)
    moved(3601)
    assert await engine.run(target, run_id="one") == "nobody"
    run = engine.start(target, run_id="two")
    await begun(engine, "two")
    await stopped(run, engine)
    await engine.signal("two", "x", "first")  # committed before the timeout is
    moved(3601)
    assert await engine.run(target, run_id="two") == "first"
    await engine.aclose()


@awaited
async def test_a_timeout_that_failed_begins_anew(moved: Callable[[float], None]) -> None:
    engine = cs.Engine(state_backend="memory")
    target = cs.wait_signal("x", timeout=3600)
    run = engine.start(target, run_id="one")
    await begun(engine, "one")
    moved(3601)
    with pytest.raises(TimeoutError):
        await run
    run = engine.start(target, run_id="one")
    await begun(engine, "one")
    await engine.signal("one", "x", 1)
    assert await run == 1


@awaited
async def test_another_engine_sends(tmp_path: Path) -> None:
    """As another process does: it is seen by the thread that looks."""
    engine, other = (cs.Engine(state_backend=tmp_path / "runs.db") for _ in range(2))
    run = engine.start(cs.wait_signal("x"), run_id="one")
    await until(lambda: bool(engine.recorder.writer._watched))
    await other.signal("one", "x", 1)
    assert await run == 1
    assert not engine.recorder.writer._watched
    await other.aclose()
    await engine.aclose()


@awaited
async def test_many_runs_that_wait_are_small() -> None:
    engine = cs.Engine()
    import tracemalloc

    await engine.run(cs.wait_signal("x", timeout=0.001, default=None))
    gc.collect()
    tracemalloc.start()
    target = cs.wait_signal("x")
    runs = [engine.start(target, run_id=str(number)) for number in range(200)]
    await asyncio.sleep(0)
    await until(lambda: all(hasattr(engine._active[run.id], "mailbox") for run in runs))
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size / len(runs) < 20_000
    for run in runs:
        await engine.signal(run.id, "x", run.id)
    assert [await run for run in runs] == [run.id for run in runs]
