"""Rows about async tasks: ten thousand side by side, asleep or in loops, and a chain that never suspends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import cascade as cs
from cascade import Jump
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, calls, pairs, row, speed, wall_time


def seconds_of(work: Callable[[], Awaitable[Any]], expected: Any) -> Callable[[], Awaitable[float]]:
    """Return what measures the work and sees what came out."""

    async def measured() -> float:
        start = time.perf_counter()
        result = await work()
        taken = time.perf_counter() - start
        assert result == expected
        return taken

    return measured


# --- asleep


async def plain_sleeper(x: int) -> int:
    await asyncio.sleep(0.010)
    return x


sleeper = cs.task(plain_sleeper)


@row("gather-10k")
async def gather() -> list[Line]:
    """10,000 async tasks that each sleep 10 ms, against asyncio.gather."""
    n = 10_000
    expected = list(range(n))
    baseline = seconds_of(lambda: asyncio.gather(*[plain_sleeper(x) for x in range(n)]), expected)
    async with cs.Engine() as engine:
        ours = seconds_of(lambda: engine.run([sleeper(x) for x in range(n)]), expected)
        found = await pairs(ours, baseline, 11)
    return [wall_time("10,000 async tasks that sleep 10 ms", found, "ms", 1.15)]


# --- a chain that never suspends

LINKS = 4_000


async def plain_increment(x: int) -> int:
    return x + 1


@cs.task
async def increment(x: int) -> int:
    return x + 1


def written_out() -> Callable[[int], Awaitable[int]]:
    """Return a coroutine function that has a line for each link, as one would write by hand."""
    lines = "".join("    x = await plain_increment(x)\n" for _ in range(LINKS))
    made: dict[str, Any] = {"plain_increment": plain_increment}
    exec(f"async def chain(x):\n{lines}    return x\n", made)
    chain: Callable[[int], Awaitable[int]] = made["chain"]
    return chain


@row("async-chain")
async def async_chain() -> list[Line]:
    """A compiled flow of coroutines that never suspend, awaited again and again, against plain awaits.

    The budget is for the loop that one would write; a line for each await is what nobody would write. The chain is so
    long that the start of a run, which rows of its own measure, weighs little.
    """
    times = 10
    value: Any = cs.Param("x", default=0)
    for _ in range(LINKS):
        value = increment(value)
    flow, chain = cs.compile(value), written_out()

    async def in_a_loop() -> int:
        total = 0
        for x in range(times):
            for _ in range(LINKS):
                x = await plain_increment(x)
            total += x
        return total

    async def by_hand() -> int:
        return sum([await chain(x) for x in range(times)])

    async def by_cascade() -> int:
        return sum([await flow(x=x) for x in range(times)])

    expected = sum(range(LINKS, LINKS + times))
    looped = await pairs(seconds_of(by_cascade, expected), seconds_of(in_a_loop, expected), 15)
    written = await pairs(seconds_of(by_cascade, expected), seconds_of(by_hand, expected), 15)
    assert await calls(by_cascade(), increment.func) == [LINKS * times]
    assert await calls(in_a_loop(), plain_increment) == [LINKS * times]
    assert await calls(by_hand(), plain_increment) == [LINKS * times]
    return [
        speed(f"{LINKS:,} async tasks that never suspend", looped, LINKS * times, least=0.9),
        speed("... to awaits written out", written, LINKS * times),
    ]


# --- in loops


async def plain_step(n: int) -> Any:
    await asyncio.sleep(0)
    if n <= 1:
        return tco.OwnJump("exit", "done")
    return tco.OwnJump("again", n - 1)


@cs.task
async def step(n: int) -> Any:
    await asyncio.sleep(0)
    if n <= 1:
        return Jump("exit", "done")
    return Jump("again", n - 1)


async def loop_by_hand(n: int) -> str:
    while True:
        jump = await plain_step(n)
        if jump.target_key == "exit":
            return jump.data
        n = jump.data


@row("loops-10k", processes=1)
async def jump_loops() -> list[Line]:
    """10,000 jump loops side by side, 100 iterations each, one await an iteration, against asyncio.gather."""
    entries = 100

    def by_hand(loops: int) -> Awaitable[Any]:
        return asyncio.gather(*[loop_by_hand(entries) for _ in range(loops)])

    async with cs.Engine() as engine:

        def by_cascade(loops: int) -> Awaitable[Any]:
            return engine.run([tco.simple_loop(entries, step) for _ in range(loops)])

        expected = ["done"] * 10_000
        ours = seconds_of(lambda: by_cascade(len(expected)), expected)
        baseline = seconds_of(lambda: by_hand(len(expected)), expected)
        found = await pairs(ours, baseline, 15)
        assert await calls(by_cascade(500), step.func) == [entries * 500]
        assert await calls(by_hand(500), plain_step) == [entries * 500]
    count = entries * len(expected)
    return [speed("10,000 jump loops, one await an iteration", found, count, "ns an iteration", least=0.8)]
