"""Loops run in constant memory: what an entry made is let go when the next one begins."""

import asyncio
import contextlib
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.frames.frame import Frame
from tests.workflows import Body, Way, awaited, blocking, every_body, every_way, inline

FIRST, LAST = 2_000, 8_000


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
    end = time.monotonic() + 10
    while Token.alive and time.monotonic() < end:  # a thread may still be on its way out of its last call
        gc.collect()
        time.sleep(0.01)
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
    watch = Watch(way, last=LAST // 2 if kind == "nested" else LAST)

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
    for _ in range(3):  # a thread that others have left behind may allocate meanwhile; what stays does so each time
        watch.blocks.clear()
        assert way.run(targets[kind]()) in ("done", ["done"])
        if watch.growth < (watch.last - watch.first) / 60:
            break
    assert watch.growth < (watch.last - watch.first) / 60  # a block that stays at each entry would be 60 times that


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
    watch = Watch(way, 50, 1250)

    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n + 1) if n < 40 else n

    async def main() -> None:
        async with way.engine() as engine:
            for n in range(1251):
                assert await engine.run(loop(step(0))) == 40
                way.events.clear()
                watch(n)

    asyncio.run(main())
    assert watch.growth < 1000  # of a block a run; code for a loop may be made anew meanwhile, which is some 230


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


@awaited
def failing_with_cause(token: Any) -> None:
    try:
        failing.func(token)
    except ValueError as error:
        raise ValueError from error


@blocking
def failing_in_thread(token: Any) -> None:
    raise ValueError("failed")


@cs.task
async def unruly(token: Any) -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ValueError("failed on its way out") from None


@cs.task
async def running_inside(token: Any) -> Any:
    return await cs.arun(failing_later(made()).with_retry(2))


@blocking
def running_in_thread(token: Any) -> Any:
    return cs.run(failing_later(made()))


@cs.resource
async def store() -> Any:
    yield Token()


@cs.resource
def broken() -> Any:
    token = Token()
    raise ValueError("no set-up")
    yield token


@cs.resource(scope="engine")
async def broken_kept() -> Any:
    token = Token()
    raise ValueError("no set-up")
    yield token


@cs.resource
async def unclean() -> Any:
    token = Token()
    yield token
    raise ValueError("no teardown")


RESOURCES = [store, broken, broken_kept, unclean]


@cs.task
async def wanting(token: Any, it: Any = cs.inject("store")) -> int:
    return 1


@cs.task
async def failing_beside(token: Any, it: Any = cs.inject("store")) -> None:
    raise ValueError("failed")


@cs.task
async def endless_beside(token: Any, it: Any = cs.inject("store")) -> None:
    await asyncio.sleep(3600)


@cs.task
async def wanting_broken(token: Any, it: Any = cs.inject("broken")) -> None: ...


@cs.task
async def wanting_broken_kept(token: Any, it: Any = cs.inject("broken_kept")) -> None: ...


@cs.task
async def wanting_unclean(token: Any, it: Any = cs.inject("unclean")) -> None: ...


def failing_loop(body: Body) -> Any:
    @body
    def step(n: int, token: Any, sent: Any = None) -> Any:
        if n == 20:
            raise ValueError("failed")
        return cs.Jump("again", {"n": n + 1, "sent": Token()})

    return loop(step(0, made()))


def deep(flow: Any) -> Any:
    for _ in range(20):
        flow = cs.subflow(flow)
    return flow


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
    "failure under a timeout": lambda: failing_later(made()).with_timeout(60),
    "failure in a thread": lambda: failing_in_thread(made()).with_retry(2),
    "failures in threads": lambda: failing_in_thread.map(token=made.map(i=range(4))),
    "failure of two and a group": lambda: [failing_later(made_later()) for _ in range(3)],
    "failure with a cause": lambda: failing_with_cause(made()),
    "failure under constraints": lambda: [failing_later(made()).with_constraints(gpu=1) for _ in range(3)],
    "failure behind a cache": lambda: failing_later(made()).with_cache(cs.cached()),
    "failure of a router": lambda: number(cs.Router(number(1), {1: failing_later(made()), 2: made()})),
    "failure of a gate": lambda: number(passed(made()).run_if(failing_later(made()), otherwise=made())),
    "failure of a sub-flow under policies": lambda: cs.subflow(failing_later(made()).with_timeout(9)).with_retry(2),
    "failure deep down": lambda: deep(failing_later(passed(made()))),
    "failure of a loop": lambda: failing_loop(inline),
    "failure of a loop of coroutines": lambda: failing_loop(awaited),
    "failure of a loop in a sub-flow": lambda: cs.subflow(failing_loop(awaited)),
    "failure beside a resource": lambda: failing_beside(made()),
    "failure of a set-up": lambda: wanting_broken(made()),
    "failure of a kept set-up": lambda: wanting_broken_kept(made()),
    "failure of a teardown": lambda: wanting_unclean(made()),
    "failure of a run inside": lambda: running_inside(made()),
    "failure of a run inside a thread": lambda: running_in_thread(made()),
    "resource": lambda: wanting(made()),
    "no value": lambda: passed(made()).run_if(inline(lambda: 0)()),
    "too late": lambda: endless(made()).with_timeout(0.0005),
    "too late, and fails": lambda: unruly(made()).with_timeout(0.0005),
    "too late twice": lambda: endless(made()).with_timeout(0.0005).with_retry(2),
    "too late in a sub-flow": lambda: cs.subflow(unruly(made())).with_timeout(0.0005).with_retry(2),
    "too late in a map": lambda: endless.map(token=made.map(i=range(4)), on_error="collect").with_timeout(0.0005),
    "collecting map": lambda: failing.map(token=made.map(i=range(4)), on_error="collect"),
    "collecting map of coroutines": lambda: failing_later.map(token=made_later.map(i=range(4)), on_error="collect"),
    "collecting map under policies": lambda: failing.map(token=[made(), made()], on_error="collect").with_retry(2),
    "collecting map that is read": lambda: passed.map(
        token=failing_later.map(token=made.map(i=range(4)), concurrency=2, on_error="collect")
    ),
    "failure in the middle of maps": lambda: passed_later.map(token=failing_later.map(token=made.map(i=range(4)))),
    "cancelled": lambda: endless(passed(made())),
    "cancelled, and fails": lambda: [unruly(made()), unruly(made())],
    "cancelled under policies": lambda: endless(made()).with_timeout(60).with_retry(3),
    "cancelled in a sub-flow under policies": lambda: cs.subflow(unruly(made())).with_timeout(60).with_retry(2),
    "cancelled beside a resource": lambda: endless_beside(made()),
    "cancelled in a map": lambda: endless.map(token=made.map(i=range(4))),
    "cancelled in a sub-flow": lambda: cs.subflow(endless(made_later())),
}


