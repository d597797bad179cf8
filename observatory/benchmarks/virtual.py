"""The row about virtual time: a workflow of thirty days."""

import asyncio
from time import perf_counter
from typing import Any

import cascade as cs
from cascade.testing import VirtualClock
from observatory.benchmarks.harness import Line, beside, duration, pairs, row

DAYS = 30
DAY = 86_400
WAITS = (DAY, 10, 60, 120)
"""Of each day: until the source is asked, until that is too long, and behind each failure."""


def thirty_days() -> tuple[Any, list[int]]:
    """Each day waits, fetches from a source that is slow once and down once, and adds to a report."""
    tries: list[int] = []

    @cs.task
    async def wait(before: int) -> int:
        await asyncio.sleep(DAY)
        return before

    @cs.task
    async def fetch(day: int) -> int:
        tries.append(day)
        if len(tries) % 3 == 1:
            await asyncio.sleep(DAY)
        if len(tries) % 3 == 2:
            raise OSError("down")
        return day

    @cs.task(mode="inline")
    def report(before: int, fetched: int) -> int:
        return before + fetched

    done: Any = 0
    for day in range(DAYS):
        waited = wait(done)
        fetched = fetch(day).after(waited).with_retry(5, delay=60, backoff=2).with_timeout(10)
        done = report(waited, fetched)
    return done, tries


def month() -> float:
    start = perf_counter()
    target, tries = thirty_days()
    clock = VirtualClock()
    assert clock.run(target) == sum(range(DAYS))
    taken = perf_counter() - start
    assert clock.elapsed == DAYS * sum(WAITS)
    assert len(tries) == 3 * DAYS
    return taken


def sleeps_alone() -> float:
    async def sleeps() -> None:
        for _ in range(DAYS):
            for seconds in WAITS:
                await asyncio.sleep(seconds)

    start = perf_counter()
    clock = VirtualClock()
    clock.run(sleeps())
    taken = perf_counter() - start
    assert clock.elapsed == DAYS * sum(WAITS)
    return taken


@row("virtual-time")
async def in_virtual_time() -> list[Line]:
    """Declared, built and run, by a virtual clock of its own; the baseline sleeps as long by such a clock."""
    found = await pairs(lambda: asyncio.to_thread(month), lambda: asyncio.to_thread(sleeps_alone), 15)
    line = duration("thirty days with retries, virtual time", found.ours, found.paces, "ms", most=50)
    return [beside(line, found)]
