"""Rows about fast paths: a program that takes one, and the same declared and run without it.

The baseline is our own time without the path, so a ratio is what the path is worth. One that is worth less than 1.15
is to be deleted: it is a second copy of something.
"""

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import TaskExecutionFinished
from cascade.runtime.shortcuts import FastPath, without
from observatory.benchmarks import tco_performance as tco
from observatory.benchmarks.harness import Line, Pairs, row, speed
from observatory.benchmarks.loops import even, odd

PAIRS = 9
WORTH = 1.15

# --- what is called: functions of about a microsecond, as those of users are at the least


@cs.task
def read(text: str) -> int:
    number: int = json.loads(text)["n"]
    return number


@cs.task
def add(x: int, y: int = 1) -> int:
    return x + y


@cs.task
def wrapped(x: int) -> int:
    return (x + 1) % 8


CACHE = cs.cached()


@cs.task
def total(values: list[int]) -> int:
    return sum(values)


@cs.task
async def later(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@cs.task
def count(n: int) -> Any:
    return cs.Jump("again", n - 1) if n > 1 else cs.Jump("out", "done")


@cs.task
async def ask(n: int) -> Any:
    return cs.Jump("again", n - 1) if n > 1 else cs.Jump("out", "done")


@cs.task
def outer(n: int, inner: Any) -> Any:
    return cs.Jump("again", n - 1) if n > 1 else cs.Jump("out", inner)


# --- the shapes


def layered(width: int, layers: int) -> Any:
    """Declare layers of calls that each read JSON, or add what two of the layer before gave."""
    below = [read(json.dumps({"n": n})) for n in range(width)]
    for _ in range(layers - 1):
        below = [add(below[at - 1], below[at]) for at in range(width)]
    return total(below)


def chain(task: Any, length: int, value: Any) -> Any:
    for _ in range(length):
        value = task(value)
    return value


def branches() -> Any:
    """Declare 20 branches of 20 calls, a call under a policy, and 20 more."""
    middle = [chain(add, 20, at) for at in range(20)]
    return total([chain(add, 20, add(value).with_timeout(60)) for value in middle])


def within(value: int) -> Any:
    """Declare a sub-flow of 20 calls."""
    return cs.subflow(chain(add, 20, cs.Param("x", type=int)), {"x": value})


def loop(task: Any, *args: Any) -> Any:
    state = task(*args)
    return cs.bind(state, cs.select_jump({"again": state, "out": None}))


@cs.resource
def one() -> Iterator[int]:
    yield 1


add_one = cs.task(lambda x, y=cs.inject(one): x + y, name="add_one")


@cs.resource(scope="task")
def page() -> Iterator[io.StringIO]:
    with io.StringIO() as written:
        yield written


@cs.task
def print_on(x: int, out: Any = cs.inject(page)) -> int:
    print(x, file=out)
    return len(out.getvalue())


def held(x: Any) -> Any:
    return add(x).with_constraints(seat=1)


def remembered(x: Any) -> Any:
    return wrapped(x).with_cache(CACHE)


def items(many: int) -> Iterator[int]:
    yield from range(many)


# --- measuring

Work = Callable[[cs.Engine], Awaitable[int]]
"""Does the work once on an engine; returns how many units of it there were."""
T = TypeVar("T")


def afresh(make: Callable[[], Any], units: int, times: int = 1) -> Callable[[], Work]:
    """Return what declares a target anew and runs it, so many times."""

    async def work(engine: cs.Engine) -> int:
        for _ in range(times):
            await engine.run(make())
        return units * times

    return lambda: work


def again(make: Callable[[], Any], units: int, times: int = 1) -> Callable[[], Work]:
    """Return what runs a target that was declared before, so many times."""

    def declared() -> Work:
        target = make()

        async def work(engine: cs.Engine) -> int:
            for _ in range(times):
                await engine.run(target)
            return units * times

        return work

    return declared


def path(name: FastPath, what: str, make: Callable[[], Work], engine: Callable[[], cs.Engine] = cs.Engine) -> None:
    """Register the row of a path."""

    @row(f"path-{name.replace(' ', '-')}", processes=1)
    async def measured() -> list[Line]:
        units = 0
        async with engine() as ours, engine() as other:
            declared, found = make(), Pairs()

            async def taken(work: Work, on: cs.Engine) -> float:
                nonlocal units
                start = time.perf_counter()
                units = await work(on)
                return time.perf_counter() - start

            async def baseline() -> float:
                with without(name):
                    return await taken(bare, other)

            with without(name):
                bare = make()
            for at in range(PAIRS + 3):
                if at == 3:  # what pays off only when it is used has been used
                    found = Pairs()
                await found.add(lambda: taken(declared, ours), baseline)
        return [speed(f"worth of {name}: {what}", found, units, "us", least=WORTH)]

    measured.__module__ = __name__


def limited() -> cs.Engine:
    engine = cs.Engine()
    engine.set_limit("global", concurrency=100)
    return engine


def listened() -> cs.Engine:
    bus = MessageBus()
    bus.subscribe(TaskExecutionFinished, lambda event: None)
    return cs.Engine(bus=bus)


def interpreting() -> cs.Engine:
    return cs.Engine(tier="interpret")


def seated() -> cs.Engine:
    return cs.Engine(system_resources={"seat": 1})


def handing() -> cs.Engine:
    engine = cs.Engine()
    engine.register_blueprint("even", even(0))
    engine.register_blueprint("odd", odd(0))
    return engine


path("calls in the pass", "layers", afresh(lambda: layered(10, 20), 211, 40))
path("plain awaits", "4 in a row, 500 times", afresh(lambda: [chain(later, 4, at) for at in range(500)], 2_000))
path(
    "tickets in the driver", "2,000 for 100 places", afresh(lambda: [later(at) for at in range(2_000)], 2_000), limited
)
path("compiled flows", "layers", again(lambda: layered(10, 20), 211, 40))
path("shared flows", "layers, listened to", afresh(lambda: layered(4, 6), 25, 60), listened)
path("pieces", "20 branches", again(branches, 821, 5))
path("short entries", "heavy, interpreted", again(lambda: tco.heavy_loop(1_000), 22_000), interpreting)
path("compiled loops", "heavy", again(lambda: tco.heavy_loop(1_000), 22_000))
path("inner loops", "a loop in a loop", again(lambda: loop(outer, 500, loop(count, 20)), 10_000))
path("tail transitions", "even and odd", again(lambda: even(5_001), 5_001), handing)
path("shared transitions", "loops of 20", afresh(lambda: [loop(count, 20) for _ in range(500)], 10_000))
path("compiled starts", "loops of 20", afresh(lambda: [loop(ask, 20) for _ in range(500)], 10_000))
path("comprehensions", "20,000 items of a stream", afresh(lambda: add.map(x=items(20_000)), 20_000))
path(
    "maps in the pass",
    "20 of 3 items",
    afresh(lambda: total([total(add.map(x=[at, 1, 2])) for at in range(20)]), 81, 20),
)
path("maps in flows", "20 items", again(lambda: total(add.map(x=[total([at]) for at in range(20)])), 41, 200))
path("subflows in code", "20 calls each", again(lambda: total([within(at) for at in range(8)]), 161, 100))
path("resources at hand", "20 before a step", again(lambda: loop(outer, 50, chain(add_one, 20, 0)), 1_000))
path("own resources in the pass", "20 before a step", again(lambda: loop(outer, 50, chain(print_on, 20, 0)), 1_000))
path("room at hand", "20 before a step", again(lambda: loop(outer, 50, chain(held, 20, 0)), 1_000), seated)
path("results at hand", "20 before a step", again(lambda: loop(outer, 50, chain(remembered, 20, 0)), 1_000))
