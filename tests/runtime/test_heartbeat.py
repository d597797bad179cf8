"""Heartbeats: an attempt that gives no sign of life for so long is a TimeoutError."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunWarning
from cascade.runtime.inspect.progress import progress_of
from cascade.testing import SpySubscriber, VirtualClock
from tests.clock import advance, in_still_loop
from tests.workflows import Tier, every_tier, turns

THREADS = ["blocking", "compute", "auto"]


class Beating:
    """A task that does one step after the other, and gives a sign of life before each; `steps` come from the test."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_beat = threading.Event()
        self.has_beaten = threading.Event()
        self.is_over = False
        self.ended: list[str] = []

    def in_thread(self) -> str:
        me = cs.current()
        self.begun.set()
        while True:
            self.may_beat.wait(50)
            self.may_beat.clear()
            if self.is_over:
                self.ended.append("released")
                return "done"
            me.heartbeat()
            self.has_beaten.set()

    async def on_loop(self) -> str:
        self.begun.set()
        try:
            while True:
                while not self.may_beat.is_set():
                    await asyncio.sleep(0)
                self.may_beat.clear()
                if self.is_over:
                    return "done"
                cs.current().heartbeat()
                self.has_beaten.set()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    def task(self, mode: str, seconds: float, **options: Any) -> Any:
        body: Callable[..., Any] = self.on_loop if mode == "async" else self.in_thread
        given: Any = "auto" if mode == "async" else mode
        return cs.task(name="beating", mode=given, heartbeat=seconds, **options)(body)

    async def beat(self) -> None:
        """Have it give one."""
        self.has_beaten.clear()
        self.may_beat.set()
        await until(self.has_beaten.is_set)

    def end(self) -> None:
        self.is_over = True
        self.may_beat.set()


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def until_timed(seconds: float) -> None:
    """Wait until a clock of so many seconds has started."""
    loop: Any = asyncio.get_running_loop()
    await until(lambda: any(not each.cancelled() and each.when() <= loop.time() + seconds for each in loop._scheduled))


@every_tier
@pytest.mark.parametrize("mode", ["async", *THREADS])
def test_it_goes_on_as_long_as_it_gives_signs(mode: str, tier: Tier) -> None:
    async def main() -> None:
        beating = Beating()
        async with Engine(tier=tier) as engine:
            run = engine.start(beating.task(mode, 10)())
            await until(beating.begun.is_set)
            await until_timed(10)
            for _ in range(5):
                await advance(9)
                await beating.beat()
            await advance(9)
            beating.end()
            assert await run == "done"

    in_still_loop(main)


@every_tier
@pytest.mark.parametrize("mode", ["async", *THREADS])
@pytest.mark.parametrize("signs", [0, 3])
def test_silence_is_a_timeout_error_that_names_the_task(signs: int, mode: str, tier: Tier) -> None:
    async def main() -> None:
        beating = Beating()
        async with Engine(tier=tier, thread_grace=0) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(beating.task(mode, 10)())
            await until(beating.begun.is_set)
            await until_timed(10)
            for _ in range(signs):
                await advance(6)
                await beating.beat()
            await advance(9)
            assert run.status == "Running"
            await advance(1)
            with pytest.raises(TimeoutError, match=r"^beating#1 \(declared at .*\) gave no sign of life for its heart"):
                await run
            left = spy.events_of_type(RunWarning)
            assert [each.code for each in left] == ([] if mode == "async" else ["ThreadAbandoned"])
            assert all("beating#1 (declared at " in each.message for each in left)
            beating.end()
            await until(lambda: beating.ended)

    in_still_loop(main)


