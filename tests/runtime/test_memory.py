"""Loops run in constant memory: what an entry made is let go when the next one begins."""

import asyncio
import contextlib
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.frame import Frame
from tests.workflows import AGAIN, Body, Way, awaited, blocking, every_body, every_way, inline

FIRST, LAST = 2_000, 10_000 if AGAIN else 20_000


def loop(step: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


class Token:
    """A value whose life can be watched."""

    alive = 0

    def __init__(self) -> None:
        type(self).alive += 1
        weakref.finalize(self, self.end)

    @classmethod
    def end(cls) -> None:
        cls.alive -= 1


class Watch:
    """Reads how much memory is in use at two entries of a loop."""

    def __init__(self, way: Way, first: int = FIRST, last: int = LAST) -> None:
        self.way = way
        self.first = first
        self.last = last
        self.blocks: list[int] = []

    def __call__(self, n: int) -> bool:
        """Look at entry `n`; say whether to go on."""
        if n % 500 == 0:
            self.way.events.clear()
        if n in (self.first, self.last):
            gc.collect()
            self.blocks.append(sys.getallocatedblocks())
        return n < self.last

    @property
    def growth(self) -> int:
        """How many more blocks of memory were in use at the last look than at the first."""
        first, last = self.blocks
        return last - first


@every_way
@every_body
def test_values_of_earlier_entries_are_let_go(way: Way, body: Body) -> None:
    most = [0]
    Token.alive = 0

    @body
    def feed() -> Token:
        return Token()

    @body
    def step(n: int, fed: Token, sent: Token | None = None) -> Any:
        del fed, sent
        most[0] = max(most[0], Token.alive)
        return cs.Jump("again", {"n": n + 1, "sent": Token()}) if n < 300 else "done"

    assert way.run(loop(step(0, feed()))) == "done"
    assert most[0] <= 10
    gc.collect()
    assert Token.alive == 0


@every_way
@every_body
def test_frames_of_earlier_entries_are_let_go(way: Way, body: Body) -> None:
    most = [0]

    @body
    def feed(x: int) -> int:
        return x

    @body
    def step(n: int, fed: Any) -> Any:
        if n in (10, 60, 200):
            most[0] = max(most[0], sum(type(one) is Frame for one in gc.get_objects()))
        return cs.Jump("again", {"n": n + 1}) if n < 200 else "done"

    router = cs.Router("a", {"a": feed(1), "b": feed(2)})
    gc.collect()
    before = sum(type(one) is Frame for one in gc.get_objects())
    assert way.run(loop(step(0, [feed(feed(1)), router]).run_if(feed(1)))) == "done"
    assert most[0] - before <= 4
    gc.collect()
    assert sum(type(one) is Frame for one in gc.get_objects()) <= before


@every_way
@pytest.mark.parametrize("kind", ["step", "chain", "states", "gated", "routed", "async", "names", "nested", "item"])
def test_a_long_loop_takes_no_more_memory_than_a_short_one(way: Way, kind: str) -> None:
    watch = Watch(way, last=LAST // 4 if kind == "nested" else LAST)

    @inline
    def feed(x: Any) -> Any:
        return x

    @inline
    def step(n: int = 0, fed: Any = None, **rest: Any) -> Any:
        return cs.Jump("again", {"n": n + 1}) if watch(n) else "done"

    @inline
    def naming(n: int = 0, **rest: Any) -> Any:
        return cs.Jump("again", {"n": n + 1, f"k{n}": n}) if watch(n) else "done"

    @cs.task
    async def awaiting(n: int) -> Any:
        if n % 100 == 0:
            await asyncio.sleep(0)
        return cs.Jump("again", n + 1) if watch(n) else "done"

    @inline
    def inner(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 3 else n

    ping, pong = step(), step()
    cs.bind(ping, cs.select_jump({"again": pong}))
    cs.bind(pong, cs.select_jump({"again": ping}))
    targets: dict[str, Callable[[], Any]] = {
        "step": lambda: loop(step()),
        "chain": lambda: loop(step(0, feed(feed(feed(1))))),
        "states": lambda: ping,
        "gated": lambda: loop(step(0, feed(1).run_if(feed(0), otherwise=feed(2))).run_if(feed(1))),
        "routed": lambda: loop(step(0, cs.Router(feed("a"), {"a": feed(1), "b": feed(2)}))),
        "async": lambda: loop(awaiting(0)),
        "names": lambda: loop(naming()),
        "nested": lambda: loop(step(0, loop(inner(0)))),
        "item": lambda: loop(awaiting.map(n=[0])),
    }
    assert way.run(targets[kind]()) in ("done", ["done"])
    assert watch.growth < 300


@every_way
@pytest.mark.parametrize("body", [blocking, awaited], ids=lambda body: body.__name__)
def test_a_long_loop_of_threads_or_turns(way: Way, body: Body) -> None:
    watch = Watch(way, 300, 1500)

    @body
    def feed() -> int:
        return 1

    @body
    def step(n: int, fed: int) -> Any:
        return cs.Jump("again", {"n": n + 1}) if watch(n) else "done"

    assert way.run(loop(step(0, feed()))) == "done"
    assert watch.growth < 300


@every_way
def test_many_loops_one_after_the_other(way: Way) -> None:
    watch = Watch(way, 50, 250)

    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 40 else n

    async def main() -> None:
        async with way.engine() as engine:
            for n in range(251):
                assert await engine.run(loop(step(0))) == 40
                way.events.clear()
                watch(n)

    asyncio.run(main())
    assert watch.growth < 400


@every_way
def test_the_result_of_a_loop_is_kept_no_longer_than_it_is_needed(way: Way) -> None:
    Token.alive = 0
    seen = []

    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 40 else cs.Jump("exit", Token())

    @inline
    def reader(token: Token) -> str:
        return "read"

    async def main() -> None:
        async with way.engine() as engine:
            assert await engine.run(reader(loop(step(0)))) == "read"
            gc.collect()
            seen.append(Token.alive)

    asyncio.run(main())
    assert seen == [0]


@every_way
def test_a_loop_that_failed_is_let_go(way: Way) -> None:
    Token.alive = 0

    @inline
    def step(n: int, sent: Token | None = None) -> Any:
        if n == 40:
            raise ArithmeticError
        return cs.Jump("again", {"n": n + 1, "sent": Token()})

    with pytest.raises(ArithmeticError) as caught:
        way.run(loop(step(0)))
    del caught
    gc.collect()
    assert Token.alive == 0


# --- a run that is over


@inline
def made(i: int = 0) -> Token:
    return Token()


@awaited
def made_later(i: int = 0) -> Token:
    return Token()


@inline
def passed(token: Any) -> Token:
    return Token()


@awaited
def passed_later(token: Any) -> Token:
    return Token()


@inline
def number(token: Any) -> int:
    return 1


@inline
def failing(token: Any) -> int:
    raise ValueError("failed")


@awaited
def failing_later(token: Any) -> int:
    raise ValueError("failed")


@cs.task
async def endless(token: Any) -> None:
    await asyncio.sleep(3600)


def loop_of_tokens() -> Any:
    @inline
    def step(n: int, token: Any, sent: Any = None) -> Any:
        return cs.Jump("again", {"n": n + 1, "sent": Token()}) if n < 40 else 1

    return loop(step(0, made()))


def loop_of_tokens_later() -> Any:
    @awaited
    def step(n: int, token: Any, sent: Any = None) -> Any:
        return cs.Jump("again", {"n": n + 1, "sent": Token()}) if n < 40 else 1

    return loop(step(0, made_later()))


FLOWS: dict[str, Callable[[], Any]] = {
    "chain": lambda: number(passed(made())),
    "chain of coroutines": lambda: number(passed_later(made_later())),
    "containers": lambda: number([made(), {"a": made_later()}, (made(),)]),
    "router": lambda: number(cs.Router(number(1), {1: passed(made()), 2: made()})),
    "gated": lambda: number(passed(made()).run_if(number(1), otherwise=made())),
    "skipped": lambda: number(passed(made()).run_if(inline(lambda: 0)(), otherwise=made_later())),
    "sub-flow": lambda: number(cs.subflow(passed(made()))),
    "sub-flow with policies": lambda: number(cs.subflow(passed_later(made_later()).with_retry(2)).with_timeout(60)),
    "policies": lambda: number(passed(made()).with_retry(2).with_timeout(60)),
    "map of a map": lambda: number(passed.map(token=made.map(i=range(5)))),
    "map of a map, side by side": lambda: number(
        passed_later.map(token=made_later.map(i=range(5), concurrency=2), concurrency=2)
    ),
    "skipping map": lambda: number(failing.map(token=made.map(i=range(4)), on_error="skip")),
    "loop": loop_of_tokens,
    "loop of coroutines": loop_of_tokens_later,
    "failure": lambda: failing(passed(made())),
    "failure of a coroutine": lambda: [failing_later(made_later()), passed_later(made_later()), endless(made())],
    "failure under policies": lambda: failing(passed(made())).with_retry(2),
    "failure in a sub-flow": lambda: cs.subflow(failing_later(passed(made_later()))).with_timeout(60),
    "failure in a map": lambda: failing.map(token=made.map(i=range(4))),
    "failure in a map, side by side": lambda: failing_later.map(token=made_later.map(i=range(4)), concurrency=2),
    "cancelled": lambda: endless(passed(made())),
    "cancelled in a map": lambda: endless.map(token=made.map(i=range(4))),
    "cancelled in a sub-flow": lambda: cs.subflow(endless(made_later())),
}


async def _left_over(engine: cs.Engine, flow: Any, is_cancelled: bool) -> int:
    """Return how many tokens are left as soon as a run is over, without the cyclic collector."""
    Token.alive = 0
    run = engine.start(flow)
    if is_cancelled:
        while not Token.alive:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        run.cancel()
    with contextlib.suppress(ValueError, asyncio.CancelledError):
        await run
    del run
    await asyncio.sleep(0)
    return Token.alive


@every_way
def test_a_run_that_is_over_leaves_no_circle_that_holds_values(way: Way) -> None:
    async def run() -> dict[str, int]:
        left = {}
        async with way.engine() as engine:
            for name, made_anew in FLOWS.items():
                flow = made_anew()
                for _ in range(2):
                    left[name] = await _left_over(engine, flow, name.startswith("cancelled"))
                    way.events.clear()
        return {name: count for name, count in left.items() if count}

    gc.collect()
    gc.disable()
    try:
        assert not asyncio.run(run())
    finally:
        gc.enable()
        gc.collect()


# --- a run that goes on


@inline
def alive(before: Any) -> int:
    del before
    return Token.alive


@inline
def both(one: Any, other: Any) -> Token:
    return Token()


def chained(step: Callable[[Any], Any], first: Any, count: int = 100) -> Any:
    for _ in range(count):
        first = step(first)
    return first


def one_for_many(first: Any, step: Any) -> Any:
    return [number(step(first)) for _ in range(20)]


def diamond() -> Any:
    top, late = made(), made_later()
    return both(both(passed(top), late), both(passed_later(top), passed(late)))


GOING_ON: dict[str, Callable[[], Any]] = {
    "chain": lambda: chained(passed, made()),
    "chain of coroutines": lambda: chained(passed_later, made_later()),
    "ladder": lambda: chained(lambda token: both(token, token), made()),
    "diamond": diamond,
    "one for many": lambda: one_for_many(made(), passed),
    "one for many coroutines": lambda: one_for_many(made_later(), passed_later),
    "gated": lambda: chained(lambda token: passed(token).run_if(number(token)), made()),
    "in a row": lambda: chained(lambda token: passed(1).after(number(token)), made()),
    "policies": lambda: chained(lambda token: passed_later(token).with_retry(2), made()),
    "containers": lambda: chained(lambda token: passed([token, {"a": token}]), made_later()),
    "sub-flow": lambda: cs.subflow(chained(passed, made_later())),
    "sub-flows": lambda: chained(lambda token: cs.subflow(passed(cs.Param("t")), {"t": token}), made()),
}


@every_way
@pytest.mark.parametrize("name", GOING_ON)
def test_a_value_is_let_go_after_its_last_reader(way: Way, name: str) -> None:
    gc.collect()
    Token.alive = 0
    gc.disable()
    try:
        assert way.run(alive(GOING_ON[name]())) <= 4
    finally:
        gc.enable()


@every_way
def test_a_map_of_a_map_lets_go_of_what_it_has_read(way: Way) -> None:
    gc.collect()
    Token.alive = 0
    gc.disable()
    try:
        inner = passed_later.map(token=made_later.map(i=range(100)))
        assert way.run(alive(passed_later.map(token=inner))) <= 104
    finally:
        gc.enable()
