"""Rows about streams: how little of one is kept."""

import gc
import resource
import sys
import time
from collections.abc import Iterator

import cascade as cs
from observatory.benchmarks.harness import Line, figure, row

STREAMED = 10_000_000
WINDOW = 1000


def peak() -> int:
    """Return the most bytes of memory that this process has had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def body(x: int) -> int:
    return x * 3 + 1


@row("as-completed", processes=1)
async def completed() -> list[Line]:
    """Ten million generated items, a thousand in hand at the most, each result looked at once."""
    live = most = 0

    def numbers() -> Iterator[int]:
        nonlocal live, most
        for n in range(STREAMED):
            live += 1
            most = max(most, live)
            yield n

    gc.collect()
    total, start = 0, time.perf_counter()
    async with cs.Engine() as engine:
        async for value in engine.as_completed(cs.task(body).map(x=numbers(), window=WINDOW)):
            live -= 1
            total += value
    taken = time.perf_counter() - start
    assert total == 3 * STREAMED * (STREAMED - 1) // 2 + STREAMED
    assert live == 0
    assert most <= WINDOW + 1, most
    name = f"{STREAMED / 1e6:g} M items as they complete ({taken / STREAMED * 1e6:.2f} us)"
    return [figure(name, peak() / 1e6, "MB at the most", most=150)]