@pytest.mark.parametrize("mode", ["async", "blocking"])
def test_a_retry_may_name_it_and_each_attempt_has_the_whole_time(mode: str) -> None:
    async def main() -> None:
        beatings = [Beating(), Beating()]
        waiting = iter(beatings)
        if mode == "async":

            @cs.task(heartbeat=10)
            async def either() -> str:
                return await next(waiting).on_loop()
        else:

            @cs.task(heartbeat=10, mode="blocking")
            def either() -> str:
                return next(waiting).in_thread()

        async with Engine(thread_grace=0) as engine:
            run = engine.start(either().with_retry(2, on=TimeoutError, delay=0))
            await until(beatings[0].begun.is_set)
            await until_timed(10)
            await advance(10)
            await until(beatings[1].begun.is_set)
            await until_timed(10)
            await advance(9)
            if mode == "blocking":
                await beatings[0].beat()  # the one that was left behind keeps nothing alive
            await beatings[1].beat()
            await advance(9)
            beatings[1].end()
            assert await run == "done"
            beatings[0].end()

    in_still_loop(main)


def test_what_was_left_behind_keeps_the_next_attempt_not_alive() -> None:
    async def main() -> None:
        beatings = [Beating(), Beating()]
        waiting = iter(beatings)

        @cs.task(heartbeat=10, mode="blocking", retry={"max_attempts": 2, "delay": 0})
        def either() -> str:
            return next(waiting).in_thread()

        async with Engine(thread_grace=0) as engine:
            run = engine.start(either())
            await until(beatings[0].begun.is_set)
            await until_timed(10)
            await advance(10)
            await until(beatings[1].begun.is_set)
            await until_timed(10)
            await advance(9)
            await beatings[0].beat()
            await advance(1)
            with pytest.raises(TimeoutError, match="no sign of life"):
                await run
            for each in beatings:
                each.end()

    in_still_loop(main)


def test_items_have_one_each() -> None:
    async def main() -> None:
        @cs.task(heartbeat=10)
        async def item(n: int) -> int:
            for _ in range(5):
                await asyncio.sleep(5 * n)
                cs.current().heartbeat()
            return n

        async with Engine() as engine:
            run = engine.start(item.map(n=[1, 3], on_error="collect"))
            await turns()
            for _ in range(30):
                await advance(1)
            one, failed = await run
            assert one == 1
            assert isinstance(failed, cs.Failed)
            assert isinstance(failed.error, TimeoutError)
            assert "item#1[1]" in str(failed.error)

    in_still_loop(main)


@pytest.mark.parametrize("mode", ["async", "blocking"])
def test_generators_give_signs_too(mode: str) -> None:
    async def main() -> None:
        beating = Beating()

        def steps() -> Any:
            yield beating.in_thread()

        async def steps_on_loop() -> Any:
            yield await beating.on_loop()

        options: Any = {"heartbeat": 10, "mode": "auto" if mode == "async" else mode}
        task = cs.task(**options)(steps_on_loop if mode == "async" else steps)
        async with Engine(thread_grace=0) as engine:
            run = engine.start(task())
            await until(beating.begun.is_set)
            for _ in range(3):
                await advance(9)
                await beating.beat()
            await advance(10)
            with pytest.raises(TimeoutError, match="no sign of life"):
                await run
            beating.end()

    in_still_loop(main)


@pytest.mark.parametrize("is_first", [True, False])
def test_it_stands_beside_a_timeout(is_first: bool) -> None:
    async def main() -> None:
        beating = Beating()
        async with Engine() as engine:
            run = engine.start(beating.task("async", 5 if is_first else 20, timeout=12)())
            await until(beating.begun.is_set)
            for _ in range(2):
                await advance(4)
                await beating.beat()
            await advance(5)
            with pytest.raises(TimeoutError, match="no sign of life" if is_first else "took longer than its timeout"):
                await run

    in_still_loop(main)


def test_a_cancel_of_the_run_wins() -> None:
    async def main() -> None:
        beating = Beating()
        async with Engine() as engine:
            run = engine.start(beating.task("async", 5)())
            await until(beating.begun.is_set)
            run.cancel()
            await advance(5)
            with pytest.raises(asyncio.CancelledError):
                await run

    in_still_loop(main)


