"""Timeouts: of each attempt of a call, and of a whole run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import (
    RunFinished,
    RunWarning,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
)
from cascade.testing import SpySubscriber
from tests.clock import advance, in_still_loop, still_loop
from tests.runtime.places import PLACES, Scene
from tests.workflows import Tier, every_tier, in_loop, notes_of, run, turns

HOUR = 3600.0
THREADS = ["blocking", "compute", "auto"]
every_thread = pytest.mark.parametrize("mode", THREADS)


class Stays:
    """A task that stays where it is once it has begun: async, or, with a mode, in a thread until `release` is set."""

    def __init__(self, mode: Any = None) -> None:
        self.begun = 0
        self.ended: list[str] = []
        self.release = threading.Event()
        self.task = cs.task(name="stays")(self.wait) if mode is None else cs.task(name="stays", mode=mode)(self.block)

    async def wait(self, x: Any = None) -> Any:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await turns(3)
            self.ended.append("cancelled")
            raise

    def block(self, x: Any = None) -> Any:
        self.begun += 1
        self.release.wait(50)
        self.ended.append("released")
        return x

    async def until_begun(self, count: int = 1) -> None:
        while self.begun < count:
            await asyncio.sleep(0)
        await turns()  # a thread tells the loop that it has begun


async def until(condition: Any) -> None:
    """Wait until something is so, while threads go on."""
    while not condition():
        await asyncio.sleep(0)


def status_of(run: Any) -> str:
    """Return a run's status as the checker does not know it from before."""
    status: str = run.status
    return status


# --- calls


@every_tier
def test_a_call_that_takes_too_long_is_a_timeout_error_that_names_the_task(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine(tier=tier) as engine:
            run = engine.start(stays.task(1).with_timeout(HOUR))
            await stays.until_begun()
            await advance(HOUR - 1)
            assert run.status == "Running"
            await advance(1)
            with pytest.raises(
                TimeoutError, match=r"^stays#1 \(declared at .*test_timeout.py:\d+\) took longer"
            ) as caught:
                await run
            assert str(caught.value).endswith("took longer than its timeout of 3600 s")
            (note,) = notes_of(caught.value)
            assert note.startswith("in task stays#1 (declared at ")
            assert note.endswith("iteration 0, attempt 1")
            assert caught.value.__cause__ is None
            assert status_of(run) == "Failed"
        assert stays.ended == ["cancelled"]

    in_still_loop(main)


@every_tier
def test_a_call_in_time_gives_its_value(tier: Tier) -> None:
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            tasks = [cs.task(double)]
            tasks += [cs.task(mode=mode, timeout=HOUR)(lambda x: x * 2) for mode in ("inline", "blocking", "auto")]
            chained: Any = 1
            for task in tasks:
                chained = task(chained).with_timeout(HOUR)
            assert await engine.run([chained, [task.map(x=range(5)).with_timeout(HOUR) for task in tasks]]) == [
                16,
                [[0, 2, 4, 6, 8]] * 4,
            ]

    in_still_loop(main)


@every_tier
def test_it_is_a_failure_under_one_started_and_one_finished_event(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stays.task().with_timeout(2))
            await stays.until_begun()
            await advance(2)
            with pytest.raises(TimeoutError):
                await run
        assert [type(event) for event in spy.events_of_type(TaskEvent)] == [TaskExecutionStarted, TaskExecutionFinished]
        (finished,) = spy.events_of_type(TaskExecutionFinished)
        assert finished.status == "Failed"
        assert (finished.error or "").endswith("took longer than its timeout of 2 s")
        (end,) = spy.events_of_type(RunFinished)
        assert (end.status, end.error) == ("Failed", finished.error)

    in_still_loop(main)


@every_thread
@every_tier
def test_a_thread_is_waited_for_up_to_the_grace(mode: str, tier: Tier) -> None:
    """The clock stands still meanwhile, so the grace does not end."""

    async def main() -> None:
        stays = Stays(mode)
        async with Engine(tier=tier, thread_grace=HOUR) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stays.task().with_timeout(1))
            await stays.until_begun()
            await until(lambda: bool(timers()))
            await advance(1)
            assert run.status == "Running"
            stays.release.set()
            with pytest.raises(TimeoutError, match="stays#1"):
                await run
            assert stays.ended == ["released"]
            assert spy.events_of_type(RunWarning) == []

    in_still_loop(main)


