"""Rows about loops that never wait: jump loops, light and heavy, and tail calls."""

import time
from collections.abc import Callable
from typing import Any

import cascade as cs
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, pairs, row, speed

PAIRS = 15


def by_hand_unrolled(n: int) -> str:
    """Do what `tco.heavy_by_hand` does with the chain written out, by position."""
    noop, step = tco.plain_noop, tco.plain_heavy_step
    while True:
        value = noop(noop(noop(noop(noop(noop(noop(noop(noop(noop(noop()))))))))))
        value = noop(noop(noop(noop(noop(noop(noop(noop(noop(noop(value))))))))))
        jump = step(n, value)
        if jump.target_key == "exit":
            return jump.data
        n = jump.data


def by_cascade(engine: cs.Engine, declare: Callable[[], Any]) -> Any:
    """Return what measures one run of a target; what declares it is not timed."""

    async def measured() -> float:
        target = declare()
        return await tco.seconds(engine.run(target))

    return measured


def by_hand(loop: Callable[[int], str], n: int) -> Callable[[], float]:
    return lambda: tco.seconds_by_hand(loop, n)


async def warm(name: str, declare: Any, loop: Any, n: int, nodes: int, least: float) -> list[Line]:
    """Compare a loop that has run before, at the tier that an engine chooses."""
    unit = "ns a node" if nodes > 1 else "ns an iteration"
    async with cs.Engine() as engine:
        await tco.calls_per_iteration(engine)
        target = declare(n)
        found = await pairs(by_cascade(engine, lambda: target), by_hand(loop, n), PAIRS)
    return [speed(f"{name}, warm", found, n * nodes, unit, least, later=True)]


@row("heavy")
async def heavy() -> list[Line]:
    """22 calls an iteration; interpreted, and then as an engine does it by default."""
    n = 10_000
    async with cs.Engine(tier="interpret") as engine:
        nodes = (await tco.calls_per_iteration(engine))["heavy"]
        assert nodes == tco.CHAIN + 1 == 22
        target = tco.heavy_loop(n)
        found = await pairs(by_cascade(engine, lambda: target), by_hand(tco.heavy_by_hand, n), PAIRS)
    lines = [speed("heavy, warm, interpreted", found, n * nodes, least=0.2)]
    lines += await warm("heavy", tco.heavy_loop, tco.heavy_by_hand, n, nodes, 1.0)
    async with cs.Engine() as engine:
        found = await pairs(by_cascade(engine, lambda: target), by_hand(by_hand_unrolled, n), PAIRS)
    return [*lines, speed("heavy, warm, to the unrolled loop", found, n * nodes)]


@row("heavy-fresh")
async def heavy_fresh() -> list[Line]:
    """The same with tasks that nobody has called before, 5,000 iterations; declared and run once."""
    n = 5_000

    async def ours() -> float:
        made: dict[str, Any] = {}
        exec(SOURCE, made)  # new functions: nothing is known of them
        start = time.perf_counter()
        async with cs.Engine() as engine:
            noop, step = cs.task(made["noop"]), cs.task(made["step"])
            result = await engine.run(tco.heavy_loop(n, step, noop))
        taken = time.perf_counter() - start
        assert result == "done"
        return taken

    found = await pairs(ours, by_hand(tco.heavy_by_hand, n), PAIRS)
    return [speed("heavy, fresh tasks, once", found, n * (tco.CHAIN + 1), least=0.5, later=True)]


SOURCE = """
from cascade import Jump
def noop(_dummy=None):
    return "done"
def step(n, _structure=None):
    if n <= 1:
        return Jump("exit", "done")
    return Jump("again", n - 1)
"""


@row("simple")
async def simple() -> list[Line]:
    """One call and one Jump an iteration."""
    return await warm("simple", tco.simple_loop, tco.simple_by_hand, 100_000, 1, 0.85)


@row("tail")
async def tail() -> list[Line]:
    """One call and one TailCall an iteration."""
    return await warm("tail", tco.tail_loop, tco.tail_by_hand, 100_000, 1, 1.0)
