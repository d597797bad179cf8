"""The virtual clock: waits pass at once and in order, and only while nothing really goes on."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.adapters.executors.workers import Workers
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import (
    Event,
    RunFinished,
    RunStarted,
    RunWarning,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskRetrying,
    TaskSkipped,
)
from cascade.runtime.run.state import RunState
from cascade.testing import SpyExecutor, SpySubscriber, VirtualClock
from cascade.testing.loop import VirtualLoop
from tests.workflows import Body, Tier, every_body, every_tier

DAY = 86_400


@cs.task
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def thirty_days(tries: list[float], clock: VirtualClock) -> Any:
    """A report each day, from a source that is down twice each time, and slow once."""

    @cs.task
    async def fetch(day: int) -> int:
        tries.append(clock.elapsed)
        if len(tries) % 3 == 1:
            await asyncio.sleep(DAY)
        if len(tries) % 3 == 2:
            raise OSError("down")
        return day

    @cs.task
    def report(days: int, fetched: int) -> int:
        return days + 1

    done: Any = 0
    before: Any = nap(0)
    for day in range(30):
        before = nap(DAY).after(before)
        fetched = fetch(day).after(before).with_retry(5, delay=60, backoff=2).with_timeout(10)
        before = done = report(done, fetched)
    return done


class TestWaits:
    @every_tier
    def test_thirty_days_with_retries_pass_at_once_and_exactly(self, tier: Tier) -> None:
        clock, tries = VirtualClock(), list[float]()

        async def main() -> Any:
            async with Engine(tier=tier) as engine:
                return await engine.run(thirty_days(tries, clock))

        assert clock.run(main()) == 30
        a_day = DAY + 10 + 60 + 120  # the wait, one timeout, and what is waited after each failure
        assert clock.elapsed == 30 * a_day
        assert tries[:4] == [DAY, DAY + 70, DAY + 190, a_day + DAY]

    def test_what_waits_goes_on_in_order(self) -> None:
        order: list[tuple[str, float]] = []
        clock = VirtualClock()

        async def waiting(name: str, *waits: float) -> None:
            for wait in waits:
                await asyncio.sleep(wait)
                order.append((name, clock.elapsed))

        async def main() -> None:
            await asyncio.gather(waiting("a", 3, 4), waiting("b", 1, 1, 1.5), waiting("c", 2.5, 5))

        clock.run(main())
        assert order == [("b", 1), ("b", 2), ("c", 2.5), ("a", 3), ("b", 3.5), ("a", 7), ("c", 7.5)]

    def test_no_time_passes_while_a_coroutine_is_busy(self) -> None:
        clock = VirtualClock()

        async def main() -> list[float]:
            sleeper = asyncio.create_task(asyncio.sleep(1))
            seen = []
            for _ in range(100):
                await asyncio.sleep(0)
                seen.append(clock.elapsed)
            await sleeper
            return [*seen, clock.elapsed]

        assert clock.run(main()) == [0.0] * 100 + [1.0]

    def test_a_century_is_exact(self) -> None:
        clock = VirtualClock()
        clock.run(nap(100 * 365 * DAY))
        assert clock.elapsed == 100 * 365 * DAY

    @every_tier
    def test_timeouts_of_attempts_and_of_runs(self, tier: Tier) -> None:
        clock = VirtualClock()

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                with pytest.raises(TimeoutError, match="timeout of 3600 s"):
                    await engine.run(nap(DAY).with_timeout(3600))
                assert clock.elapsed == 3600
                with pytest.raises(TimeoutError, match="timeout of 86400 s"):
                    await engine.run(nap(DAY + 1), timeout=DAY)
                assert clock.elapsed == 3600 + DAY

        clock.run(main())

    @every_tier
    @every_body
    def test_rates_and_pauses(self, body: Body, tier: Tier) -> None:
        clock, called = VirtualClock(), list[float]()

        def work(x: int) -> None:
            called.append(clock.elapsed)

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                engine.set_limit("task:*", rate="6/m")
                engine.pause(ttl=3600)
                await engine.run(body(work).map(x=range(3)))

        clock.run(main())
        assert called == pytest.approx([3600, 3610, 3620])

    def test_a_limit_that_was_set_before_the_clock_ran_ends_by_it(self) -> None:
        engine = Engine()
        engine.pause(ttl=3600)
        usual = engine.admission.limits.clock
        clock = VirtualClock()
        assert clock.run(engine.run(nap(0))) == 0
        assert clock.elapsed == pytest.approx(3600, abs=60)  # it has really been there for a moment
        assert engine.admission.limits.clock is usual

    def test_what_a_cached_result_has_to_live(self) -> None:
        clock, calls = VirtualClock(), list[float]()

        @cs.task
        def price(name: str) -> int:
            calls.append(clock.elapsed)
            return len(calls)

        async def main() -> list[int]:
            async with Engine() as engine:
                seen = []
                for wait in (0, 1799, 2, 1799):
                    await asyncio.sleep(wait)
                    seen.append(await engine.run(price("tea").with_cache(cs.cached(ttl=1800))))
                return seen

        assert clock.run(main()) == [1, 1, 2, 2]
        assert calls == [0, 1801]


class TestEvents:
    @every_tier
    @every_body
    def test_their_times_are_those_of_the_clock(self, body: Body, tier: Tier) -> None:
        clock, tries = VirtualClock(start=datetime(2031, 5, 1, tzinfo=UTC)), list[float]()

        def flaky() -> str:
            tries.append(clock.elapsed)
            if len(tries) < 3:
                raise OSError
            return "done"

        async def main() -> list[Event]:
            async with Engine(tier=tier) as engine:
                spy = SpySubscriber(engine.bus)
                await asyncio.sleep(50)
                await engine.run(body(flaky)().with_retry(3, delay=100))
                return spy.events

        seen = clock.run(main())
        at = datetime(2031, 5, 1, tzinfo=UTC).timestamp() + 50
        assert [(type(event), event.timestamp - at) for event in seen] == [
            *((RunStarted, 0), (TaskExecutionStarted, 0), (TaskRetrying, 0), (TaskRetrying, 100)),
            *((TaskExecutionFinished, 200), (RunFinished, 200)),
        ]
        ends = [event for event in seen if isinstance(event, TaskExecutionFinished | RunFinished)]
        assert [event.duration for event in ends] == [200, 200]

    @every_tier
    def test_who_listens_to_ends_alone_hears_of_durations(self, tier: Tier) -> None:
        ends: list[float] = []
        bus = MessageBus()
        bus.subscribe(TaskExecutionFinished, lambda event: ends.append(event.duration))
        bus.subscribe(RunFinished, lambda event: ends.append(event.duration))

        @cs.task(mode="inline")
        def short(x: float) -> float:
            return x

        async def main() -> None:
            async with Engine(bus=bus, tier=tier) as engine:
                await engine.run(nap(short(nap(5))))

        VirtualClock().run(main())
        assert ends == [5, 0, 5, 10]

    def test_nobody_is_told_more_than_they_asked_for(self) -> None:
        bus, skips = MessageBus(), list[TaskSkipped]()
        bus.subscribe(TaskSkipped, skips.append)

        async def main() -> None:
            async with Engine(bus=bus) as engine:
                assert await engine.run(nap(nap(1).run_if(False, otherwise=2.0))) == 2
                assert bus.wants(TaskSkipped)
                assert not bus.wants(TaskExecutionStarted)

        VirtualClock().run(main())
        assert [event.reason for event in skips] == ["ConditionFalse"]

    def test_a_handler_that_raises_and_an_async_one_are_as_ever(self, caplog: pytest.LogCaptureFixture) -> None:
        bus, heard = MessageBus(), list[Event]()

        def bad(event: Event) -> None:
            raise ValueError("bad handler")

        async def slow(event: Event) -> None:
            await asyncio.sleep(60)
            heard.append(event)

        bus.subscribe(RunFinished, bad)
        bus.subscribe(Event, slow)
        clock = VirtualClock()

        async def main() -> None:
            async with Engine(bus=bus) as engine:
                await engine.run(nap(1))

        clock.run(main())
        assert "bad handler" in caplog.text
        assert len(heard) == 4
        assert clock.elapsed == 240

    def test_afterwards_the_bus_is_as_before(self) -> None:
        bus, times = MessageBus(), list[float]()
        bus.subscribe(RunFinished, lambda event: times.append(event.timestamp))

        async def main() -> None:
            async with Engine(bus=bus) as engine:
                await engine.run(nap(0))

        VirtualClock().run(main())
        assert not bus.wants(RunWarning)
        before = time.time()
        asyncio.run(main())
        assert times[0] == VirtualClock().start
        assert before <= times[1] <= time.time()


class TestWhatReallyGoesOn:
    @every_tier
    def test_a_call_in_a_thread_takes_no_time_but_is_waited_for(self, tier: Tier) -> None:
        clock, gate = VirtualClock(), threading.Event()
        seen = []

        @cs.task(mode="blocking")
        def work() -> float:
            assert gate.wait(30)
            return clock.elapsed

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                run = engine.start(work().with_timeout(1000))
                for _ in range(50):
                    await asyncio.sleep(0)
                gate.set()
                seen.append(await run)

        clock.run(main())
        assert seen == [0]
        assert clock.elapsed == 0

    @every_tier
    def test_one_that_hangs_meets_its_timeout(self, tier: Tier) -> None:
        clock, gate = VirtualClock(), threading.Event()

        @cs.task(mode="blocking")
        def hang() -> None:
            gate.wait(30)

        async def main() -> list[RunWarning]:
            async with Engine(tier=tier, thread_grace=0.01) as engine:
                spy = SpySubscriber(engine.bus)
                with pytest.raises(TimeoutError):
                    await engine.run(hang().with_timeout(0.02))
                assert clock.elapsed == pytest.approx(0.03)
                await asyncio.sleep(DAY)  # what was left behind holds nothing up
                gate.set()
                return spy.events_of_type(RunWarning)

        [warning] = clock.run(main())
        assert warning.code == "ThreadAbandoned"
        assert clock.elapsed == pytest.approx(DAY + 0.03)

    def test_sync_resources_and_other_executors_in_threads(self) -> None:
        @cs.resource
        def place() -> Iterator[int]:
            assert threading.current_thread() is not threading.main_thread()
            yield 7

        @cs.task
        def work(there: int = cs.inject(place)) -> int:
            return there

        async def main() -> int:
            async with Engine(executor=SpyExecutor()) as engine:
                value: int = await engine.run(work().with_timeout(5))
                return value

        clock = VirtualClock()
        assert clock.run(main()) == 7
        assert clock.elapsed == 0

    def test_a_process(self) -> None:
        @cs.task(mode="process")
        def add(x: int) -> int:
            return x + 1

        clock = VirtualClock()
        assert clock.run(add(1).with_timeout(30)) == 2  # and the engine waits for the end of the process
        assert clock.elapsed == 0

    def test_to_thread_a_child_and_a_connection(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def main() -> None:
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "thread"), 30) == "thread"
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(5)", stdout=subprocess.PIPE)
            out, _ = await asyncio.wait_for(child.communicate(), 30)
            assert out.strip() == b"5"
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            before = clock.elapsed
            await asyncio.sleep(DAY)  # a server alone holds nothing up
            assert clock.elapsed == before + DAY
            reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.write(b"hello\n")
            assert await asyncio.wait_for(reader.readline(), 30) == b"hello\n"
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            await asyncio.sleep(DAY)

        clock = VirtualClock()
        clock.run(main())
        assert clock.elapsed == 2 * DAY

    def test_a_child_that_cannot_be_started_holds_nothing_up(self) -> None:
        async def main() -> None:
            with pytest.raises(FileNotFoundError):
                await asyncio.create_subprocess_exec("/no/such/program")
            await asyncio.sleep(DAY)

        VirtualClock().run(main())

    def test_the_clock_is_held_for_threads_of_ones_own(self) -> None:
        clock, gate = VirtualClock(), threading.Event()

        async def main() -> float:
            loop, arrival = asyncio.get_running_loop(), asyncio.Event()
            gate.clear()

            def work() -> None:
                gate.wait(30)
                loop.call_soon_threadsafe(arrival.set)

            thread = threading.Thread(target=work)
            with clock.held():
                thread.start()
                async with asyncio.timeout(100):
                    gate.set()
                    await arrival.wait()
            thread.join()
            return clock.elapsed

        assert clock.run(main()) == 0

    def test_only_a_virtual_loop_is_held(self) -> None:
        async def main() -> None:
            with VirtualClock().held():
                pass

        with pytest.raises(RuntimeError, match=r"inside of clock\.run"):
            asyncio.run(main())


class TestWhatCannotHappen:
    @every_tier
    def test_a_wait_for_nothing_is_an_error_that_names_it(self, tier: Tier) -> None:
        @cs.task
        async def never() -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            async with Engine(tier=tier) as engine:
                await engine.run([never(), nap(5)])

        with pytest.raises(RuntimeError, match=r"nothing is left .* never#1 \(declared at .*test_clock\.py:\d+\)\. A"):
            VirtualClock().run(main())

    def test_so_is_one_of_asyncio_alone(self) -> None:
        async def main() -> None:
            await asyncio.gather(*(asyncio.Event().wait() for _ in range(12)))

        with pytest.raises(RuntimeError, match=r"asyncio task .* and 3 more"):
            VirtualClock().run(main())

    def test_a_start_without_a_time_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="time zone"):
            VirtualClock(datetime(2030, 1, 1))

    def test_one_clock_at_a_time(self) -> None:
        work = nap(1)
        with VirtualClock(), pytest.raises(RuntimeError, match="another virtual clock"):
            VirtualClock().run(work)


class TestWithBlock:
    def test_cs_run_and_asyncio_go_by_the_clock(self, capsys: pytest.CaptureFixture[str]) -> None:
        with VirtualClock() as clock:
            assert cs.run(nap(3600)) == 3600
            asyncio.run(asyncio.sleep(400))
            assert clock.run(nap(6)) == 6
        assert clock.elapsed == 4006
        assert clock.now() == datetime(2030, 1, 1, 1, 6, 46, tzinfo=UTC)
        assert capsys.readouterr().err

    def test_the_progress_of_cs_run_is_not_looked_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is four times a second, in real time."""
        steps: list[float] = []
        usual = VirtualLoop.let_pass

        def counted(loop: VirtualLoop, seconds: float) -> None:
            steps.append(seconds)
            usual(loop, seconds)

        monkeypatch.setattr(VirtualLoop, "let_pass", counted)
        with VirtualClock():
            cs.run(nap(30 * DAY))
        assert sum(steps) == 30 * DAY
        assert len(steps) < 40

    def test_cs_run_where_a_loop_runs(self) -> None:
        async def main() -> Any:
            return cs.run(nap(3600), log_level="SILENT")

        with VirtualClock() as clock:
            assert asyncio.run(main()) == 3600
        assert clock.elapsed == 3600

    def test_behind_it_all_is_as_before(self) -> None:
        def state() -> list[Any]:
            owners = [(Workers, "submit"), (LocalExecutor, "measured"), (RunState, "__init__"), (RunState, "abandon")]
            return [asyncio.get_event_loop_policy(), *(vars(owner)[name] for owner, name in owners)]

        before = state()

        @contextmanager
        def failing() -> Iterator[None]:
            with pytest.raises(ZeroDivisionError), VirtualClock():
                yield

        with failing():
            assert state() != before
            raise ZeroDivisionError
        assert state() == before

        async def main() -> str:
            return type(asyncio.get_running_loop()).__name__

        assert asyncio.run(main()) != VirtualLoop.__name__

    def test_params_are_passed_on(self) -> None:
        assert VirtualClock().run(nap(cs.Param("seconds", type=float)), {"seconds": 4}) == 4

    def test_other_threads_with_loops_of_their_own_keep_real_time(self) -> None:
        names: list[str] = []

        async def real() -> None:
            names.append(type(asyncio.get_running_loop()).__name__)
            async with Engine() as engine:
                names.append(await engine.run(cs.task(mode="blocking")(lambda: "real")()))

        async def main() -> None:
            thread = threading.Thread(target=asyncio.run, args=(real(),))
            with clock.held():
                thread.start()
                await asyncio.to_thread(thread.join)

        clock = VirtualClock()
        clock.run(main())
        assert names[1] == "real"
        assert names[0] != "VirtualLoop"
