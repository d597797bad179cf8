"""Rows about what it costs to begin: the import, and runs of small graphs."""

import subprocess
import sys
import time
from statistics import median
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, Pairs, figure, pairs, row

NODES = 22


def plain_increment(x: int) -> int:
    return x + 1


increment = cs.task(plain_increment)


@row("import")
async def importing() -> list[Line]:
    """`import cascade` in a fresh process, against a process that imports nothing."""

    def process(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    found = await pairs(lambda: process("import cascade"), lambda: process("pass"), 25)
    extra = median(ours - theirs for ours, theirs in zip(found.ours, found.baseline, strict=True))
    return [
        figure("import cascade, beyond python", extra * 1e3, "ms", most=40),
        figure("import cascade, fresh process", median(found.ours) * 1e3, "ms", found=found),
    ]


def small(name: str, found: Pairs, count: int, most: float) -> Line:
    """Return a line about the time of one run among `count`."""
    each = Pairs([taken / count for taken in found.ours], [taken / count for taken in found.baseline])
    return figure(name, median(each.ours) * 1e6, "us", most=most, later=True, found=each)


def chained(first: Any) -> Any:
    value = first
    for _ in range(NODES):
        value = increment(value)
    return value


def by_hand(x: int) -> int:
    for _ in range(NODES):
        x = plain_increment(x)
    return x


async def awaited_by_hand(x: int) -> int:
    return by_hand(x)


@row("one-node")
async def one_node() -> list[Line]:
    """One node, run again and again, against awaiting a coroutine that makes the call."""
    count = 2_000

    async def plain() -> int:
        return plain_increment(1)

    async def baseline() -> float:
        start = time.perf_counter()
        for _ in range(count):
            result = await plain()
        taken = time.perf_counter() - start
        assert result == 2
        return taken

    async with cs.Engine() as engine:
        target = increment(1)

        async def ours() -> float:
            start = time.perf_counter()
            for _ in range(count):
                result = await engine.run(target)
            taken = time.perf_counter() - start
            assert result == 2
            return taken

        found = await pairs(ours, baseline, 15)
    return [small("one node, warm run", found, count, 10)]


@row("flow-warm")
async def flow_warm() -> list[Line]:
    """A compiled flow of 22 nodes, awaited with another parameter each time."""
    count = 1_000
    flow = cs.compile(chained(cs.Param("x", default=0)))

    async def ours() -> float:
        total = 0
        start = time.perf_counter()
        for x in range(count):
            total += await flow(x=x)
        taken = time.perf_counter() - start
        assert total == sum(range(NODES, NODES + count))
        return taken

    return [small("22-node flow, warm run", await pairs(ours, lambda: flow_by_hand(count), 15), count, 20)]


@row("flow-fresh")
async def flow_fresh() -> list[Line]:
    """The same flow declared anew, built and run, each time."""
    count = 500
    async with cs.Engine() as engine:

        async def ours() -> float:
            total = 0
            start = time.perf_counter()
            for x in range(count):
                total += await engine.run(chained(x))
            taken = time.perf_counter() - start
            assert total == sum(range(NODES, NODES + count))
            return taken

        found = await pairs(ours, lambda: flow_by_hand(count), 15)
    return [small("22-node flow, built and run", found, count, 100)]


async def flow_by_hand(count: int) -> float:
    total = 0
    start = time.perf_counter()
    for x in range(count):
        total += await awaited_by_hand(x)
    taken = time.perf_counter() - start
    assert total == sum(range(NODES, NODES + count))
    return taken
