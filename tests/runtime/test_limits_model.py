"""Limits and constraints against an independent model: the same calls run after each of many random changes.

`CASCADE_LIMITS_SEQUENCES=10000` runs all sequences; by default a part of them. A failing seed runs alone by
`CASCADE_LIMITS_SEED`.
"""

import asyncio
import os
import random
from fractions import Fraction
from typing import Any

import pytest

from cascade.runtime.admission.admission import Admission
from cascade.spec.limits import rate_from
from tests.runtime.limits_model import Call, Model
from tests.virtual import VirtualLoop

SEQUENCES = int(os.environ.get("CASCADE_LIMITS_SEQUENCES", "400"))
SEEDS = [int(os.environ["CASCADE_LIMITS_SEED"])] if "CASCADE_LIMITS_SEED" in os.environ else range(SEQUENCES)
NAMES = ("fetch", "fetch_all", "train", "pull")
SCOPES = ("global", "task:fetch*", "task:train", "task:*l*", "task:nobody")
CAPACITIES = {"gpu": 4, "memory": 8}
NEEDS: tuple[dict[str, int], ...] = ({}, {}, {"gpu": 1}, {"gpu": 4}, {"memory": 3}, {"gpu": 2, "memory": 2})
RATES = ("1/s", "2/s", "8/s", "3/s", "0.2/s", "30/m", "600/m", "1800/h", 0.25, 100)
LIMITS: dict[Any, Fraction] = {"30/m": Fraction(1, 2), "600/m": Fraction(10), "1800/h": Fraction(1, 2)}


def seconds(ttl: Fraction | None) -> float | None:
    return None if ttl is None else float(ttl)


