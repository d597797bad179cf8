"""A hunt for runs that go on after their end: bodies that swallow a cancel, in every shape of work.

Each seed draws a shape, a tier, how the run is ended and when. A body that is cancelled returns, raises something else,
takes its time, or jumps on, at random. Once the end is known to the engine nothing of the run may begin, and it must
end. CASCADE_ENDS=5000 hunts through so many seeds.
"""

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import cascade as cs
from cascade.app.inner import wait_for
from cascade.runtime import Engine
from cascade.spec.inside import inside_of
from tests.virtual import VirtualLoop, in_virtual_time
from tests.workflows import AGAIN, TIERS

SEEDS = int(os.environ.get("CASCADE_ENDS", "80" if AGAIN else "240"))
BATCHES = 8
LONG = 1_000.0
"""Virtual seconds: nothing that is drawn takes as long, unless it goes on for ever."""


class Hunt:
    """One drawn program, and the log of what has begun."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop: VirtualLoop
        self.ended_at: float | None = None
        """When the end was known to the engine, and of what ended by the clock the last moment before."""
        self.ended = False
        self.log: list[str] = []
        self.begun_after: list[str] = []
        self.queue: asyncio.Queue[int] = asyncio.Queue()
        self.tiers = TIERS
        self.cancel: Callable[[], Any] | None = None
        self.way = ""
        self.threads = False
        """A run may have no task of its own, and hear of a cancel of who awaits it by that alone."""

    def begins(self, name: str) -> None:
        self.log.append(name)
        if self.ended or (self.ended_at is not None and self.loop.time() > self.ended_at):
            self.begun_after.append(name)

    async def rest(self) -> bool:
        """Wait a while; say whether a cancel came in between and was swallowed."""
        draw = self.random.random
        try:
            if draw() < 0.3:  # on 3.11 this swallows by itself what comes with a message
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.queue.get(), draw() * 2)
            elif draw() < 0.2:  # before 3.13 the group leaves a cancel of its own behind
                with suppress(BaseExceptionGroup):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(_fails())
            else:
                await asyncio.sleep(self.random.choice([0, 0, draw(), draw() * 3]))
        except asyncio.CancelledError:
            minded = draw()
            if minded < 0.25:
                raise
            if minded < 0.45:
                raise ValueError("something else") from None
            if minded < 0.6:
                await asyncio.sleep(draw())
            return True
        return False

    # --- shapes

    def draw(self) -> Any:
        shapes: list[Callable[[], Any]] = [
            *(self.jumps, self.states, self.tail_calls, self.items, self.attempts, self.slots, self.chain),
            *(
                self.nested,
                self.bound_items,
                self.subflow,
                self.mixed,
                self.stream,
                self.cached,
                self.holder,
                self.inside,
                self.inner_run,
            ),
        ]
        return self.random.choice(shapes)()

    def jumps(self) -> Any:
        @cs.task(name="jumps")
        async def state(n: int) -> Any:
            self.begins("jumps")
            await self.rest()
            return cs.Jump("again", n + 1)

        step = state(0)
        cs.bind(step, cs.select_jump({"again": step}))
        return step

    def states(self) -> Any:
        @cs.task(name="ask")
        async def ask(n: int) -> Any:
            self.begins("ask")
            await self.rest()
            return cs.Jump("answer", n)

        @cs.task(name="answer")
        async def answer(n: int, fed: int) -> Any:
            self.begins("answer")
            await self.rest()
            return cs.Jump("ask", n + 1)

        @cs.task(name="feeds")
        async def feeds() -> int:
            self.begins("feeds")
            await self.rest()
            return 1

        first, second = ask(0), answer(0, feeds())
        selector = cs.select_jump({"ask": first, "answer": second})
        cs.bind(first, selector)
        cs.bind(second, selector)
        return first

    def tail_calls(self) -> Any:
        @cs.task(name="tail")
        async def state(n: int) -> Any:
            self.begins("tail")
            await self.rest()
            return cs.TailCall(args=[n + 1])

        return state(0)

    def items(self) -> Any:
        @cs.task(name="item")
        async def item(x: int) -> int:
            self.begins("item")
            await self.rest()
            return x

        drawn = self.random.choice([None, 1, 3])
        options = {} if drawn is None else {"concurrency": drawn}
        on_error: Any = self.random.choice(["raise", "collect", "skip"])
        mapped = item.map(x=range(self.random.choice([5, 200])), on_error=on_error, **options)
        if self.random.random() < 0.3:
            mapped.with_retry(5, delay=self.random.random())
        return mapped

    def bound_items(self) -> Any:
        @cs.task(name="agent")
        async def agent(x: int) -> Any:
            self.begins("agent")
            await self.rest()
            return cs.Jump("again", x + 1)

        mapped = agent.map(x=range(4), concurrency=self.random.choice([None, 2]))
        cs.bind(mapped, cs.select_jump({"again": mapped}))
        return mapped

    def attempts(self) -> Any:
        @cs.task(name="attempt")
        async def attempt() -> None:
            self.begins("attempt")
            await self.rest()
            raise LookupError("again")

        return attempt().with_retry(1000, delay=self.random.choice([0, self.random.random()]))

    def slots(self) -> Any:
        @cs.task(name="slot")
        async def slot(x: int) -> Any:
            self.begins("slot")
            await self.rest()
            return cs.Jump("again", x) if x < 2 else x

        calls = []
        for n in range(6):
            call = slot(n).with_constraints(slot=1)
            cs.bind(call, cs.select_jump({"again": call}))
            calls.append(call)
        return calls

    def chain(self) -> Any:
        @cs.task(name="link")
        async def link(x: int) -> int:
            self.begins("link")
            await self.rest()
            return x + 1

        last: Any = 0
        for _ in range(30):
            last = link(last)
        return [last, link(0), link(last)]

    def nested(self) -> Any:
        inner = self.jumps()

        @cs.task(name="outer")
        async def outer(x: Any) -> Any:
            self.begins("outer")
            await self.rest()
            return cs.Jump("again", x)

        around = outer(inner)
        cs.bind(around, cs.select_jump({"again": around}))
        return around

    def subflow(self) -> Any:
        node = cs.subflow(self.random.choice([self.jumps, self.states, self.items, self.chain, self.tail_calls])())
        if self.random.random() < 0.5:
            node.with_retry(4, delay=self.random.random())
        if self.random.random() < 0.5:
            node.with_timeout(self.random.random() * 5)
        return node

    def stream(self) -> Any:
        @cs.task(name="taken")
        async def taken(x: int) -> int:
            self.begins("taken")
            await self.rest()
            return x

        async def source() -> Any:
            for n in range(50):
                await self.rest()
                yield n

        return taken.map(x=source(), concurrency=self.random.choice([None, 2]), on_error="skip")

    def cached(self) -> Any:
        @cs.task(name="kept", cache=cs.cached())
        async def kept(x: int) -> int:
            self.begins("kept")
            await self.rest()
            return x

        return kept.map(x=[n % 3 for n in range(20)], concurrency=2, on_error="collect")

    def holder(self) -> Any:
        @cs.resource(scope="task")
        async def held() -> Any:
            self.begins("held")
            await self.rest()
            yield 1

        @cs.task(name="holds")
        async def holds(x: int, resource: Any = cs.inject(held)) -> Any:
            self.begins("holds")
            await self.rest()
            return cs.Jump("again", x + 1)

        step = holds(0)
        cs.bind(step, cs.select_jump({"again": step}))
        return step

    def inside(self) -> Any:
        """Short functions, one of which cancels the run itself. (Straight emitted code is one step, which goes on.)"""
        self.tiers = ("interpret",)

        @cs.task(name="inline", mode="inline")
        def inline(x: int, *others: Any) -> int:
            self.begins("inline")
            if x == 7 and self.random.random() < 0.9 and self.cancel is not None:
                self.cancel()
                self.ended = True
            return x

        return [inline(n, inline(n), [inline(n + 1)]) for n in range(12)]

    def inner_run(self) -> Any:
        """A run inside of a task, or of an item, or of another one, whose body may go on behind it."""
        way = self.random.choice(["arun", "engine", "thread", "wait_for", "gather", "beside"])
        self.threads |= way == "thread"
        shapes = [self.jumps, self.items, self.tail_calls, self.chain, self.attempts, self.slots, self.mixed]
        shape = self.random.choice([*shapes, self.bound_items, self.subflow, self.stream, self.inner_run])
        beside = self.random.choice([self.items, self.chain])

        @cs.task(name="around")
        async def awaits(x: int) -> Any:
            self.begins("around")
            if way == "engine":
                value = await cs.current_engine().run(shape())
            elif way == "wait_for":
                value = await asyncio.wait_for(cs.arun(shape()), 1 + self.random.random() * 5)
            elif way == "gather":
                value = await asyncio.gather(cs.arun(shape()), cs.arun(beside()))
            elif way == "beside":
                task = asyncio.create_task(cs.arun(shape()))
                if self.way not in ("sibling", "attempt"):  # of these, what waits for its run alone is told
                    await self.rest()
                value = await task
            else:
                value = await cs.arun(shape())
            await self.rest()
            return cs.Jump("again", x + 1) if x < 2 else value

        @cs.task(name="around", mode="blocking")
        def blocks(x: int) -> Any:
            self.begins("around")
            inside = inside_of()
            assert inside is not None
            return wait_for(inside, passing())  # `cs.run(...)`, while which the clock goes on

        async def passing() -> Any:
            self.loop.release()
            try:
                return await cs.arun(shape())
            finally:
                self.loop.hold()

        around: Any = blocks if way == "thread" else awaits
        if self.random.random() < 0.3:
            return around.map(x=range(3), on_error=self.random.choice(["raise", "collect"]))
        call = around(0)
        if way != "thread":
            cs.bind(call, cs.select_jump({"again": call}))
        if self.random.random() < 0.2:
            call.with_retry(3)
        return call

    def mixed(self) -> Any:
        @cs.task(name="short", mode="inline")
        def short(x: int) -> int:
            self.begins("short")
            return x

        return [self.jumps(), self.items(), short(1), self.slots(), self.chain()]

    # --- ends

    async def send(self) -> None:
        """Messages for those who wait."""
        while True:
            await asyncio.sleep(self.random.random())
            self.queue.put_nowait(1)

    async def hunt(self, loop: VirtualLoop) -> None:
        self.loop = loop
        target = self.draw()
        way = self.way = self.random.choice(["run", "id", "awaiting", "timeout", "sibling", "attempt"])
        moment = self.random.choice([0.0, self.random.random(), self.random.random() * 20])
        timeout = None
        if way == "timeout":
            timeout = self.random.random() * 10
            self.ended_at = loop.time() + timeout
        elif way == "attempt":  # one that is late, in a run that goes on
            moment = max(moment, 0.01)
            target = cs.subflow(target).with_timeout(moment)
            self.ended_at = loop.time() + moment
        elif way == "sibling":

            @cs.task
            async def fails() -> None:
                await asyncio.sleep(moment)
                self.ended = True
                raise OSError("a sibling")

            target = [target, fails()]
        sender = asyncio.ensure_future(self.send())
        engine = Engine(tier=self.random.choice(self.tiers), system_resources={"slot": 1})
        async with engine:
            asked = asyncio.ensure_future(self.end(engine, target, way, moment, timeout))
            done, _ = await asyncio.wait({asked}, timeout=LONG)
            sender.cancel()
            assert done, f"it goes on: {self.log[-5:]}"
            with suppress(BaseException):
                asked.result()
            self.ended = True
            await asyncio.sleep(LONG)
        assert not self.begun_after

    async def end(self, engine: Engine, target: Any, way: str, moment: float, timeout: float | None) -> None:
        if way == "run":
            run = engine.start(target)
            self.cancel = run.cancel
            await asyncio.sleep(moment)
            run.cancel()
            self.ended = True
            await run
        elif way == "id":
            self.cancel = partial(engine.cancel, "it")
            asked = asyncio.ensure_future(engine.run(target, run_id="it"))
            await asyncio.sleep(moment)
            engine.cancel("it")
            self.ended = True
            await asked
        elif way == "awaiting":
            asked = asyncio.ensure_future(engine.run(target))
            await asyncio.sleep(moment)
            asked.cancel()
            for _ in range(5 if self.threads else 1):  # so that it hears of it
                await asyncio.sleep(0)
            self.ended = True
            await asked
        else:
            await engine.run(target, timeout=timeout)


async def _fails() -> None:
    raise ValueError("in a group")


@pytest.mark.parametrize("batch", range(BATCHES))
def test_nothing_begins_after_the_end_and_all_ends(batch: int) -> None:
    for seed in range(batch, SEEDS, BATCHES):
        try:
            in_virtual_time(Hunt(seed).hunt)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
