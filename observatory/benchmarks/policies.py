"""Rows about policies: what the key of a cache costs, and what a managed node costs its neighbours."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import cascade as cs
from cascade.adapters.caching.keys import key_of
from observatory.benchmarks.harness import Line, duration, pace, pairs, row, speed

KEYS = 2_000


def scaled(x: float) -> float:
    return x * RATE


RATE = 1.5


def priced(item: str, count: int, price: float, options: tuple[str, ...] = (), *, gift: bool = False) -> float:
    return scaled(count * price) + len(item) + len(options) + gift


@row("cache-key")
async def keys() -> list[Line]:
    """The key of a call with five small arguments of a function that reaches a helper and a global value."""
    policy, task = cs.cached(), cs.task(priced)
    digests = {key_of(task, ("tea", n, 2.5, ("hot", "black")), {"gift": True}, policy).digest for n in range(KEYS)}
    assert len(digests) == KEYS
    taken, paces = [], []
    for _ in range(9):
        start = time.perf_counter()
        for n in range(KEYS):
            key_of(task, ("tea", n, 2.5, ("hot", "black")), {"gift": True}, policy)
        taken.append((time.perf_counter() - start) / KEYS)
        paces.append(pace())
    return [duration("key of five small arguments", taken, paces, "us a key", most=20.0)]


NODES = 4_000
RUNS = 20


def increment(x: int) -> int:
    return x + 1


def chain(count: int, managed: bool) -> Any:
    """Return a compiled flow of a call that may have a policy, and half of the others on each side of it."""
    task = cs.task(increment)
    value: Any = cs.Param("x", default=0)
    for _ in range(count // 2):
        value = task(value)
    value = task(value)
    if managed:
        value = value.with_timeout(60)
    for _ in range(count // 2):
        value = task(value)
    return cs.compile(value)


def for_neighbours(managed: bool) -> Callable[[], Awaitable[float]]:
    """Return what measures the calls around the one in the middle: all of them, less that one alone."""
    flows = [(chain(count, managed), count) for count in (NODES, 0)]

    async def measured() -> float:
        taken = []
        for flow, count in flows:
            start = time.perf_counter()
            for x in range(RUNS):
                assert await flow(x=x) == x + count + 1
            taken.append(time.perf_counter() - start)
        return taken[0] - taken[1]

    return measured


@row("neighbours")
async def neighbours() -> list[Line]:
    """Plain calls on both sides of one under a timeout, against the same flow without the policy."""
    managed, plain = for_neighbours(True), for_neighbours(False)
    for _ in range(5):
        await managed()
        await plain()
    found = await pairs(managed, plain, 15)
    return [speed("4,000 calls beside one with a timeout", found, NODES * RUNS, least=0.9)]