Begin = Callable[[cs.Engine, Any], Any]


async def by_start(engine: cs.Engine, flow: Any) -> None:
    with contextlib.suppress(*ENDS):
        await engine.start(flow)  # a name for it here would itself make a circle with an error


async def by_run(engine: cs.Engine, flow: Any) -> None:
    with contextlib.suppress(*ENDS):
        await engine.run(flow)


async def by_arun(engine: cs.Engine, flow: Any) -> None:
    with contextlib.suppress(*ENDS):
        await cs.arun(flow, resources=engine.resources.values(), system_resources={"gpu": 1})


async def by_start_cancelled(engine: cs.Engine, flow: Any) -> None:
    run = engine.start(flow)
    await _until_it_waits()
    run.cancel()
    with contextlib.suppress(*ENDS):
        await run


async def by_run_cancelled(engine: cs.Engine, flow: Any) -> None:
    task = asyncio.ensure_future(engine.run(flow))
    await _until_it_waits()
    task.cancel()
    with contextlib.suppress(*ENDS):
        await task


async def by_run_too_late(engine: cs.Engine, flow: Any) -> None:
    with contextlib.suppress(*ENDS):
        await engine.run(flow, timeout=0.0005)


async def _until_it_waits() -> None:
    while not Token.alive:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)


ENDS = (ValueError, asyncio.CancelledError, TimeoutError, cs.CascadeError)
BEGINS: list[Begin] = [by_start, by_run, by_arun]
CANCELS: list[Begin] = [by_start_cancelled, by_run_cancelled, by_run_too_late]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


async def _settled() -> int:
    """Return how many tokens are left, once worker threads have let go of what they had."""
    for _ in range(200):
        await asyncio.sleep(0)
        if not Token.alive:
            break
        if threading.active_count() > 1:
            await asyncio.sleep(0.001)
    return Token.alive


@every_way
@pytest.mark.parametrize("is_cancelled", [False, True], ids=["ended", "cancelled"])
def test_a_run_that_is_over_leaves_no_circle_that_holds_values(way: Way, is_cancelled: bool) -> None:
    async def run() -> dict[str, int]:
        left = {}
        async with way.engine() as engine:
            for resource in RESOURCES:
                engine.register(resource)
            for name, made_anew in FLOWS.items():
                if name.startswith("cancelled") is not is_cancelled:
                    continue
                flow = made_anew()
                begins = CANCELS if is_cancelled else BEGINS
                for begin in begins if way.tier != "auto" else begins[1:2]:
                    Token.alive = 0
                    await begin(engine, flow)
                    way.events.clear()
                    if count := await _settled():
                        left[f"{name}, {begin.__name__}"] = count
                        gc.collect()
        return left

    with without_collector():
        assert not asyncio.run(run())


def test_a_run_from_synchronous_code_leaves_none_either() -> None:
    left = {}
    with without_collector():
        for name, made_anew in FLOWS.items():
            flow = made_anew()
            if not name.startswith("cancelled") and "thread" not in name:
                Token.alive = 0
                with contextlib.suppress(*ENDS):
                    cs.run(flow, resources=RESOURCES, system_resources={"gpu": 1}, log_level="SILENT")
                if Token.alive:
                    left[name] = Token.alive
                    gc.collect()
    assert not left


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


def ladder(first: Any) -> Any:
    return chained(lambda token: both(token, passed(token)), first)


def one_for_many(first: Any, step: Any) -> Any:
    return [number(step(first)) for _ in range(20)]


def diamond() -> Any:
    top, late = made(), made_later()
    return both(both(passed(top), late), both(passed_later(top), passed(late)))


GOING_ON: dict[str, Callable[[], Any]] = {
    "chain": lambda: chained(passed, made()),
    "chain of coroutines": lambda: chained(passed_later, made_later()),
    "ladder": lambda: chained(lambda token: both(token, token), made()),
    "ladders around a wait": lambda: ladder(passed_later(ladder(made()))),
    "ladders beside a wait": lambda: ladder(both(passed_later(made()), ladder(made()))),
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


@every_way
@pytest.mark.parametrize("body", [inline, awaited], ids=lambda body: body.__name__)
def test_a_stream_through_a_chain_of_maps_holds_two_windows_a_map(way: Way, body: Body) -> None:
    most = [0]

    @body
    def last(token: Any) -> int:
        most[0] = max(most[0], Token.alive)
        return 1

    first, middle = (made, passed) if body is inline else (made_later, passed_later)
    Token.alive = 0
    with without_collector():
        mapped = middle.map(token=first.map(i=iter(range(300)), window=8), window=8)
        assert way.run(last.map(token=mapped, window=8)) == [1] * 300
    assert most[0] <= 3 * 2 * 8