def timers() -> list[Any]:
    """Return the timers that the loop has."""
    return [each for each in still_loop()._scheduled if not each.cancelled()]  # type: ignore[attr-defined]


@every_thread
@every_tier
def test_a_thread_that_outlives_the_grace_is_named_and_left_behind(mode: str, tier: Tier) -> None:
    async def main() -> None:
        stays = Stays(mode)
        torn_down = asyncio.Event()

        @cs.resource
        async def thing() -> AsyncIterator[str]:
            try:
                yield "thing"
            finally:
                torn_down.set()

        async with Engine(tier=tier, thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stays.task(cs.inject(thing)).with_timeout(1))
            await stays.until_begun()
            await until(lambda: bool(timers()))
            await advance(1)
            with pytest.raises(TimeoutError, match="stays#1"):
                await run
            (warning,) = spy.events_of_type(RunWarning)
            assert warning.code == "ThreadAbandoned"
            assert "stays#1 (declared at " in warning.message
            assert not torn_down.is_set()
            stays.release.set()
            await torn_down.wait()
            assert stays.ended == ["released"]

    in_still_loop(main)


@every_tier
def test_the_clock_of_a_thread_starts_when_a_worker_takes_the_call_up(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays("blocking")
        executor = LocalExecutor(blocking_threads=1)
        async with Engine(tier=tier, executor=executor, thread_grace=HOUR) as engine:
            first = engine.start(stays.task("first"))
            await stays.until_begun()
            second = engine.start(cs.task(mode="blocking")(lambda: "second")().with_timeout(1))
            await turns()
            await advance(HOUR)
            assert second.status == "Running"
            stays.release.set()
            assert [await first, await second] == ["first", "second"]

    in_still_loop(main)


@every_tier
def test_waiting_for_constraints_does_not_count(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            blocked = asyncio.Event()
            engine.bus.subscribe(TaskBlocked, lambda event: blocked.set())
            first = engine.start(stays.task().with_constraints(seat=1))
            await stays.until_begun()
            second = engine.start(stays.task().with_constraints(seat=1).with_timeout(1))
            await blocked.wait()
            await advance(HOUR)
            assert second.status == "Running"
            first.cancel()
            await stays.until_begun(2)
            await advance(1)
            with pytest.raises(TimeoutError):
                await second
            with pytest.raises(asyncio.CancelledError):
                await first

    in_still_loop(main)


@every_tier
def test_a_call_on_the_loops_thread_is_found_out_when_it_has_ended(tier: Tier) -> None:
    async def main() -> None:
        @cs.task(mode="inline", timeout=2)
        def slow(seconds: float) -> float:
            still_loop().now += seconds
            return seconds

        async with Engine(tier=tier) as engine:
            assert await engine.run(slow(1)) == 1
            with pytest.raises(TimeoutError, match=r"slow#1 .*timeout of 2 s"):
                await engine.run(slow(2))
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)

    in_still_loop(main)


@every_tier
def test_an_auto_function_with_a_timeout_is_never_called_on_the_loops_thread(tier: Tier) -> None:
    """There it could not be left."""
    where: list[str] = []

    @cs.task
    def note(n: int) -> int:
        where.append(threading.current_thread().name)
        return n

    run(note.map(n=range(50)), tier=tier)
    where.clear()
    assert run([note(n).with_timeout(HOUR) for n in range(20)], tier=tier) == list(range(20))
    assert set(where) == {"cascade-blocking"}


@every_tier
def test_each_attempt_has_the_whole_time(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stays.task().with_timeout(10).with_retry(3, on=TimeoutError, delay=100))
            for attempt in (1, 2, 3):
                await stays.until_begun(attempt)
                await advance(9)
                assert len(spy.events_of_type(TaskRetrying)) == attempt - 1
                await advance(1)
                await advance(100)  # the delay, which does not count either
            with pytest.raises(TimeoutError) as caught:
                await run
            assert notes_of(caught.value)[0].endswith("attempt 3")
            errors = [event.error for event in spy.events_of_type(TaskRetrying)]
            assert len(errors) == 2
            assert all(error is not None and error.startswith("TimeoutError: stays#1") for error in errors)
        assert stays.ended == ["cancelled"] * 3

    in_still_loop(main)


@every_tier
def test_each_item_of_a_map_has_its_own(tier: Tier) -> None:
    async def main() -> None:
        begun: list[int] = []
        go = [asyncio.Event() for _ in range(3)]

        @cs.task
        async def item(x: int) -> int:
            begun.append(x)
            await go[x].wait()
            return x

        async with Engine(tier=tier) as engine:
            run = engine.start(item.map(x=range(3), concurrency=1).with_timeout(10))
            for x in (0, 1):
                await until(lambda x=x: x in begun)
                await advance(9)
                go[x].set()
            await until(lambda: 2 in begun)
            await advance(10)
            with pytest.raises(TimeoutError, match=r"^item#1\[2\] \(declared at"):
                await run

    in_still_loop(main)


@every_tier
def test_each_entry_of_a_loop_has_its_own(tier: Tier) -> None:
    async def main() -> None:
        async def step(n: int) -> Any:
            still_loop().now += 9  # any number of times: each is in time
            await asyncio.sleep(0)
            if n == 20:
                await asyncio.Event().wait()
            return cs.Jump("again", n + 1) if n < 20 else n

        async def tail(n: int) -> Any:
            still_loop().now += 9
            await asyncio.sleep(0)
            if n == 20:
                await asyncio.Event().wait()
            return cs.TailCall([n + 1])

        other = cs.task(mode="inline", name="other")(lambda n: cs.Jump("there", n))
        looping = cs.task(step)(0).with_timeout(10)
        cs.bind(looping, cs.select_jump({"again": looping}))
        there = cs.task(step)(0).with_timeout(10)
        machine = other(0)
        cs.bind(machine, cs.select_jump({"there": there}))
        cs.bind(there, cs.select_jump({"again": there}))
        items = cs.task(step).map(n=[21, 5]).with_timeout(100)
        cs.bind(items, cs.select_jump({"again": items}))
        for target, name, iteration in (
            (looping, "step#1", 20),
            (machine, "step#1", 21),
            (cs.task(tail)(0).with_timeout(10), "tail#1", 20),
            (items, r"step#1\[1\]", 15),
        ):
            async with Engine(tier=tier) as engine:
                run = engine.start(target)
                while run.status == "Running":
                    if engine_is_still():
                        await advance(100)
                    await asyncio.sleep(0)
                with pytest.raises(TimeoutError, match=f"^{name} ") as caught:
                    await run
                (note,) = notes_of(caught.value)
                assert f"iteration {iteration}, " in note

    def engine_is_still() -> bool:
        loop = still_loop()
        return len(loop._ready) == 0 and bool(timers())  # type: ignore[attr-defined]

    in_still_loop(main)


# --- what a task makes of it


@every_tier
def test_a_task_that_does_not_mind_is_too_late_all_the_same(tier: Tier) -> None:
    async def main() -> None:
        ends: list[str] = []

        @cs.task
        async def stubborn(how: str) -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append(how)
                if how == "raises":
                    raise ValueError("in the clean-up") from None
            return "late"

        async with Engine(tier=tier) as engine:
            for how in ("returns", "raises"):
                run = engine.start(stubborn(how).with_timeout(1))
                await until(lambda: bool(timers()))
                await advance(1)
                with pytest.raises(TimeoutError, match="stubborn#1") as caught:
                    await run
                cause = caught.value.__cause__
                assert (type(cause), str(cause)) == (
                    (ValueError, "in the clean-up") if how == "raises" else (type(None), "None")
                )
        assert ends == ["returns", "raises"]

    in_still_loop(main)


@every_tier
def test_a_timeout_error_of_its_own_is_its_failure(tier: Tier) -> None:
    @cs.task(timeout=HOUR)
    async def impatient() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match=r"^of its own\b"):
        run(impatient(), tier=tier)


