"""Resources that each call has for itself: known to be short they are made in place, and mean the same."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import ResourceAcquired, ResourceEvent, ResourceReleased
from cascade.runtime.resources import lifecycle
from cascade.spec.resource import Resource
from cascade.testing import SpySubscriber
from tests.runtime.resource_log import Log
from tests.workflows import Tier, every_tier, run

Seen = tuple[list[str], Any]


def never_short(resource: Resource) -> None:
    resource.setup.owed = resource.teardown.owed = 1_000_000


class Drawn:
    """A chain of calls that ask for resources of their own, drawn from a seed; the same one, of any kind."""

    def __init__(self, seed: int, kind: str) -> None:
        drawing = random.Random(seed)
        self.log = log = Log()
        self.resources = []
        for name in "abc":
            broken = drawing.choice(["", "", "", "", "", "set-up", "teardown"]) if drawing.random() < 0.3 else ""
            swallows = drawing.random() < 0.2
            self.resources.append(log.resource(name, kind, "task", broken_in=broken, swallows=swallows))
        if kind == "sync":
            for resource in self.resources:
                never_short(resource)
        self.value: Any = 0
        for i in range(drawing.randrange(2, 9)):
            asked = [cs.inject(drawing.choice(self.resources)) for _ in range(drawing.randrange(4))]
            self.value = self.call(i, drawing, asked)

    def call(self, i: int, drawing: random.Random, asked: list[Any]) -> Any:
        log, fails = self.log, drawing.choice([0, 0, 0, 0, 1, 2])
        later = drawing.random() < 0.2
        attempts: list[int] = []

        def work(x: int, *things: Any) -> Any:
            attempts.append(x)
            log.append(f"{i} {things}")
            if len(attempts) <= fails:
                raise ValueError(f"{i}")
            return waits(x) if later else x + 1

        async def waits(x: int) -> int:
            log.append(f"{i} later")
            return x + 1

        made = cs.task(name=f"work{i}", mode="inline")(work)(self.value, *asked)
        return made.with_retry(2) if drawing.random() < 0.5 else made

    def seen(self, tier: Tier) -> Seen:
        try:
            outcome: Any = run(self.value, tier=tier)
        except Exception as error:
            outcome = type(error), str(error), len(error.__notes__)
        return self.log, outcome


class TestShortOnesMeanTheSame:
    @every_tier
    def test_drawn_chains(self, tier: Tier) -> None:
        for seed in range(120):
            assert Drawn(seed, "short").seen(tier) == Drawn(seed, "sync").seen(tier), seed

    @every_tier
    def test_in_a_loop_and_in_a_map(self, tier: Tier) -> None:
        log = Log()
        db = log.resource("db", "short", "task")

        @cs.task(mode="inline")
        def step(n: int, it: Any = cs.inject(db)) -> Any:
            log.append(str(n))
            return cs.Jump("again", n - 1) if n else cs.Jump("out", "done")

        entered = step(3)
        cs.bind(entered, cs.select_jump({"again": entered, "out": None}))
        assert run(entered, tier=tier) == "done"
        assert log == [word for n in "3210" for word in ("+db", n, "-db")]

        log.clear()
        numbers = cs.task(mode="inline")(lambda n, it=cs.inject(db): (n, it))
        assert run(numbers.map(n=[1, 2, 3]), tier=tier) == [(1, "db"), (2, "db"), (3, "db")]
        assert log == ["+db", "-db"] * 3

    def test_each_is_told_of(self) -> None:
        db = Log().resource("db", "short", "task")
        inc = cs.task(mode="inline")(lambda x, it=cs.inject(db): x + 1)
        value: Any = 0
        for _ in range(20):
            value = inc(value)
        bus = MessageBus()
        spy = SpySubscriber(bus)
        assert run(value, bus=bus) == 20
        assert [type(event) for event in spy.events if isinstance(event, ResourceEvent)] == [
            ResourceAcquired,
            ResourceReleased,
        ] * 20


class TestWhereTheyRun:
    def counted(self, held: Callable[[], float]) -> tuple[Resource, list[bool]]:
        here: list[bool] = []

        @cs.resource(scope="task")
        def thing() -> Iterator[int]:
            here.append(threading.current_thread() is threading.main_thread())
            time.sleep(held())
            yield 1

        return thing, here

    def chain(self, thing: Resource, length: int) -> Any:
        inc = cs.task(mode="inline")(lambda x, step: x + step)
        value: Any = 0
        for _ in range(length):
            value = inc(value, cs.inject(thing))
        return value

    def test_a_slow_one_stays_in_threads(self) -> None:
        thing, here = self.counted(lambda: 0.002)
        assert run(self.chain(thing, 20)) == 20
        assert here == [False] * 20

    def test_one_that_turns_slow_goes_back_to_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lifecycle, "TOO_LONG", inf)
        held = [0.0]
        thing, here = self.counted(lambda: held[0])
        thing.setup.learn(0.0)
        thing.teardown.learn(0.0)
        assert run(self.chain(thing, 20)) == 20
        assert here == [True] * 20
        held[0] = 0.005
        monkeypatch.setattr(lifecycle, "TOO_LONG", 0.005)
        assert run(self.chain(thing, 10)) == 10
        assert here[20:] == [True] + [False] * 9

    @pytest.mark.parametrize("pieces", ["setup", "teardown"])
    def test_both_pieces_must_be_short(self, pieces: str) -> None:
        thing, here = self.counted(lambda: 0.0)
        getattr(thing, pieces).learn(0.0)
        other = thing.teardown if pieces == "setup" else thing.setup
        other.owed = 1_000_000
        assert run(self.chain(thing, 5)) == 5
        assert here == [pieces == "setup"] * 5
