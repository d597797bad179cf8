"""Rows about what it costs to begin: the import, and runs of small graphs."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, Pairs, beside, calls, duration, pairs, row

NODES = 22


def plain_increment(x: int) -> int:
    return x + 1


@cs.task
def increment(x: int) -> int:
    return x + 1


@row("import")
async def importing() -> list[Line]:
    """`import cascade` in a fresh process, against a process that imports nothing."""

    def process(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    process(ONLY_STANDARD)
    found = await pairs(lambda: process("import cascade"), lambda: process("pass"), 21)
    extra = [ours - theirs for ours, theirs in zip(found.ours, found.baseline, strict=True)]
    return [beside(duration("import cascade, beyond python itself", extra, found.paces, "ms", most=40), found)]


ONLY_STANDARD = """
import sys
before = set(sys.modules)
import cascade
others = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names - {"cascade"}
assert not others, others
assert "asyncio" not in sys.modules
"""


def repeated(once: Callable[[int], Awaitable[int]], count: int, nodes: int) -> Callable[[], Awaitable[float]]:
    """Return what measures `count` runs, each with another number to which each node adds one."""
    expected = sum(range(nodes, nodes + count))

    async def measured() -> float:
        total = 0
        start = time.perf_counter()
        for x in range(count):
            total += await once(x)
        taken = time.perf_counter() - start
        assert total == expected
        return taken

    return measured


async def small(
    name: str, once: Callable[[int], Awaitable[int]], count: int, nodes: int, most: float | None = None
) -> list[Line]:
    """Return a line about the time of one run; the baseline is a coroutine that makes the same calls in a loop."""

    async def awaited(x: int) -> int:
        for _ in range(nodes):
            x = plain_increment(x)
        return x

    ours, baseline = repeated(once, count, nodes), repeated(awaited, count, nodes)
    found = await pairs(ours, baseline, 15)
    assert await calls(ours(), increment.func) == [nodes * count]
    assert await calls(baseline(), plain_increment) == [nodes * count]
    each = Pairs([taken / count for taken in found.ours], [taken / count for taken in found.baseline])
    return [beside(duration(name, each.ours, found.paces, "us", most), each)]


def chained(first: Any, nodes: int) -> Any:
    value = first
    for _ in range(nodes):
        value = increment(value)
    return value


@row("one-node")
async def one_node() -> list[Line]:
    """One node, run again and again on an engine."""
    target = increment(cs.Param("x", default=0))
    fixed = increment(1)
    async with cs.Engine() as engine:

        async def with_parameter(x: int) -> int:
            return await engine.run(target, {"x": x})

        async def again(x: int) -> int:
            return await engine.run(fixed) + x - 1

        return [
            *await small("one node, warm", again, 2_000, 1, most=10),
            *await small("one node, warm, new params", with_parameter, 2_000, 1),
        ]


@row("flow-warm")
async def flow_warm() -> list[Line]:
    """A compiled flow, awaited with another parameter each time."""
    flow = cs.compile(chained(cs.Param("x", default=0), NODES))
    return await small("flow of 22 nodes, warm, new params", lambda x: flow(x=x), 1_000, NODES, most=20)


@row("flow-200", processes=1)
async def flow_of_200() -> list[Line]:
    """The same with 200 nodes."""
    flow = cs.compile(chained(cs.Param("x", default=0), 200))
    return await small("flow of 200 nodes, warm, new params", lambda x: flow(x=x), 200, 200)


@row("flow-fresh")
async def flow_fresh() -> list[Line]:
    """The flow of 22 nodes declared anew, built and run, each time."""
    async with cs.Engine() as engine:
        return await small(
            "flow of 22 nodes, built afresh and run", lambda x: engine.run(chained(x, NODES)), 500, NODES, most=100
        )
