"""Rows about async tasks: ten thousand that sleep side by side, and a chain that never suspends."""

import asyncio
import time
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, pairs, row, speed, wall_time


async def plain_sleeper(x: int) -> int:
    await asyncio.sleep(0.010)
    return x


sleeper = cs.task(plain_sleeper)


@row("gather-10k")
async def gather() -> list[Line]:
    """10,000 async tasks that each sleep 10 ms, against asyncio.gather."""
    n = 10_000

    async def baseline() -> float:
        start = time.perf_counter()
        result = await asyncio.gather(*(plain_sleeper(x) for x in range(n)))
        taken = time.perf_counter() - start
        assert result == list(range(n))
        return taken

    async with cs.Engine() as engine:

        async def ours() -> float:
            start = time.perf_counter()
            result = await engine.run([sleeper(x) for x in range(n)])
            taken = time.perf_counter() - start
            assert result == list(range(n))
            return taken

        found = await pairs(ours, baseline, 9)
    return [wall_time("10,000 async tasks, 10 ms each", found, "ms", 1.15, later=True)]


async def plain_step(x: int) -> int:
    return x + 1


step = cs.task(plain_step)


@row("async-chain")
async def async_chain() -> list[Line]:
    """A chain of coroutines that never suspend, run again and again, against plain awaits."""
    n, times = 1_000, 10
    value: Any = 0
    for _ in range(n):
        value = step(value)

    async def baseline() -> float:
        start = time.perf_counter()
        for _ in range(times):
            x = 0
            for _ in range(n):
                x = await plain_step(x)
        taken = time.perf_counter() - start
        assert x == n
        return taken

    async with cs.Engine() as engine:

        async def ours() -> float:
            start = time.perf_counter()
            for _ in range(times):
                result = await engine.run(value)
            taken = time.perf_counter() - start
            assert result == n
            return taken

        found = await pairs(ours, baseline, 15)
    return [speed("async chain that never suspends", found, n * times, least=0.9, later=True)]
