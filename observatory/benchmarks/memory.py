"""Rows about loops that run for long: they must not grow."""

import gc
import os
import resource
import sys
import time
from typing import Any

import cascade as cs
from cascade.runtime.events import TaskEvent
from observatory.benchmarks.harness import Line, figure, row

SAMPLES = 50
WARM_UP = 10  # of the samples, these are not looked at


def resident() -> int:
    """Return the bytes of memory that this process has now, or has had at the most where only that is known."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class Watch:
    """Counts entries of a loop, and samples the memory of the process fifty times on the way."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.every = entries // SAMPLES
        self.seen: list[int] = []
        self.counts: dict[str, int] = {}

    def jump(self, n: int) -> cs.Jump:
        """Return what the step of a loop does next; to be called once an entry."""
        if n % self.every == 0:
            self.seen.append(resident())
        if n <= 1:
            return cs.Jump("exit", "done")
        return cs.Jump("again", n - 1)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def line(self, name: str, seconds: float) -> Line:
        assert len(self.seen) == SAMPLES
        drift = (max(self.seen[WARM_UP:]) - self.seen[WARM_UP]) / 1e6
        title = f"{self.entries:,} x {name} ({seconds / self.entries * 1e6:.2g} us)"
        return figure(title, drift, "MB of drift", most=2)


def looped(first: Any) -> Any:
    return cs.bind(first, cs.select_jump({"again": first, "exit": None}))


async def watched(name: str, watch: Watch, target: Any, engine: cs.Engine, **expected: int) -> list[Line]:
    """Run the loop once, see that everything happened as often as expected, and return how memory moved."""
    gc.collect()
    start = time.perf_counter()
    result = await engine.run(target)
    taken = time.perf_counter() - start
    assert result == "done"
    assert watch.counts == expected, watch.counts
    return [watch.line(name, taken)]


@row("memory-inline", processes=1)
async def inline() -> list[Line]:
    """Ten million iterations of a jump loop in place."""
    watch = Watch(10_000_000)

    @cs.task
    def step(n: int) -> Any:
        return watch.jump(n)

    async with cs.Engine() as engine:
        return await watched("inline loop", watch, looped(step(watch.entries)), engine)


@row("memory-async", processes=1)
async def async_body() -> list[Line]:
    """A step that is a coroutine and is fed by one."""
    watch = Watch(500_000)

    @cs.task
    async def feed() -> None:
        watch.count("feed")

    @cs.task
    async def step(n: int, fed: None) -> Any:
        return watch.jump(n)

    async with cs.Engine() as engine:
        target = looped(step(watch.entries, feed()))
        return await watched("async body", watch, target, engine, feed=watch.entries)


@row("memory-observed", processes=1)
async def observed() -> list[Line]:
    """Somebody listens to every event of every task."""
    watch = Watch(500_000)

    @cs.task
    def step(n: int) -> Any:
        return watch.jump(n)

    async with cs.Engine() as engine:
        engine.bus.subscribe(TaskEvent, lambda event: watch.count(type(event).__name__))
        target = looped(step(watch.entries))
        expected = {"TaskExecutionStarted": watch.entries, "TaskExecutionFinished": watch.entries}
        return await watched("observed loop", watch, target, engine, **expected)


@row("memory-map", processes=1)
async def mapped() -> list[Line]:
    """Each iteration maps over three items."""
    watch = Watch(500_000)

    @cs.task
    def item(x: int) -> int:
        watch.count("item")
        return x

    @cs.task
    def step(n: int, items: list[int]) -> Any:
        assert items == [1, 2, 3]
        return watch.jump(n)

    async with cs.Engine() as engine:
        target = looped(step(watch.entries, item.map(x=[1, 2, 3])))
        return await watched("map of 3 in a loop", watch, target, engine, item=3 * watch.entries)


@row("memory-retry", processes=1)
async def retried() -> list[Line]:
    """Each iteration calls a task under a retry; every tenth call fails and is made again."""
    watch = Watch(500_000)

    @cs.task(retry=2)
    def shaky() -> None:
        watch.count("shaky")
        if watch.counts["shaky"] % 10 == 0:
            raise OSError("again, please")

    @cs.task
    def step(n: int, fed: None) -> Any:
        return watch.jump(n)

    async with cs.Engine() as engine:
        target = looped(step(watch.entries, shaky()))
        calls = watch.entries + (watch.entries - 1) // 9  # each tenth call fails, so nine of ten count
        return await watched("retry in a loop", watch, target, engine, shaky=calls)
