"""The row about watching: the heavy loop while somebody listens to every event of every task."""

import time
from collections.abc import Callable
from typing import Any

import cascade as cs
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, pairs, row, speed

NODES = tco.CHAIN + 1

# --- events by hand: the same fields; what is the same in all events of a node is in its site, and the id is derived


class Site:
    __slots__ = ("run_id", "task_id", "task_name")

    def __init__(self, run_id: str, task_id: str, task_name: str) -> None:
        self.run_id = run_id
        self.task_id = task_id
        self.task_name = task_name


class Started:
    __slots__ = ("iteration", "site", "timestamp")

    def __init__(self, site: Site, timestamp: float, iteration: int) -> None:
        self.site = site
        self.timestamp = timestamp
        self.iteration = iteration

    @property
    def event_id(self) -> str:
        return f"{type(self).__name__}:{self.site.task_id}:{self.iteration}"


class Finished(Started):
    __slots__ = ("duration", "error", "result_preview", "status")

    def __init__(
        self,
        site: Site,
        timestamp: float,
        iteration: int,
        status: str,
        duration: float,
        error: str | None = None,
        result_preview: str | None = None,
    ) -> None:
        self.site = site
        self.timestamp = timestamp
        self.iteration = iteration
        self.status = status
        self.duration = duration
        self.error = error
        self.result_preview = result_preview


def heavy_by_hand(n: int, run_id: str, handler: Callable[[Any], None]) -> str:
    """Do what `tco.heavy_by_hand` does, and tell the handler of the start and the end of each call."""
    now, clock, noop, step = time.time, time.perf_counter, tco.plain_noop, tco.plain_heavy_step
    first, *rest = [Site(run_id, f"noop#{number}", "noop") for number in range(1, NODES)]
    last = Site(run_id, "heavy_step#1", "heavy_step")
    iteration = 0
    while True:
        handler(Started(first, now(), iteration))
        begin = clock()
        value = noop()
        duration = clock() - begin
        handler(Finished(first, now(), iteration, "Succeeded", duration))
        for site in rest:
            handler(Started(site, now(), iteration))
            begin = clock()
            value = noop(_dummy=value)
            duration = clock() - begin
            handler(Finished(site, now(), iteration, "Succeeded", duration))
        handler(Started(last, now(), iteration))
        begin = clock()
        jump = step(n, _structure=value)
        duration = clock() - begin
        handler(Finished(last, now(), iteration, "Succeeded", duration))
        if jump.target_key == "exit":
            return jump.data
        n = jump.data
        iteration += 1


# --- measuring


def same_events(ours: list[Any], by_hand: list[Any], n: int) -> None:
    """See that both told the same, in the same order, and everything."""
    assert len(ours) == len(by_hand) == 2 * NODES * n
    for event, other in zip(ours, by_hand, strict=True):
        site = other.site
        assert isinstance(event, TaskExecutionFinished if type(other) is Finished else TaskExecutionStarted)
        assert (event.task_id, event.task_name, event.iteration) == (site.task_id, site.task_name, other.iteration)
        assert event.timestamp > 0 < other.timestamp
        if isinstance(event, TaskExecutionFinished):
            assert (event.status, event.error) == (other.status, other.error)
            assert event.duration > 0 < other.duration


@row("observed")
async def heavy_observed() -> list[Line]:
    """22 calls an iteration, one subscriber that counts the start and the end of each."""
    n = 2_000
    target = tco.heavy_loop(n)
    seen = 0

    def count(_: Any) -> None:
        nonlocal seen
        seen += 1

    def counted(taken: float) -> float:
        nonlocal seen
        assert seen == 2 * NODES * n, seen
        seen = 0
        return taken

    def baseline() -> float:
        return counted(tco.seconds_by_hand(lambda entries: heavy_by_hand(entries, "run-1", count), n))

    async with cs.Engine() as engine:
        await engine.run(target)
        engine.bus.subscribe(TaskEvent, count)

        async def ours() -> float:
            return counted(await tco.seconds(engine.run(target)))

        found = await pairs(ours, baseline, 15)
    told: tuple[list[Any], list[Any]] = ([], [])
    async with cs.Engine() as engine:
        await engine.run(target)
        engine.bus.subscribe(TaskEvent, told[0].append)
        await engine.run(target)
    heavy_by_hand(n, "run-1", told[1].append)
    same_events(*told, n)
    return [speed("heavy loop, every task event counted", found, n * NODES, least=0.8)]
