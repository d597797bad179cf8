"""Runs inside of tasks: they belong to the engine that runs the task, and end with it."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunFinished, RunStarted, TaskExecutionStarted
from tests.virtual import in_virtual_time
from tests.workflows import Tier, every_tier, in_loop, run, turns


class Peak:
    """How many are inside at once, at the most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def stay(self, _: Any = None) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        await turns(2)
        self.now -= 1
        return 1


def inner_task(peak: Peak) -> Any:
    @cs.task(name="inner")
    async def inner(n: int) -> int:
        return await peak.stay() + n

    return inner


WAYS = ["arun", "run in a thread", "arun in a thread", "engine.run"]
every_way = pytest.mark.parametrize("way", WAYS)


def outer_task(make: Any, way: str) -> Any:
    """A task that runs what `make` returns, in one of the ways."""
    if way == "arun":

        @cs.task(name="outer")
        async def outer_async(n: int) -> Any:
            return await cs.arun(make(n))

        return outer_async
    if way == "engine.run":

        @cs.task(name="outer")
        async def outer_engine(n: int) -> Any:
            return await cs.current_engine().run(make(n))

        return outer_engine

    @cs.task(name="outer", mode="blocking")
    def outer(n: int) -> Any:
        return cs.run(make(n)) if way == "run in a thread" else asyncio.run(cs.arun(make(n)))

    return outer


@every_way
@every_tier
def test_it_belongs_to_the_engine(way: str, tier: Tier) -> None:
    peak, bus = Peak(), MessageBus()
    told: list[Any] = []
    for kind in (RunStarted, RunFinished, TaskExecutionStarted):
        bus.subscribe(kind, told.append)

    async def main() -> Any:
        async with Engine(tier=tier, bus=bus) as engine:
            engine.set_limit("task:inner", concurrency=1)
            outer = outer_task(inner_task(peak), way)
            return await engine.run(outer.map(n=range(4)), run_id="whole")

    assert in_loop(main) == [1, 2, 3, 4]
    assert peak.most == 1
    ids = [event.run_id for event in told if isinstance(event, RunStarted)]
    assert ids[0] == "whole"
    assert len({*ids}) == 5
    assert told[-1].run_id == "whole"


@every_way
def test_it_shares_capacities_and_resources(way: str) -> None:
    peak = Peak()
    opened: list[str] = []

    @cs.resource(scope="engine")
    def shared() -> Iterator[int]:
        opened.append("engine")
        yield 1

    @cs.resource
    def given() -> Iterator[int]:
        opened.append("run")
        yield 10

    @cs.task
    async def inner(n: int, shared: int = cs.inject("shared"), given: int = cs.inject("given")) -> int:
        return await peak.stay() + n + shared + given

    async def main() -> Any:
        async with Engine(system_resources={"gpu": 2}) as engine:
            engine.register(shared)
            outer = outer_task(lambda n: inner(n).with_constraints(gpu=2), way)
            resources = [given]
            if way == "engine.run":
                engine.register(given)
            return await engine.run(outer.map(n=range(3)), resources=resources)

    assert in_loop(main) == [12, 13, 14]
    assert peak.most == 1
    assert opened.count("engine") == 1


def test_system_resources_make_an_engine_of_its_own() -> None:
    engines = []

    @cs.task
    async def inner() -> None:
        engines.append(cs.current_engine())

    @cs.task
    async def outer() -> None:
        engines.append(cs.current_engine())
        await cs.arun(inner())
        await cs.arun(inner(), system_resources={"gpu": 1})

    run(outer())
    assert engines[0] is engines[1]
    assert engines[2] is not engines[0]


def test_current_engine_is_that_of_the_task() -> None:
    found: list[Any] = []

    @cs.task
    async def here() -> None:
        found.append(cs.current_engine())

    @cs.task(mode="blocking")
    def there() -> None:
        found.append(cs.current_engine())

    @cs.task(mode="inline")
    def in_place() -> None:
        found.append(cs.current_engine())

    async def main() -> None:
        async with Engine() as engine, Engine() as other:
            await asyncio.gather(engine.run([here(), there(), in_place()]), other.run(here()))
            assert found.count(engine) == 3
            assert found.count(other) == 1
        with pytest.raises(RuntimeError, match="from outside of any task"):
            cs.current_engine()

    in_loop(main)


def test_what_outlives_its_run_is_in_no_engine() -> None:
    left: list[Any] = []
    go: list[asyncio.Event] = []

    async def later() -> None:
        await go[0].wait()
        with pytest.raises(RuntimeError, match="from outside of any task"):
            cs.current_engine()
        left.append(await cs.arun(cs.task(lambda: 1)()))

    @cs.task
    async def leaves() -> None:
        left.append(asyncio.create_task(later()))

    async def main() -> None:
        go.append(asyncio.Event())
        async with Engine() as engine:
            await engine.run(leaves())
        go[0].set()
        await left[0]

    in_loop(main)
    assert left[1] == 1


