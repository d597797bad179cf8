"""Sweeps: behind the item that runs at a tick the event loop has its turn; no call is lost, and none made twice."""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime.inspect.progress import progress_of, state_of
from cascade.runtime.maps.comprehension import Comprehension
from tests.workflows import in_loop

COUNT = 400
MAKERS: list[Callable[[], Any]] = [
    lambda: list(range(COUNT)),
    lambda: tuple(range(COUNT)),
    lambda: range(COUNT),
    lambda: range(2**70, 2**70 - 3 * COUNT, -3),
]
every_input = pytest.mark.parametrize("make", MAKERS, ids=["list", "tuple", "range", "large range"])


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The positions at which comprehensions began or went on: at least one, or the test has tested something else."""
    positions: list[int] = []
    begin = Comprehension.begin

    def noted(self: Comprehension) -> None:
        positions.append(self.batch.at)
        begin(self)

    monkeypatch.setattr(Comprehension, "begin", noted)
    yield positions
    assert positions


def alone(test: Callable[..., Any]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(**values: Any) -> None:
        in_loop(lambda: test(**values))

    return run


def ticking(engine: cs.Engine, ticks: Iterable[Any], calls: list[Any], then: Callable[[Any], Any] | None = None) -> Any:
    """Make a task of one argument during whose calls for some items a tick comes, as in a call that has become slow."""
    at = set(ticks)

    def call(x: Any) -> Any:
        calls.append(x)
        if x in at:
            engine.ticker.tick()
        return x if then is None else then(x)

    return cs.task(mode="inline")(call)


async def noting(seen: set[int], calls: list[Any]) -> None:
    """Note at each turn how many calls were made."""
    while len(calls) < COUNT:
        seen.add(len(calls))
        await asyncio.sleep(0)


@every_input
@alone
async def test_a_tick_gives_a_turn_behind_the_call_that_runs(make: Callable[[], Any]) -> None:
    items, calls, seen = make(), list[Any](), set[int]()
    async with cs.Engine() as engine:
        beside = asyncio.create_task(noting(seen, calls))
        task = ticking(engine, [items[200], items[201], items[300], items[-1]], calls)
        assert await engine.run(task.map(x=items)) == list(items)
        await beside
    assert calls == list(items)
    assert {201, 202, 301} <= seen


@every_input
@pytest.mark.parametrize("is_late", [False, True], ids=["before it is begun", "before its first item"])
@alone
async def test_a_tick_that_comes_before_the_first_item_lets_one_call_through(
    make: Callable[[], Any], is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, calls, seen = make(), list[Any](), set[int]()
    begin = Comprehension.begin
    async with cs.Engine() as engine:

        def ticked(self: Comprehension) -> None:
            if not is_late:
                engine.ticker.tick()
            begin(self)
            if is_late:
                engine.ticker.tick()

        monkeypatch.setattr(Comprehension, "begin", ticked)
        beside = asyncio.create_task(noting(seen, calls))
        assert await engine.run(ticking(engine, [], calls).map(x=items)) == list(items)
        await beside
    assert calls == list(items)
    assert set(range(100, COUNT)) <= seen


@every_input
@alone
async def test_a_failure_behind_a_turn_names_its_item(make: Callable[[], Any]) -> None:
    items = make()

    def fail(x: Any) -> Any:
        return 1 // (x != items[250])

    async with cs.Engine() as engine:
        with pytest.raises(ZeroDivisionError) as caught:
            await engine.run(ticking(engine, [items[200]], [], fail).map(x=items))
    assert "#1[250]" in caught.value.__notes__[0]


@pytest.mark.parametrize("is_own", [False, True])
@alone
async def test_a_stop_iteration_is_told_from_an_error_made_of_one(is_own: bool) -> None:
    async def stop() -> None:
        raise StopIteration

    def call(x: int) -> int:
        if x == 250:
            if is_own:
                stop().send(None)  # raises RuntimeError
            raise StopIteration
        return x

    expected = "coroutine raised StopIteration" if is_own else "a task raised StopIteration, which cannot cross"
    async with cs.Engine() as engine:
        with pytest.raises(RuntimeError, match=expected) as caught:
            await engine.run(ticking(engine, [], [], call).map(x=range(COUNT)))
    assert "#1[250]" in caught.value.__notes__[0]


@every_input
@alone
async def test_what_is_more_than_a_value_is_found_behind_ticks_too(make: Callable[[], Any]) -> None:
    items, calls = make(), list[Any]()

    async def later(x: Any) -> Any:
        return x, "awaited"

    odd = {items[at]: later for at in (200, 201, 310, 311)}
    async with cs.Engine() as engine:
        task = ticking(engine, [items[at] for at in (201, 300, 310)], calls, lambda x: odd[x](x) if x in odd else x)
        assert await engine.run(task.map(x=items)) == [(x, "awaited") if x in odd else x for x in items]
    assert calls == list(items)


@alone
async def test_a_cancel_during_a_turn_is_no_failure_of_an_item() -> None:
    calls: list[int] = []
    async with cs.Engine() as engine:

        def cancel(x: int) -> int:
            if x == 200:
                running.cancel()
            return x

        running = asyncio.ensure_future(engine.run(ticking(engine, [200], calls, cancel).map(x=range(COUNT))))
        with pytest.raises(asyncio.CancelledError) as caught:
            await running
    assert len(calls) == 201
    assert not hasattr(caught.value, "__notes__")


@alone
async def test_a_function_that_has_become_slow_is_called_elsewhere_from_the_next_item_on() -> None:
    places: list[bool] = []
    is_slow = False
    async with cs.Engine() as engine:

        @cs.task
        def call(x: int) -> int:
            places.append(threading.current_thread() is threading.main_thread())
            if is_slow and x == 200:
                engine.ticker.ticks = 2  # it has held the event loop for two ticks
                engine.ticker.tick()
            return x

        while not all(places[-COUNT:]) or not places:  # until it is known to be short
            assert await engine.run(call.map(x=range(COUNT))) == list(range(COUNT))
        is_slow = True
        places.clear()
        assert await engine.run(call.map(x=range(COUNT))) == list(range(COUNT))
    assert places[:202] == [True] * 201 + [False]


@alone
async def test_a_map_that_waits_has_the_results_from_the_next_turn_on() -> None:
    calls: list[int] = []
    seen: list[int] = []

    @cs.task
    async def follow(x: int) -> int:
        seen.append(len(calls))
        return -x

    async with cs.Engine() as engine:
        task = ticking(engine, range(200, COUNT, 10), calls)
        assert await engine.run(follow.map(x=task.map(x=range(COUNT)))) == [-x for x in range(COUNT)]
    assert min(seen) < COUNT


@alone
async def test_how_far_it_has_come_is_known_at_each_turn() -> None:
    calls: list[int] = []
    found: dict[int, int] = {}
    async with cs.Engine() as engine:

        async def watch() -> None:
            while len(calls) < COUNT:
                state = state_of(engine)
                if state is not None:
                    found.update(
                        (len(calls), each.done) for each in progress_of(state, asyncio.get_running_loop()).maps
                    )
                await asyncio.sleep(0)

        beside = asyncio.create_task(watch())
        await engine.run(ticking(engine, [200, 300], calls).map(x=range(COUNT)))
        await beside
    assert {201: 201, 301: 301}.items() <= found.items()
