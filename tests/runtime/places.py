"""Places where a run may be when something ends it, ways to cancel it there, and calls that are stuck in threads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.workflows import turns

PLACES = [
    "async",
    "async that minds its end",
    "thread",
    "auto",
    "async loop",
    "inline loop",
    "tail calls",
    "thread loop",
    "feed of a loop",
    "map",
    "map with concurrency",
    "inline map",
    "map of loops",
    "loop around a map",
    "sub-flow",
    "retry wait",
    "constraints",
    "constraints of items",
    "async set-up",
    "sync set-up",
    "async task set-up",
    "iterable of a map",
]


class Scene:
    """A target that comes to some place and stays there for ever, threads until `release` is set."""

    def __init__(self, place: str) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.ended = self.minding = 0
        self.target = self._targets()[place]()

    async def until_begun(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0)

    def _targets(self) -> dict[str, Callable[[], Any]]:
        @cs.task
        async def stay(x: int = 0) -> None:
            self.begun.set()
            await asyncio.Event().wait()

        @cs.task
        async def stay_and_end(x: int = 0) -> None:
            self.begun.set()
            self.minding += 1
            try:
                await asyncio.Event().wait()
            finally:
                await turns(3)
                self.ended += 1

        def block(x: int = 0) -> None:
            self.begun.set()
            self.release.wait()

        @cs.task
        async def ping(x: int) -> cs.Jump:
            if x > 100:
                self.begun.set()
            await asyncio.sleep(0)
            return cs.Jump("again", x + 1)

        def spin(x: int) -> cs.Jump:
            if x > (1000 if threading.current_thread() is threading.main_thread() else 50):
                self.begun.set()
            return cs.Jump("again", x + 1)

        @cs.task(mode="inline")
        def tail(x: int) -> cs.TailCall:
            if x > 1000:
                self.begun.set()
            return cs.TailCall(args=[x + 1])

        @cs.task(mode="inline")
        def fed(x: Any, n: int) -> cs.Jump:
            return cs.Jump("again", {"n": n + 1})

        @cs.task(mode="inline")
        def count(x: int) -> int:
            if x > 1000:
                self.begun.set()
            return x

        def endless() -> Iterator[int]:
            x = 0
            while not self.release.is_set():
                yield (x := x + 1)

        async def endless_async() -> AsyncIterator[int]:
            for x in endless():
                if x > 100:
                    self.begun.set()
                await asyncio.sleep(0)
                yield x

        @cs.task
        async def fail() -> None:
            self.begun.set()
            raise ConnectionError

        @cs.task
        async def use(it: Any) -> None: ...

        async def never() -> AsyncIterator[None]:
            self.begun.set()
            await asyncio.Event().wait()
            yield

        @cs.resource
        def blocked() -> Iterator[None]:
            block()
            yield

        def loop(target: Any) -> Any:
            return cs.bind(target, cs.select_jump({"again": target, "exit": None}))

        inline, threaded = cs.task(mode="inline")(spin), cs.task(mode="blocking")(spin)

        def around_a_map() -> Any:
            @cs.task
            async def step(n: int, items: Any) -> cs.Jump:
                return cs.Jump("again", {"n": n + 1})

            @cs.task
            async def item(x: int) -> int:
                if x:
                    self.begun.set()
                await asyncio.sleep(0)
                return x

            return loop(step(0, item.map(x=[1, 2])))

        return {
            "async": lambda: stay(),
            "async that minds its end": lambda: [stay_and_end(), stay_and_end(1)],
            "thread": lambda: cs.task(mode="blocking", name="block")(block)(),
            "auto": lambda: cs.task(name="block")(block)(),
            "async loop": lambda: loop(ping(0)),
            "inline loop": lambda: loop(inline(0)),
            "tail calls": lambda: tail(0),
            "thread loop": lambda: loop(threaded(0)),
            "feed of a loop": lambda: loop(fed(stay(), 0)),
            "map": lambda: stay.map(x=range(100)),
            "map with concurrency": lambda: stay.map(x=range(100), concurrency=3),
            "inline map": lambda: count.map(x=range(10_000_000)),
            "map of loops": lambda: loop(ping.map(x=[1, 2, 3])),
            "loop around a map": around_a_map,
            "sub-flow": lambda: cs.subflow([stay(), cs.subflow(stay())]),
            "retry wait": lambda: fail().with_retry(9, delay=3600),
            "constraints": lambda: [stay(n).with_constraints(seat=1) for n in range(3)],
            "constraints of items": lambda: stay.map(x=range(3)).with_constraints(seat=1),
            "async set-up": lambda: use(cs.inject(cs.resource(never))),
            "sync set-up": lambda: use(cs.inject(blocked)),
            "async task set-up": lambda: use(cs.inject(cs.resource(scope="task")(never))),
            "iterable of a map": lambda: use.map(it=endless_async()),
        }


async def cancel(engine: Engine, scene: Scene, way: str) -> None:
    """Run a scene until it stays where it stays, and cancel it in some way."""
    if way == "task":
        task = asyncio.ensure_future(engine.run(scene.target, run_id="it"))
        await scene.until_begun()
        task.cancel()
        scene.release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    if way == "id of a run that is awaited":
        await cancel_by_id(engine, scene)
        return
    run = engine.start(scene.target, run_id="it")
    await scene.until_begun()
    if way == "run":
        run.cancel()
    elif way == "id":
        assert engine.cancel("it") is True
    else:
        thread = threading.Thread(target=run.cancel if way == "thread" else lambda: engine.cancel("it"))
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0)
    scene.release.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.status == "Cancelled"


async def cancel_by_id(engine: Engine, scene: Scene) -> None:
    """Cancel a run that a task awaits in place: that task is not cancelled, and may go on."""
    went_on = False

    async def await_it() -> None:
        nonlocal went_on
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(asyncio.CancelledError):
            await engine.run(scene.target, run_id="it")
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        went_on = True

    task = asyncio.ensure_future(await_it())
    await scene.until_begun()
    assert engine.cancel("it") is True
    scene.release.set()
    await task
    assert went_on


def stay_target() -> tuple[Any, asyncio.Event]:
    begun = asyncio.Event()

    @cs.task
    async def stay() -> None:
        begun.set()
        await asyncio.Event().wait()

    return stay(), begun


class Stuck:
    """A call in a thread that stays until `release` is set, and what it does then."""

    def __init__(self, error: type[BaseException] | None = None) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.log: list[str] = []

        @cs.task(mode="blocking")
        def stuck(*things: Any) -> str:
            self.begun.set()
            self.release.wait()
            self.log.append("end")
            if error is not None:
                raise error("late")
            return "late"

        self.task = stuck

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await asyncio.sleep(0)

    def sync(self) -> Iterator[str]:
        self.log.append("+")
        try:
            yield "thing"
        finally:
            self.log.append("-")

    async def asynchronous(self) -> AsyncIterator[str]:
        self.log.append("+")
        try:
            yield "thing"
        finally:
            await asyncio.sleep(0)
            self.log.append("-")