@pytest.mark.parametrize("mode", ["async", "inline"])
def test_run_on_the_thread_of_the_loop_says_what_to_write(mode: Any) -> None:
    target = cs.task(lambda: 1)()

    @cs.task(name="stuck", mode="inline")
    def in_place() -> int:
        return cs.run(target)

    @cs.task(name="stuck")
    async def on_the_loop() -> int:
        return cs.run(target)

    task: Any = on_the_loop if mode == "async" else in_place
    with pytest.raises(RuntimeError, match=r"task stuck#1 \(declared at .*await cs\.arun\(\.\.\.\)") as caught:
        run(task())
    assert caught.value.__notes__[0].startswith("in task stuck#1")


@every_way
@every_tier
def test_a_failure_has_the_notes_of_both(way: str, tier: Tier) -> None:
    @cs.task
    def bad(n: int) -> int:
        raise ValueError("inside")

    for _ in range(2):
        with pytest.raises(ValueError, match="inside") as caught:
            run(outer_task(bad, way)(1), tier=tier)
        first, second = caught.value.__notes__
        assert first.startswith("in task bad#1 ")
        assert second.startswith("in task outer#1 ")


def test_a_shared_error_keeps_the_notes_of_its_last_way() -> None:
    error = ValueError("one")

    @cs.task
    def bad(n: int) -> int:
        raise error

    for _ in range(3):
        for way in WAYS[:2]:
            with pytest.raises(ValueError, match="one"):
                run(outer_task(outer_task(bad, "arun"), way)(1))
            assert [note.split(" (")[0] for note in error.__notes__] == [
                "in task bad#1",
                "in task outer#1",
                "in task outer#1",
            ]


@every_way
@pytest.mark.parametrize("end", ["cancel", "timeout", "sibling", "attempt"])
def test_it_ends_with_what_it_is_inside_of(way: str, end: str) -> None:
    log: list[str] = []
    begun = threading.Event()

    @cs.task(name="waits")
    async def waits(n: int) -> None:
        log.append("+")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("-")

    @cs.task(mode="blocking")
    def fails() -> None:
        assert begun.wait(10)
        raise OSError("sibling")

    async def main() -> None:
        async with Engine() as engine:
            target: Any = outer_task(waits, way)(1)
            if end == "sibling":
                with pytest.raises(OSError, match="sibling"):
                    await engine.run([target, fails()])
            elif end == "cancel":
                going = engine.start(target)
                while not log:
                    await asyncio.sleep(0.001)
                going.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await going
            elif end == "timeout":
                with pytest.raises(TimeoutError):
                    await engine.run(target, timeout=0.05)
            else:
                with pytest.raises(TimeoutError):
                    await engine.run(target.with_timeout(0.05).with_retry(2))
            assert not engine._active
            most = 4 if end == "attempt" else 2
            assert log == ["+", "-", "+", "-"][: len(log)]  # on a busy machine time may be up before it has begun
            assert len(log) in (range(0, most + 1, 2) if end in ("attempt", "timeout") else [most])

    in_loop(main)


@every_tier
@pytest.mark.parametrize("shape", ["items", "loop", "two deep"])
def test_nothing_of_it_begins_once_what_it_is_inside_of_is_cancelled(shape: str, tier: Tier) -> None:
    begun: list[int] = []

    @cs.task
    async def item(x: int) -> None:
        begun.append(x)
        await asyncio.sleep(0)

    @cs.task
    async def again(n: int) -> Any:
        begun.append(n)
        await asyncio.sleep(0)
        return cs.TailCall([n + 1]) if n < 1000 else n

    @cs.task
    async def outer(x: int) -> Any:
        return await cs.arun(again(0) if shape == "loop" else item.map(x=range(1000), concurrency=1))

    @cs.task
    async def outermost(x: int) -> Any:
        return await cs.arun(outer(x))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for rounds in range(40):
                task = outermost if shape == "two deep" else outer
                going = engine.start(task.map(x=[1, 2, 3]))
                await turns(2 + rounds % 7)
                going.cancel()
                count = len(begun)
                await asyncio.gather(going, return_exceptions=True)
                assert len(begun) == count

    in_loop(main)