@pytest.mark.parametrize("order", ["cancel first", "time first"])
@every_tier
def test_a_cancel_of_the_run_wins(order: str, tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stays.task().with_timeout(1))
            await stays.until_begun()
            if order == "cancel first":
                run.cancel()
                await advance(1)
            else:
                still_loop().now += 1
                still_loop().call_soon(run.cancel)  # in the turn in which the time is up
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"
            (end,) = spy.events_of_type(RunFinished)
            assert end.status == "Cancelled"
            assert stays.ended == ["cancelled"]

    in_still_loop(main)


@every_tier
def test_siblings_are_cancelled(tier: Tier) -> None:
    async def main() -> None:
        sibling, stays = Stays(), Stays()
        async with Engine(tier=tier) as engine:
            run = engine.start([sibling.task(), stays.task().with_timeout(1)])
            await stays.until_begun()
            await advance(1)
            with pytest.raises(TimeoutError, match="stays#2"):
                await run
        assert sibling.ended == stays.ended == ["cancelled"]

    in_still_loop(main)


@pytest.mark.parametrize("kind", ["sync", "async"])
@every_tier
def test_it_is_thrown_into_the_resources_of_the_call(kind: str, tier: Tier) -> None:
    async def main() -> None:
        seen: list[str] = []

        def sync_thing() -> Iterator[str]:
            try:
                yield "thing"
            except TimeoutError as error:
                seen.append(str(error))
                raise

        async def async_thing() -> AsyncIterator[str]:
            try:
                yield "thing"
            except TimeoutError as error:
                seen.append(str(error))
                raise

        thing = cs.resource(scope="task")(sync_thing if kind == "sync" else async_thing)
        stays = Stays()
        async with Engine(tier=tier) as engine:
            run = engine.start(stays.task(cs.inject(thing)).with_timeout(1))
            await stays.until_begun()
            await advance(1)
            with pytest.raises(TimeoutError) as caught:
                await run
            assert seen == [str(caught.value)]

    in_still_loop(main)


