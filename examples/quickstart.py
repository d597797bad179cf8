"""Gather temperatures from weather stations and report on them. Takes about two seconds.

The stations are made up and answer from this very file; the rest is as it would be. There is a loop (the
directory of stations comes page by page), a map (each station is read, four at a time), a retry (one line is
bad), a condition (a warning, if it is freezing), a parameter, and progress while it runs.
"""

import asyncio
import time

import cascade as cs
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskRetrying, TaskSkipped

STATIONS = {
    "Accra": [31, 30, 28],
    "Bergen": [4, 6, 5],
    "Cusco": [12, 17, 9],
    "Dakar": [27, 29, 25],
    "Lhasa": [2, 8, -1],
    "Nuuk": [-11, -9, -12],
    "Osaka": [16, 18, 15],
    "Perth": [21, 26, 19],
    "Quito": [13, 18, 11],
    "Tunis": [19, 23, 17],
}
PAGE = 4
began = time.time()
calls = dict.fromkeys(STATIONS, 0)


# A task is a plain function. Calling one runs nothing: it declares a node of a graph.


@cs.task
async def directory(page: int = 0, found: tuple[str, ...] = ()) -> list[str] | cs.Jump:
    await asyncio.sleep(0.2)
    names = list(STATIONS)[page * PAGE : (page + 1) * PAGE]
    found = (*found, *names)
    if len(names) == PAGE:  # there may be more: come back here with these arguments
        return cs.Jump("next page", {"page": page + 1, "found": found})
    return list(found)


@cs.task
async def read(station: str) -> list[int]:
    calls[station] += 1
    await asyncio.sleep(0.2 + 0.03 * len(station))
    if station == "Nuuk" and calls[station] == 1:
        raise ConnectionError("the line to Nuuk is down")
    return STATIONS[station]


@cs.task
def averages(stations: list[str], readings: list[list[int]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in zip(stations, readings, strict=True)}


@cs.task
def table(means: dict[str, float]) -> str:
    return "\n".join(f"{name:<8}{mean:6.1f} °C" for name, mean in means.items())


@cs.task
def any_below(means: dict[str, float], limit: float) -> bool:
    return min(means.values()) < limit


@cs.task
def add_warning(report: str, limit: float) -> str:
    return f"{report}\n\nWarning: below {limit:g} °C somewhere."


def declare() -> cs.LazyResult[str]:
    limit = cs.Param("limit", default=0.0)
    stations = directory()
    cs.bind(stations, cs.select_jump({"next page": stations}))
    readings = read.map(station=stations, concurrency=4).with_retry(max_attempts=3, delay=0.1)
    means = averages(stations, readings)
    return add_warning(table(means), limit).run_if(any_below(means, limit))  # skipped, it gives the table as it is


def show(event: TaskEvent) -> None:
    match event:
        case TaskExecutionFinished():
            news = f"{event.status.lower()} after {event.duration:.3f} s"
        case TaskRetrying():
            news = f"attempt {event.attempt} failed ({event.error}); again in {event.delay:g} s"
        case TaskSkipped():
            news = f"skipped: {event.reason}"
        case _:
            return
    entry = f", entry {event.iteration + 1}" if event.iteration else ""
    print(f"{event.timestamp - began:5.2f} s  {event.task_id + entry:<22} {news}")


async def main() -> None:
    async with cs.Engine() as engine:
        engine.bus.subscribe(TaskEvent, show)
        report = await engine.run(declare(), {"limit": 5.0})
    print(f"\n{report}")


if __name__ == "__main__":
    asyncio.run(main())