class Sequence:
    """One random sequence of changes, made to the real thing and to the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = VirtualLoop()
        self.real = Admission(CAPACITIES, self.loop.time)
        self.model = Model(CAPACITIES, Fraction(self.loop.time()))
        self.calls: dict[Call, tuple[asyncio.Task[None], asyncio.Future[None]]] = {}
        self.running: list[Call] = []
        """Those of the real calls that run, as they started."""
        self.log: list[str] = []

    async def call(self, call: Call, door: asyncio.Future[None]) -> None:
        needed = {name: float(amount) for name, amount in call.needs.items()}
        await self.real.enter(call.name, needed, lambda ticket: None, call.inside)
        self.running.append(call)
        try:
            await door
        finally:
            self.running.remove(call)
            self.real.leave(call.name, needed)

    # --- changes

    def add(self) -> None:
        name, needs, inside = self.random.choice(NAMES), self.random.choice(NEEDS), self.random.random() < 0.15
        self.log.append(f"add {name} {needs}{' inside' if inside else ''}")
        call = self.model.add(name, needs, inside)
        door = self.loop.create_future()
        self.calls[call] = self.loop.create_task(self.call(call, door)), door

    def finish(self) -> None:
        if self.running:
            call = self.random.choice(self.running)
            self.log.append(f"finish {call}")
            self.calls[call][1].set_result(None)
            self.model.end(call)

    def cancel(self) -> None:
        left = [call for call in self.calls if call.state != "over"]
        if left:
            call = self.random.choice(left)
            self.log.append(f"cancel {call}")
            self.calls[call][0].cancel()
            self.model.end(call)

    def limit(self) -> None:
        scope, ttl = self.random.choice(SCOPES), self.ttl()
        if self.random.random() < 0.5:
            most = self.random.randint(1, 5)
            self.log.append(f"concurrency of {scope}: {most}, ttl {ttl}")
            self.model.put(scope, "concurrency", Fraction(most), ttl)
            self.real.limits.put(scope, {"concurrency": most}, seconds(ttl))
        else:
            rate = self.random.choice(RATES)
            exact = LIMITS.get(rate) or Fraction(str(rate).removesuffix("/s"))
            self.log.append(f"rate of {scope}: {rate}, ttl {ttl}")
            burst = self.random.choice([None, None, 1, 3])
            self.model.put(scope, "rate", exact, ttl, burst)
            self.real.limits.put(scope, {"rate": rate_from(rate)}, seconds(ttl), burst)
        self.change()

    def pause(self) -> None:
        scope, ttl = self.random.choice(SCOPES), self.ttl()
        self.log.append(f"pause {scope}, ttl {ttl}")
        self.model.put(scope, "pause", Fraction(0), ttl)
        self.real.limits.put(scope, {"pause": 0.0}, seconds(ttl))
        self.change()

    def resume(self) -> None:
        scope = self.random.choice(SCOPES)
        self.log.append(f"resume {scope}")
        self.model.drop(scope, "pause")
        self.real.limits.drop(scope, "pause")
        self.change()

    def clear(self) -> None:
        scope = self.random.choice(SCOPES)
        self.log.append(f"clear {scope}")
        self.model.drop(scope, "concurrency", "rate")
        self.real.limits.drop(scope, "concurrency", "rate")
        self.change()

    def wait(self) -> None:
        seconds = Fraction(self.random.choice((1, 1, 2, 4, 8, 24, 80)), 8)
        self.log.append(f"wait {float(seconds)}")
        self.model.advance(seconds)
        self.loop.run_until_complete(asyncio.sleep(float(seconds)))

    def ttl(self) -> Fraction | None:
        return Fraction(self.random.choice((1, 4, 8, 40)), 8) if self.random.random() < 0.3 else None

    def change(self) -> None:
        self.loop.call_soon(self.real.changed)

    # --- comparing

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        while True:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not self.loop._ready:  # type: ignore[attr-defined]
                break

    def check(self) -> None:
        expected = [call for call in self.model.calls if call.state == "running"]
        assert sorted(map(id, self.running)) == sorted(map(id, expected)), self.told()
        for (scope, kind), (value, _) in self.model.limits.items():
            gauge = self.real._gauges[scope]
            assert gauge.running == self.model.running(scope), self.told()
            if kind == "rate":
                assert gauge.bucket is not None
                assert gauge.bucket.rate == pytest.approx(float(value))
        assert self.real.capacities.free == {name: self.model.free(name) for name in CAPACITIES}, self.told()

    def told(self) -> str:
        waiting = [call for call in self.model.calls if call.state == "waiting"]
        return "\n".join([*self.log, f"runs: {self.running}", f"should wait: {waiting}"])

    def play(self, count: int) -> None:
        moves = [self.add] * 10 + [self.finish] * 5 + [self.cancel] * 2 + [self.limit] * 5 + [self.wait] * 5
        moves += [self.pause, self.resume, self.resume, self.clear, self.clear]
        try:
            for _ in range(count):
                self.random.choice(moves)()
                self.settle()
                self.check()
            self.end()
        finally:
            for task, _ in self.calls.values():
                task.cancel()
            Sequence.settle(self)
            self.loop.close()

    def end(self) -> None:
        """Nobody waits for ever: with all limits gone, each call has its turn once those before it have ended."""
        for scope in SCOPES:
            self.model.drop(scope, "pause", "concurrency", "rate")
            self.real.limits.drop(scope, "pause", "concurrency", "rate")
            self.change()
            self.settle()
            self.check()
        while self.running:
            self.finish()
            self.settle()
            self.check()
        assert not self.model.calls
        assert self.real.capacities.free == CAPACITIES
        assert not self.real._queues
        assert not self.real._running


class Hasty(Sequence):
    """Changes that come before the last ones have had their effect; each start is checked as it happens."""

    async def call(self, call: Call, door: asyncio.Future[None]) -> None:
        needed = {name: float(amount) for name, amount in call.needs.items()}
        await self.real.enter(call.name, needed, lambda ticket: None, call.inside)
        self.catch_up()
        model = self.model
        for scope in model.scopes(call.name):
            assert (scope, "pause") not in model.limits, f"it starts, though {scope} is paused"
            most, _ = model.limits.get((scope, "concurrency"), (Fraction(99), None))
            assert model.running(scope) < most, f"it starts beyond the concurrency of {scope}"
            if scope in model.tokens:
                model.tokens[scope].level -= 1
                assert model.tokens[scope].level > -1e-6, f"it starts beyond the rate of {scope}"
        assert all(need <= model.free(name) for name, need in call.needs.items()), "it starts beyond a capacity"
        call.state = "running"
        model.calls.append(call)
        self.running.append(call)
        try:
            await door
        finally:
            self.running.remove(call)
            model.calls.remove(call)
            self.real.leave(call.name, needed)

    def add(self) -> None:
        call = Call(self.random.choice(NAMES), self.random.choice(NEEDS), self.random.random() < 0.15)
        self.log.append(f"add {call}")
        door = self.loop.create_future()
        self.calls[call] = self.loop.create_task(self.call(call, door)), door

    def finish(self) -> None:
        if self.running:
            door = self.calls[self.random.choice(self.running)][1]
            if not door.done():
                door.set_result(None)

    def cancel(self) -> None:
        if self.calls:
            self.random.choice([*self.calls.values()])[0].cancel()

    def limit(self) -> None:
        self.change_now()  # a bucket that nobody has seen yet goes over to no other
        super().limit()

    def wait(self) -> None:
        seconds = self.random.choice((1, 1, 2, 4, 8, 24, 80)) / 8
        self.log.append(f"wait {seconds}")
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.catch_up()

    def catch_up(self) -> None:
        self.model.advance(Fraction(self.loop.time()) - self.model.now)

    def change(self) -> None:
        if self.random.random() < 0.5:
            super().change()
        else:
            self.change_now()

    def change_now(self) -> None:
        asyncio._set_running_loop(self.loop)
        self.real.changed()
        asyncio._set_running_loop(None)

    def check(self) -> None:
        for task, _ in self.calls.values():
            if task.done() and not task.cancelled():
                task.result()

    def settle(self) -> None:
        if self.random.random() < 0.4:
            super().settle()

    def end(self) -> None:
        for scope in SCOPES:
            self.model.drop(scope, "pause", "concurrency", "rate")
            self.real.limits.drop(scope, "pause", "concurrency", "rate")
        super().change()
        super().settle()
        while self.running:
            self.finish()
            super().settle()
        self.check()
        assert all(task.done() for task, _ in self.calls.values()), "a call waits for ever"
        assert self.real.capacities.free == CAPACITIES
        assert not self.real._queues
        assert not self.real._running


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", [Sequence, Hasty])
def test_calls_run_as_the_model_says(kind: type[Sequence]) -> None:
    for seed in SEEDS:
        sequence = kind(seed)
        try:
            sequence.play(40)
        except BaseException as error:
            error.add_note(f"{kind.__name__} {seed}\n{sequence.told()}")
            raise
