"""Rows about large graphs that are declared, built and run once, flat and as a chain."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

import cascade as cs
from observatory.benchmarks.harness import Line, Pairs, figure, pairs, row, speed

# --- by Cascade


def plain_increment(x: int) -> int:
    return x + 1


increment = cs.task(plain_increment)


def flat(n: int) -> Any:
    """Declare n nodes that need nothing, all asked for."""
    return [increment(x) for x in range(n)]


def chain(n: int) -> Any:
    """Declare n nodes, each of which needs the one before."""
    value = increment(0)
    for _ in range(n - 1):
        value = increment(value)
    return value


def check(shape: Any, n: int, result: Any) -> None:
    """See that each node was run: each adds one to what it is given."""
    if shape in (flat, flat_by_hand):
        assert len(result) == n
        assert result[0] == 1
        assert sum(result) == n * (n + 1) // 2
    else:
        assert result == n


# --- by hand: the least that does the same


class Node:
    __slots__ = ("args", "func", "value")

    def __init__(self, func: Callable[..., Any], *args: Any) -> None:
        self.func = func
        self.args = args


def flat_by_hand(n: int) -> Any:
    return [Node(plain_increment, x) for x in range(n)]


def chain_by_hand(n: int) -> Any:
    value = Node(plain_increment, 0)
    for _ in range(n - 1):
        value = Node(plain_increment, value)
    return value


def ordered(targets: list[Node]) -> list[Node]:
    """Return the nodes that the targets need, inputs first."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack = targets[::-1]
    while stack:
        node = stack[-1]
        if node in seen:
            stack.pop()
            continue
        waits = False
        for value in node.args:
            if value.__class__ is Node and value not in seen:
                stack.append(value)
                waits = True
        if not waits:
            seen.add(node)
            order.append(stack.pop())
    return order


def run_by_hand(target: Any) -> Any:
    targets = target if isinstance(target, list) else [target]
    for node in ordered(targets):
        node.value = node.func(*[value.value if value.__class__ is Node else value for value in node.args])
    return [node.value for node in targets] if isinstance(target, list) else target.value


# --- measuring


def once(engine: cs.Engine, shape: Callable[[int], Any], n: int) -> Any:
    """Return what measures declaring, building and running once; letting go of it all is not timed."""

    async def ours() -> float:
        start = time.perf_counter()
        target = shape(n)
        result = await engine.run(target)
        taken = time.perf_counter() - start
        check(shape, n, result)
        return taken

    return ours


def once_by_hand(shape: Callable[[int], Any], n: int) -> Callable[[], float]:
    def baseline() -> float:
        start = time.perf_counter()
        target = shape(n)
        result = run_by_hand(target)
        taken = time.perf_counter() - start
        check(shape, n, result)
        return taken

    return baseline


async def at_100k(name: str, shape: Any, by_hand: Any) -> list[Line]:
    n = 100_000
    async with cs.Engine() as engine:
        await engine.run(shape(2_000))  # the function is known; each graph is new
        found = await pairs(once(engine, shape, n), once_by_hand(by_hand, n), 11)
    return [speed(f"{name}, 100,000 nodes once", found, n, least=0.5)]


@row("flat-100k")
async def flat_100k() -> list[Line]:
    """100,000 nodes that need nothing."""
    return await at_100k("flat", flat, flat_by_hand)


@row("chain-100k")
async def chain_100k() -> list[Line]:
    """100,000 nodes in a row."""
    return await at_100k("chain", chain, chain_by_hand)


@row("flat-fresh", processes=1)
async def flat_fresh() -> list[Line]:
    """100,000 nodes of a function that nobody has called before: it must not go through threads, call by call."""
    n = 100_000

    async def ours() -> float:
        made: dict[str, Any] = {}
        exec("def increment(x):\n    return x + 1\n", made)
        start = time.perf_counter()
        async with cs.Engine() as engine:
            fresh = cs.task(made["increment"])
            result = await engine.run([fresh(x) for x in range(n)])
        taken = time.perf_counter() - start
        check(flat, n, result)
        return taken

    found = await pairs(ours, once_by_hand(flat_by_hand, n), 9)
    return [speed("flat, 100,000 nodes, fresh function", found, n)]


async def scaled(name: str, shape: Any, by_hand: Any) -> list[Line]:
    """Compare the ratio at a million nodes to the ratio at a tenth of that, measured in turns."""
    small, large = Pairs(), Pairs()
    async with cs.Engine() as engine:
        await engine.run(shape(2_000))
        await pairs(once(engine, shape, 100_000), once_by_hand(by_hand, 100_000), 1)
        for _ in range(7):
            for _ in range(2):
                await small.add(once(engine, shape, 100_000), once_by_hand(by_hand, 100_000))
            await large.add(once(engine, shape, 1_000_000), once_by_hand(by_hand, 1_000_000))
    kept = median(large.speeds()) / median(small.speeds())
    return [
        speed(f"{name}, 100,000 nodes", small, 100_000),
        speed(f"{name}, 1,000,000 nodes", large, 1_000_000),
        figure(f"{name}, ratio kept at 1,000,000", kept, "x", least=0.8),
        figure(f"{name}, peak memory", await peak(shape, 1_000_000), "B a node", most=1_000),
    ]


async def peak(shape: Callable[[int], Any], n: int) -> float:
    """Return the bytes a node that declaring, building and running take at the most, by tracemalloc."""
    async with cs.Engine() as engine:
        await engine.run(shape(2_000))
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            target = shape(n)
            result = await engine.run(target)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        check(shape, n, result)
    return (most - before) / n


@row("million", processes=1)
async def million() -> list[Line]:
    """A million nodes, against a hundred thousand."""
    return await scaled("flat", flat, flat_by_hand) + await scaled("chain", chain, chain_by_hand)


@row("deep-chain", processes=1)
async def deep_chain() -> list[Line]:
    """A chain of a million nodes in a row, an async one in a thousand: nothing recurses."""
    n = 1_000_000
    async with cs.Engine() as engine:
        start = time.perf_counter()
        value: Any = 0
        for i in range(n):
            value = increment(value) if i % 1000 else increment_later(value)
        result = await engine.run(value)
        taken = time.perf_counter() - start
        assert result == n
        repr(value)
        del value  # a million lazy results that hold each other
    return [Line("deep chain, 1,000,000 nodes", "s", taken, budget="works", passed=True)]


@cs.task
async def increment_later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1
