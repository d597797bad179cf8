"""The threads of an engine themselves: what takes room in the pool, and what makes some."""

import asyncio

import pytest

import cascade as cs
from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime import Engine
from cascade.spec.placement import profile_of
from tests.runtime.places import Stuck
from tests.workflows import in_loop, turns


def test_a_full_pool_has_room_for_the_next_loop_when_a_thread_of_the_last_one_ends() -> None:
    stuck = Stuck()
    engine = Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=0)

    async def first() -> None:
        run = engine.start(stuck.task())
        await stuck.until(stuck.begun.is_set)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    async def second() -> int:
        run = engine.start(cs.task(lambda x: x)(3))
        await turns()
        assert run.status == "Running"
        stuck.release.set()
        return await asyncio.wait_for(run, 50)

    in_loop(first)
    assert in_loop(second) == 3


def test_a_call_that_was_taken_back_makes_room() -> None:
    """One waits for room, one that was in the queue is cancelled, and then the thread is free."""
    stuck = Stuck()

    async def main() -> None:
        async with Engine(executor=LocalExecutor(blocking_threads=1), thread_grace=0) as engine:
            holds = engine.start(stuck.task())
            await stuck.until(stuck.begun.is_set)
            queued = engine.start(cs.task(mode="blocking")(len)("abc"))
            waits = engine.start(cs.task(lambda x: x)(3))
            await turns()
            queued.cancel()
            await turns()
            stuck.release.set()
            assert await holds == "late"
            assert await waits == 3

    for _ in range(20):
        stuck = Stuck()
        in_loop(main)


def test_threads_that_were_told_to_end_take_what_comes_afterwards() -> None:
    async def main() -> None:
        engine = Engine()
        for _ in range(200):
            assert await engine.run(cs.task(mode="blocking")(len)("abc")) == 3
            await engine.aclose()

    in_loop(main)


def test_a_call_arrives_though_the_loop_of_another_that_waited_for_its_time_has_closed() -> None:
    # Two threads with a run each call one function for the first time; one waits to hear how long the other took.
    @cs.task
    def first() -> int:
        return 1

    profile = profile_of(first.func)
    other = asyncio.new_event_loop()
    profile.waiters.append(other.create_future())
    other.close()

    async def main() -> int:
        async with Engine() as engine:
            return await asyncio.wait_for(engine.run(first()), 30)

    assert asyncio.run(main()) == 1
    assert profile.measured
