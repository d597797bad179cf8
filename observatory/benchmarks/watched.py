"""The row about being looked at: what a run loses while a page shows it, in time of the processor.

The same run in the same process, on an engine that a page asks ten times a second and on one that nobody asks. Other
processes that are at work do not count; what the answers cost does.
"""

import threading
import time
from functools import partial
from typing import Any

import cascade as cs
from cascade.runtime.watching.told import tell
from observatory.benchmarks.harness import Line, pairs, row, speed

EVERY = 0.1
"""Seconds between two looks of a page."""
CALLS = 5_000
ENTRIES = 1_000_000
TURNS = 5_600
"""Turns of an empty loop, for a call that takes some 200 microseconds: with its beginning, 10,000 events a second."""


def work() -> int:
    total = 0
    for each in range(TURNS):
        total += each
    return total


@cs.task
def step(n: int) -> Any:
    work()
    return cs.Jump("again", n - 1) if n else cs.Jump("done", n)


@cs.task
def count(n: int) -> Any:
    return cs.Jump("again", n - 1) if n else cs.Jump("done", n)


@cs.task
def item(x: int) -> int:
    return work()


@cs.task
async def awaited(x: int) -> int:
    return work()


def looping(task: Any, n: int) -> Any:
    state = task(n)
    return cs.bind(state, cs.select_jump({"again": state, "done": None}))


TARGETS: dict[str, tuple[Any, int, float | None]] = {
    "a loop of 10,000 events a second": (looping(step, CALLS), CALLS, 0.95),
    "a map of 10,000 events a second": (item.map(x=range(CALLS)), CALLS, 0.95),
    "an async map of 10,000 events a second": (awaited.map(x=range(CALLS)), CALLS, 0.95),
    "a graph of 1,000 calls, 10,000 events a second": ([item(x) for x in range(1_000)], 1_000, None),
    "a hot loop of 1,000,000 entries": (looping(count, ENTRIES), ENTRIES, None),
}
"""What runs, how many calls that is, and the least share of the speed that is left."""


class Page(threading.Thread):
    """Asks an engine for what a page shows until it is closed."""

    def __init__(self, watch: Any) -> None:
        super().__init__(daemon=True)
        self.watch = watch
        self.closed = threading.Event()

    def run(self) -> None:
        while not self.closed.wait(EVERY):
            for each in tell(self.watch, {"part": "runs"})["runs"][:1]:
                tell(self.watch, {"part": "head", "run": each["run"]})


async def seconds(engine: cs.Engine, target: Any) -> float:
    begun = time.process_time()
    await engine.run(target)
    return time.process_time() - begun


@row("watched", processes=1)
async def watched() -> list[Line]:
    """Runs that a page shows, beside the same runs that nobody looks at."""
    lines = []
    for name, (target, calls, least) in TARGETS.items():
        async with cs.Engine() as seen, cs.Engine() as unseen:
            watch: Any = seen.watching()
            watch.look()
            page = Page(watch)
            page.start()
            ours, baseline = partial(seconds, seen, target), partial(seconds, unseen, target)
            found = await pairs(ours, baseline, 3)
            page.closed.set()
            page.join()
        lines.append(speed(f"looked at: {name}", found, calls, "us a call", least))
    return lines
