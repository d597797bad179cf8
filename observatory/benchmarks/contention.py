"""Rows about waiting in line: ten thousand tasks for one slot, and rates over ten seconds."""

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, Pairs, duration, figure, pairs, row

COUNT = 10_000


async def plain_worker(x: int) -> int:
    await asyncio.sleep(0)  # so that the others do come while this one holds the slot
    return x


worker = cs.task(plain_worker)


def beyond(name: str, found: Pairs, most: float | None = None) -> Line:
    """Return a line that asks for at most so many microseconds more for each task than the baseline took."""
    more = [(ours - theirs) / COUNT for ours, theirs in zip(found.ours, found.baseline, strict=True)]
    return duration(name, more, found.paces, "us a task", most)


@row("contention-10k")
async def contention() -> list[Line]:
    """10,000 async tasks that contend for one slot, against tasks that share a plain asyncio.Semaphore.

    The budget is for what waiting in line costs beyond the semaphore; the lines that go by gather include what a node
    costs at all, and have none.
    """
    lines = []
    expected = list(range(COUNT))
    slot: asyncio.Semaphore

    async def plain_in_slot(x: int) -> int:
        async with slot:
            return await plain_worker(x)

    async def gathered() -> float:
        nonlocal slot
        slot = asyncio.Semaphore(1)
        start = time.perf_counter()
        result = await asyncio.gather(*(plain_in_slot(x) for x in range(COUNT)))
        taken = time.perf_counter() - start
        assert result == expected
        return taken

    async def measured(engine: Any, target: Any) -> float:
        nonlocal slot
        slot = asyncio.Semaphore(1)
        start = time.perf_counter()
        result = await engine.run(target)
        taken = time.perf_counter() - start
        assert result == expected
        return taken

    async with cs.Engine(system_resources={"slot": 1}) as engine, cs.Engine() as free, cs.Engine() as limited:
        limited.set_limit("task:plain_worker", concurrency=1)
        in_slot = cs.task(plain_in_slot)
        inside = cs.compile([in_slot(x) for x in range(COUNT)]).blueprint
        plain = cs.compile([worker(x) for x in range(COUNT)]).blueprint
        constrained = cs.compile([worker(x).with_constraints(slot=1) for x in range(COUNT)]).blueprint
        for what, runs_on, target in (("constraint", engine, constrained), ("limit", limited, plain)):
            ours = partial(measured, runs_on, target)
            found = await pairs(ours, partial(measured, free, inside), 7)
            lines.append(beyond(f"10,000 for a slot: {what}", found, most=5.0))
            found = await pairs(ours, gathered, 7)
            lines.append(beyond(f"10,000 for a slot: {what}, by gather", found))
    return lines


@row("rate-10k")
async def rates() -> list[Line]:
    """Calls a second under a limit of 10,000/s and of 50/s, over ten seconds, behind the full bucket."""
    lines = []
    for rate in (10_000, 50):
        started = 0

        def count(x: int) -> None:
            nonlocal started
            started += 1

        call = cs.task(mode="inline")(count)
        async with cs.Engine() as engine:
            engine.set_limit("task:count", rate=rate)
            run = engine.start([call.map(x=range(rate * 3)) for _ in range(4)])
            while started < rate:
                await asyncio.sleep(0.001)
            before, start = started, time.perf_counter()
            await asyncio.sleep(10)
            off = abs((started - before) / (time.perf_counter() - start) / rate - 1)
            run.cancel()
            await asyncio.wait([asyncio.ensure_future(_ended(run))])
        lines.append(figure(f"{rate:,} calls a second: off by", off * 100, "%", most=2.0))
    return lines


async def _ended(run: Any) -> None:
    with suppress(asyncio.CancelledError):
        await run