@every_tier
@pytest.mark.parametrize("way", ["arun", "run in a thread", "gather"])
@pytest.mark.parametrize("end", ["sibling", "sibling of an item", "sibling in a sub-flow", "attempt"])
def test_nothing_of_it_begins_once_what_it_is_inside_of_ends_alone(end: str, way: str, tier: Tier) -> None:
    """A cancel comes through maps, sub-flows and threads turn by turn; the run inside knows at once."""
    begun: list[int] = []
    known = [-1]

    @cs.task
    async def again(n: int) -> Any:
        begun.append(n)
        await asyncio.sleep(0)
        return cs.Jump("again", n + 1)

    def endless(n: int) -> Any:
        call = again(n)
        cs.bind(call, cs.select_jump({"again": call}))
        return call

    @cs.task
    async def gathers(n: int) -> Any:
        return await asyncio.gather(cs.arun(endless(n)), cs.arun(endless(n)))

    async def fail() -> None:
        while len(begun) < 20:
            await asyncio.sleep(0.001 if way == "run in a thread" else 0)
        known[0] = len(begun)
        raise OSError("a sibling")

    @cs.task
    async def fails(n: int) -> None:
        await fail()

    outer = gathers if way == "gather" else outer_task(endless, way)
    items: Any = outer.map(n=[1, 2])
    if end == "sibling of an item":

        @cs.task
        async def either(n: int) -> Any:
            return await (fail() if n else cs.arun(outer(1)))

        items = either.map(n=[0, 1])
    target = cs.subflow([items, fails(0)]) if end == "sibling in a sub-flow" else [items, fails(0)]
    if end == "attempt":
        target = [cs.subflow([items, fails(0)]).with_retry(2)]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            with pytest.raises(OSError, match="sibling"):
                await engine.run(target)
        assert len(begun) == known[0]

    in_loop(main)


def test_a_task_that_swallows_its_cancel_and_awaits_a_run_goes_on_when_that_was_ended() -> None:
    forever: list[asyncio.Event] = []

    @cs.task
    async def waits() -> None:
        await forever[0].wait()

    @cs.task
    async def stubborn() -> None:
        inner = asyncio.create_task(cs.arun(waits()))
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await inner

    async def main(_: Any) -> None:
        forever.append(asyncio.Event())
        async with Engine() as engine:
            run = engine.start(stubborn())
            await turns(3)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_virtual_time(main)


def test_a_run_that_nobody_waited_for_ends_with_the_run_around() -> None:
    log: list[str] = []

    @cs.task
    async def waits() -> None:
        log.append("+")
        try:
            await asyncio.Event().wait()
        finally:
            await turns(3)
            log.append("-")

    @cs.task
    async def outer() -> int:
        left.append(asyncio.create_task(cs.arun(waits())))
        await turns(5)
        return 1

    left: list[Any] = []

    async def main() -> None:
        async with Engine() as engine:
            assert await engine.run(outer()) == 1
            assert log == ["+", "-"]
            assert not engine._active
            with pytest.raises(asyncio.CancelledError):
                await left[0]

    in_loop(main)


def test_a_run_that_was_started_is_one_of_its_own() -> None:
    started: list[Any] = []

    async def main() -> None:
        done = asyncio.Event()

        @cs.task
        async def waits() -> int:
            await done.wait()
            return 2

        @cs.task
        async def outer() -> int:
            started.append(cs.current_engine().start(waits()))
            return 1

        async with Engine() as engine:
            assert await engine.run(outer()) == 1
            assert started[0].status == "Running"
            done.set()
            assert await started[0] == 2

    in_loop(main)


@pytest.mark.parametrize("mode", ["blocking", "compute"])
def test_threads_that_wait_for_each_other_have_enough(mode: Any) -> None:
    from cascade.adapters.executors.local import LocalExecutor

    @cs.task(mode=mode)
    def deep(n: int) -> Any:
        return 1 + cs.run(deep(n - 1)) if n else 0

    async def main() -> Any:
        executor = LocalExecutor(blocking_threads=2, compute_threads=2)
        async with Engine(executor=executor) as engine:
            return await engine.run(deep.map(n=[4] * 5))

    assert in_loop(main) == [4] * 5


def test_runs_deep_inside_of_each_other() -> None:
    @cs.task
    async def deep(n: int) -> Any:
        return 1 + await cs.arun(deep(n - 1)) if n else 0

    assert run(deep(30)) == 30


def test_a_report_tells_of_the_outermost_run(capsys: pytest.CaptureFixture[str]) -> None:
    @cs.task
    def inner() -> int:
        return 1

    @cs.task
    async def outer() -> Any:
        return await cs.arun(inner())

    assert cs.run(outer()) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(None, 1)[1].split(" in ")[0] for line in lines] == [
        "INFO    run of outer started",
        "INFO    run succeeded",
    ]
    cs.run(outer(), log_level="DEBUG")
    assert "run of inner started" in capsys.readouterr().err