@pytest.mark.parametrize("mode", ["inline", "async"])
def test_what_holds_the_event_loop_is_found_out_when_it_has_ended(mode: str) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        def hold(silences: list[float]) -> str:
            for each in silences:
                loop.now += each
                cs.current().heartbeat()
            return "done"

        async def hold_on(silences: list[float]) -> str:
            return hold(silences)

        options: Any = {"heartbeat": 5, "mode": "inline" if mode == "inline" else "auto"}
        task = cs.task(**options)(hold if mode == "inline" else hold_on)
        async with Engine() as engine:
            assert await engine.run(task([4, 4, 4])) == "done"
            with pytest.raises(TimeoutError, match="no sign of life"):
                await engine.run(task([4, 6, 1]))

    in_still_loop(main)


def test_by_a_virtual_clock() -> None:
    @cs.task(heartbeat=60)
    async def crawl(pause: float) -> str:
        for _ in range(100):
            await asyncio.sleep(pause)
            cs.current().heartbeat()
        return "done"

    began = time.monotonic()
    assert VirtualClock().run(crawl(59)) == "done"
    with pytest.raises(TimeoutError, match="no sign of life for its heartbeat of 60 s"):
        VirtualClock().run(crawl(61))
    assert time.monotonic() - began < 30


def test_it_does_nothing_in_a_task_without_one() -> None:
    @cs.task
    def plain() -> str:
        cs.current().heartbeat()
        return "done"

    assert cs.run(plain(), log_level="SILENT") == "done"


def test_it_is_an_option_of_tasks() -> None:
    @cs.task(heartbeat=5)
    def plain() -> None: ...

    assert plain.heartbeat == 5
    assert plain.with_options(heartbeat=7).heartbeat == 7
    assert plain.with_options(heartbeat=None).heartbeat is None
    assert plain.with_options(name="other").heartbeat == 5
    for wrong in (0, -1, "1", True):
        with pytest.raises(ValueError, match=r"@cs.task\(heartbeat=...\) takes a number of seconds above zero"):
            cs.task(heartbeat=wrong)  # type: ignore[arg-type]
    shown = cs.to_lisp(plain())
    assert "(heartbeat 5.0 " in shown


# --- in processes


@cs.task(mode="process", heartbeat=2)
def beats(count: int, silence: float) -> str:
    me = cs.current()
    for _ in range(count):
        time.sleep(0.1)
        me.heartbeat()
    time.sleep(silence)
    return "done"


@cs.task(mode="process", heartbeat=2)
def beats_and_holds(count: int) -> str:
    me = cs.current()
    for _ in range(100_000):
        me.heartbeat()
    for _ in range(count):
        me.heartbeat()
        sum(range(2_000_000))
    return "done"


@cs.task(mode="process")
def counts(count: int) -> int:
    me = cs.current()
    for n in range(count):
        me.progress(n + 1, count)
        time.sleep(0.01)
    return count


def test_a_silent_process_is_killed() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"^beats#1 .*no sign of life"):
        cs.run(beats(1, 3600.0), log_level="SILENT")
    assert time.monotonic() - began < 60


def test_what_a_process_says_is_heard() -> None:
    """Signs of life, before time is up, also if the event loop was held meanwhile; and how far it has come."""

    async def main() -> None:
        async with Engine() as engine:
            run, seen = engine.start([beats(35, 0.0), beats_and_holds(3), counts.map(count=[30, 60])]), set[Any]()
            while run.status == "Running":
                active = engine._active.get(run.id)
                if active is not None and active.run is not None:
                    before = len(seen)
                    seen |= {*progress_of(active.run, asyncio.get_running_loop()).reported.items()}
                    if seen and not before:
                        time.sleep(2.5)
                await asyncio.sleep(0.02)
            assert await run == ["done", "done", [30, 60]]
            assert {total for name, (_, total) in seen if name == "counts#1[0]"} <= {30}
            assert {total for name, (_, total) in seen if name == "counts#1[1]"} <= {60}
            assert len(seen) > 1
            assert all(0 < done <= total for _, (done, total) in seen)

    asyncio.run(main())
