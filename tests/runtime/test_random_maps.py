"""Random chains of maps: whatever their options, the results are those of plain Python, and nothing is left behind."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent
from tests.workflows import TIERS, in_loop

CHAINS = 150


class Odd(Exception):
    """What items fail with."""


class Chain:
    """A random chain of maps, and what plain Python makes of the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.expected: list[Any] = []
        self.fails = False
        self.calls = 0
        """How many calls plain Python makes, if none fails."""
        self.made = 0
        self.open = 0
        """How many generators were begun and have not ended."""
        count = self.random.choice([0, 1, 5, 40, 300])
        self.expected = list(range(count))
        self.mapped = self.first(count)
        for _ in range(self.random.randint(0, 3)):
            self.mapped = self.next(self.mapped)

    def first(self, count: int) -> Any:
        source: Any = range(count)
        kind = self.random.choice(["list", "range", "iterator", "generator", "async"])
        if kind == "async":
            source = self.async_numbers(count, self.random.randint(0, 2))
        elif kind == "generator":
            source = self.numbers(count)
        elif kind != "range":
            source = list(source) if kind == "list" else iter(source)
        return self.next(source)

    async def async_numbers(self, count: int, pauses: int) -> AsyncIterator[int]:
        self.open += 1
        try:
            for n in range(count):
                for _ in range(pauses):
                    await asyncio.sleep(0)
                yield n
        finally:
            self.open -= 1

    def numbers(self, count: int) -> Iterator[int]:
        self.open += 1
        try:
            yield from range(count)
        finally:
            self.open -= 1

    def next(self, source: Any) -> Any:
        """Return a map of `source`, and work out what it gives."""
        pick = self.random
        add, bad = pick.randint(1, 3), pick.choice([0, 0, 0, 7, 11])

        def step(x: Any, y: int = 0) -> Any:
            self.made += 1
            if isinstance(x, cs.Failed):
                return -1
            if bad and x % bad == 3:
                raise Odd(x)
            return x + add + y

        options: dict[str, Any] = {"on_error": pick.choice(["raise", "collect", "skip"])} if bad else {}
        for name in ("concurrency", "window"):
            if pick.random() < 0.4:
                options[name] = pick.choice([1, 2, 5, 50])
        task: Any = self.task(step)
        y = 0
        if pick.random() < 0.3:
            y = pick.randint(1, 5)
            task = task.partial(y=cs.task(mode="inline")(lambda: y)() if pick.random() < 0.5 else y)
        inputs = {"x": source}
        if not y and pick.random() < 0.3 and options.get("on_error") != "skip" and not self.skips(source):
            inputs["y"] = [0] * len(self.expected)
            if pick.random() < 0.5:  # another map, of the same length
                inputs["y"] = self.task(lambda x, y=0: 0).map(x=inputs["y"], concurrency=pick.choice([None, 2]))
        self.work_out(step, y, options.get("on_error", "raise"))
        mapped = task.map(**inputs, **options)
        if pick.random() < 0.2:
            mapped = mapped.with_constraints(gpu=1)
        return mapped

    def skips(self, source: Any) -> bool:
        return getattr(getattr(source, "errors", None), "on_error", "") == "skip"

    def task(self, step: Callable[..., Any]) -> Any:
        kind = self.random.choice(["inline", "auto", "blocking", "async", "slow"])
        if kind not in ("async", "slow"):
            return cs.task(mode=kind)(step)  # type: ignore[call-overload]

        async def wait(x: Any, y: int = 0) -> Any:
            for _ in range(x % 5 if kind == "slow" and isinstance(x, int) else 1):
                await asyncio.sleep(0)
            return step(x, y)

        return cs.task(wait)

    def work_out(self, step: Callable[..., Any], y: int, on_error: str) -> None:
        found: list[Any] = []
        for index, value in enumerate(self.expected):
            try:
                found.append(step(value, y))
            except Odd as error:
                if on_error == "raise":
                    self.fails = True
                elif on_error == "collect":
                    found.append(cs.Failed(error, index, {}))
        if not self.fails:
            self.calls += len(self.expected)
            self.expected = found
        self.made = 0

    async def check(self, tier: Any) -> None:
        bus = MessageBus()
        if self.random.random() < 0.3:
            bus.subscribe(TaskEvent, lambda event: None)
        as_completed = self.random.random() < 0.5
        async with Engine(tier=tier, bus=bus, system_resources={"gpu": 2}) as engine:
            try:
                if as_completed:
                    results = [value async for value in engine.as_completed(self.mapped)]
                else:
                    results = await engine.run(self.mapped)
            except Odd:
                assert self.fails
                assert self.open == 0
                return
        assert self.open == 0
        assert not self.fails
        assert self.made == self.calls
        shown, expected = shorten(results), shorten(self.expected)
        assert (sorted(shown) == sorted(expected)) if as_completed else (shown == expected)

    async def check_cancel(self, tier: Any) -> None:
        """Cancel a run, or close the iterator over its results, at a random moment."""
        turns = self.random.choice([0, 1, 2, 3, 5, 10, 30, 100])
        async with Engine(tier=tier, system_resources={"gpu": 2}) as engine:
            if self.random.random() < 0.5:
                results = engine.as_completed(self.mapped)
                with contextlib.suppress(Odd, StopAsyncIteration):
                    for _ in range(turns):
                        await anext(results)
                await results.aclose()
            else:
                run = engine.start(self.mapped)
                for _ in range(turns):
                    await asyncio.sleep(0)
                run.cancel()
                await asyncio.wait({asyncio.ensure_future(self.quietly(run))})
            assert self.open == 0

    async def quietly(self, run: Any) -> None:
        with contextlib.suppress(Odd, asyncio.CancelledError):
            await run


def shorten(results: Iterable[Any]) -> list[str]:
    return [f"failed {each.index}" if isinstance(each, cs.Failed) else str(each) for each in results]


@pytest.mark.parametrize("start", range(0, CHAINS, 10))
def test_random_chains_give_what_plain_python_gives(start: int) -> None:
    for seed in range(start, start + 10):
        chain = Chain(seed)
        in_loop(lambda chain=chain, seed=seed: chain.check(TIERS[seed % len(TIERS)]))  # type: ignore[misc]


@pytest.mark.parametrize("start", range(0, CHAINS, 10))
def test_random_chains_end_when_they_are_cancelled(start: int) -> None:
    for seed in range(start, start + 10):
        chain = Chain(seed)
        in_loop(lambda chain=chain, seed=seed: chain.check_cancel(TIERS[seed % len(TIERS)]))  # type: ignore[misc]