@every_tier
def test_another_executor_is_under_the_clock_too(tier: Tier) -> None:
    class Slow:
        async def execute(self, node: Any, args: Any, kwargs: Any) -> Any:
            await asyncio.Event().wait()

    async def main() -> None:
        async with Engine(tier=tier, executor=Slow()) as engine:
            run = engine.start(cs.task(len)("abc").with_timeout(1))
            await until(lambda: bool(timers()))
            await advance(1)
            with pytest.raises(TimeoutError, match="len#1"):
                await run

    in_still_loop(main)


# --- how it is given


@every_tier
def test_a_node_replaces_the_timeout_of_its_task(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        task = cs.task(name="stays", timeout=5)(stays.wait)
        async with Engine(tier=tier) as engine:
            for target, seconds in (
                (task(), 5),
                (task().with_timeout(7), 7),
                (task().with_timeout(7).with_timeout(3), 3),
                (task.map(x=[1]).with_timeout(4), 4),
            ):
                count = stays.begun
                run = engine.start(target)
                await stays.until_begun(count + 1)
                await advance(seconds - 1)
                assert run.status == "Running"
                await advance(1)
                with pytest.raises(TimeoutError, match=f"timeout of {seconds} s"):
                    await run
            unlimited = engine.start(task().with_timeout(float("inf")))
            await stays.until_begun(5)
            assert timers() == []
            unlimited.cancel()
            with pytest.raises(asyncio.CancelledError):
                await unlimited

    in_still_loop(main)


def test_a_timeout_given_after_a_run_counts_from_the_next() -> None:
    async def main() -> None:
        calls: list[int] = []

        @cs.task
        async def once() -> None:
            calls.append(1)
            if len(calls) > 1:
                await asyncio.Event().wait()

        target = once()
        async with Engine() as engine:
            await engine.run(target)
            run = engine.start(target.with_timeout(1))
            await until(lambda: bool(timers()))
            await advance(1)
            with pytest.raises(TimeoutError):
                await run

    in_still_loop(main)


BAD = [0, -1, float("nan"), True, "3", None]


@pytest.mark.parametrize("seconds", BAD)
def test_a_timeout_is_a_number_above_zero(seconds: Any) -> None:
    words = "takes a number of seconds above zero, not"
    with pytest.raises(ValueError, match=f"with_timeout {words}"):
        Stays().task().with_timeout(seconds)
    if seconds is None:
        return
    with pytest.raises(ValueError, match=rf"@cs.task\(timeout=...\) {words}"):
        cs.task(timeout=seconds)
    with pytest.raises(ValueError, match=f"the timeout of a run {words}"):
        cs.run(cs.task(len)("abc"), timeout=seconds)

    async def main() -> None:
        async with Engine() as engine:
            spy = SpySubscriber(engine.bus)
            with pytest.raises(ValueError, match=words):
                await engine.run(cs.task(len)("abc"), timeout=seconds)
            with pytest.raises(ValueError, match=words):
                engine.start(cs.task(len)("abc"), timeout=seconds)
            assert spy.events == []

    in_loop(main)


# --- runs


@pytest.mark.parametrize("way", ["run", "start"])
@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_takes_too_long_ends_wherever_it_is(place: str, way: str) -> None:
    """As a cancelled one does, but with a TimeoutError, and the task that awaits it goes on."""

    async def main() -> None:
        scene = Scene(place)
        async with Engine(system_resources={"seat": 1}, thread_grace=HOUR) as engine:
            spy = SpySubscriber(engine.bus)
            options: Any = {"run_id": "it", "timeout": 60}
            start = engine.start(scene.target, **options) if way == "start" else engine.run(scene.target, **options)
            awaited: asyncio.Future[Any] = asyncio.ensure_future(go_on(start))
            await until(lambda: bool(timers()))
            await scene.until_begun()
            still_loop().now += 60
            for _ in range(20):
                await asyncio.sleep(0)
            scene.release.set()
            with pytest.raises(TimeoutError, match=r"^run 'it' took longer than its timeout of 60 s"):
                await awaited
            (end,) = spy.events_of_type(RunFinished)
            assert end.status == "Failed"
            assert (end.error or "").startswith("TimeoutError: run 'it' took longer")
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert await engine.run(cs.task(len)("abc").with_constraints(seat=1)) == 3

    async def go_on(start: Any) -> Any:
        try:
            return await start
        finally:
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)

    in_still_loop(main)


@every_tier
def test_its_error_says_what_was_running(tier: Tier) -> None:
    async def main() -> None:
        stays, thread = Stays(), Stays("blocking")
        async with Engine(tier=tier, thread_grace=HOUR) as engine:
            run = engine.start(
                [stays.task().named("alone"), stays.task.map(x=range(2)), thread.task().named("thread")], timeout=60
            )
            await stays.until_begun(3)
            await thread.until_begun()
            still_loop().now += 60
            await turns()
            thread.release.set()
            with pytest.raises(TimeoutError) as caught:
                await run
            _, _, listed = str(caught.value).partition("these were running: ")
            names = [part.partition(" (declared at ")[0] for part in listed.split(", ")]
            assert names == ["alone#1", "stays#1[0]", "stays#1[1]", "thread#1"]
            assert run.status == "Failed"

    in_still_loop(main)


@every_tier
def test_a_run_in_time_leaves_no_timer(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            assert await engine.run(cs.task(len)("abc"), timeout=60) == 3
            assert await engine.start(cs.task(len)("abc"), timeout=60) == 3
            assert await engine.run("plain", timeout=60) == "plain"
            assert await engine.run(cs.task(len)("abc"), timeout=float("inf")) == 3
            with pytest.raises(TypeError, match="NoneType"):
                await engine.run(cs.task(len)(None), timeout=60)
            assert timers() == []

    in_still_loop(main)


def test_the_teardown_of_a_run_does_not_count() -> None:
    async def main() -> None:
        @cs.resource
        async def thing() -> AsyncIterator[str]:
            yield "thing"
            still_loop().now += HOUR
            await turns()

        async with Engine() as engine:
            assert await engine.run(cs.task(lambda it: it)(cs.inject(thing)), timeout=60) == "thing"

    in_still_loop(main)


@every_tier
def test_a_run_that_takes_too_long_is_torn_down(tier: Tier) -> None:
    async def main() -> None:
        seen: list[str] = []

        @cs.resource
        def thing() -> Iterator[str]:
            try:
                yield "thing"
            except TimeoutError as error:
                seen.append(type(error).__name__)
                raise

        stays = Stays()
        async with Engine(tier=tier) as engine:
            run = engine.start(stays.task(cs.inject(thing)), timeout=60)
            await stays.until_begun()
            await advance(60)
            with pytest.raises(TimeoutError, match="these were running: stays#1"):
                await run
        assert seen == ["TimeoutError"]
        assert stays.ended == ["cancelled"]

    in_still_loop(main)


@every_tier
def test_a_cancel_wins_over_the_timeout_of_a_run(tier: Tier) -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine(tier=tier) as engine:
            run = engine.start(stays.task(), timeout=60)
            await stays.until_begun()
            still_loop().now += 60
            still_loop().call_soon(run.cancel)
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"

    in_still_loop(main)


def test_the_timeout_of_a_task_within_that_of_its_run() -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine() as engine:
            run = engine.start(stays.task().with_timeout(60), timeout=60)
            await stays.until_begun()
            await advance(60)
            with pytest.raises(TimeoutError, match=r"^run .* took longer"):
                await run
        assert stays.ended == ["cancelled"]

    in_still_loop(main)


def test_cs_run_and_arun_take_a_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    stays = Stays()
    with pytest.raises(TimeoutError, match=r"took longer than its timeout of 0\.01 s"):
        cs.run(stays.task(), timeout=0.01)
    assert "run failed after" in capsys.readouterr().err
    with pytest.raises(TimeoutError):
        asyncio.run(cs.arun(stays.task(), timeout=0.01))
    assert cs.run(cs.task(len)("abc"), timeout=60, log_level="SILENT") == 3
    assert stays.ended == ["cancelled"] * 2


def test_asyncio_timeouts_around_a_run_are_theirs() -> None:
    async def main() -> None:
        stays = Stays()
        async with Engine() as engine:
            bus: MessageBus = engine.bus
            spy = SpySubscriber(bus)

            async def around() -> None:
                async with asyncio.timeout(30):
                    await engine.run(stays.task().with_timeout(HOUR), timeout=60)

            awaited = asyncio.ensure_future(around())
            await stays.until_begun()
            await advance(30)
            with pytest.raises(TimeoutError) as caught:
                await awaited
            assert str(caught.value) == ""
            (end,) = spy.events_of_type(RunFinished)
            assert end.status == "Cancelled"

    in_still_loop(main)
