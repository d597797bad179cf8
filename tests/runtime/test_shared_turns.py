"""A turn of the event loop goes on until nothing else is ready, has an end of its own, and is there for all runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.event_loop import turns
from cascade.runtime.event_loop.ticker import Ticker
from cascade.runtime.event_loop.turns import LINGER, LONGEST, Turns
from cascade.runtime.events import TaskEvent
from cascade.runtime.maps.comprehension import PIECE
from cascade.runtime.maps.state import MapState
from tests.workflows import Tier, every_tier

HOPS = 30


class Clock:
    """Moves on by little when it is read, and by more when somebody says so."""

    now = 100.0

    def __call__(self) -> float:
        self.now += LINGER / 100
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(turns, "monotonic", made)
    return made


class Work:
    """Code that holds the loop: each of its steps asks for a turn."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.steps = 0
        self.is_over = False

    def step(self) -> None:
        self.steps += 1
        self.engine.ticker.tick()


Shape = Callable[[Work], Any]


def loop(work: Work) -> Any:
    @cs.task(mode="inline")
    def spin(n: int) -> Any:
        work.step()
        return cs.Jump("exit", n) if work.is_over else cs.Jump("again", n + 1)

    state = spin(0)
    return cs.bind(state, cs.select_jump({"again": state, "exit": None}))


def async_loop(work: Work) -> Any:
    @cs.task
    async def spin(n: int) -> Any:
        work.step()
        return cs.Jump("exit", n) if work.is_over else cs.Jump("again", n + 1)

    state = spin(0)
    return cs.bind(state, cs.select_jump({"again": state, "exit": None}))


def tail_calls(work: Work) -> Any:
    @cs.task(mode="inline")
    def spin(n: int) -> Any:
        work.step()
        return n if work.is_over else cs.TailCall((n + 1,))

    return cs.sequence([spin(0)])


def mapped(work: Work) -> Any:
    @cs.task(mode="inline")
    def each(x: int) -> int:
        if not work.is_over:
            work.step()
        return x

    return each.map(x=range(2_000))


def fan(work: Work) -> Any:
    @cs.task(mode="inline")
    def each(x: int) -> int:
        if not work.is_over:
            work.step()
        return x

    return [each(x) for x in range(2_000)]


def looped_map(work: Work) -> Any:
    @cs.task(mode="inline")
    def each(x: int) -> Any:
        work.step()
        return cs.Jump("exit", x) if work.is_over else cs.Jump("again", x + 1)

    state = each.map(x=[1, 2])
    return cs.bind(state, cs.select_jump({"again": state, "exit": None}))


async def beside(clock: Clock, work: list[Work], targets: list[Any], other: Callable[[], Awaitable[Any]]) -> Any:
    """Do something beside runs that are under way; return what it returns."""
    runs = [asyncio.ensure_future(each.engine.run(target)) for each, target in zip(work, targets, strict=True)]
    while any(each.steps < 100 for each in work) and not any(run.done() for run in runs):  # till all is compiled
        clock.now += LONGEST / 2  # this loop always has something to do
        await asyncio.sleep(0)
    try:
        return await other()
    finally:
        for each in work:
            each.is_over = True
        await asyncio.gather(*runs)


@every_tier
@pytest.mark.parametrize("is_observed", [False, True])
@pytest.mark.parametrize("shape", [loop, async_loop, tail_calls, mapped, fan, looped_map])
def test_what_needs_many_iterations_of_the_loop_is_done_in_one_turn(
    shape: Shape, is_observed: bool, tier: Tier, clock: Clock
) -> None:
    async def main() -> int:
        async with Engine(tier=tier) as engine:
            if is_observed:
                engine.bus.subscribe(TaskEvent, lambda event: None)
            work = Work(engine)

            async def hops() -> int:
                before = work.steps
                for _ in range(HOPS):
                    await asyncio.sleep(0)
                return work.steps - before

            steps: int = await beside(clock, [work], [shape(work)], hops)
            return steps

    assert asyncio.run(main()) <= 2


@pytest.mark.parametrize("is_one_engine", [True, False])
def test_runs_share_their_turns_and_go_on_one_after_the_other(is_one_engine: bool, clock: Clock) -> None:
    async def main() -> None:
        engines = [Engine()] * 4 if is_one_engine else [Engine() for _ in range(4)]
        work = [Work(engine) for engine in engines]

        async def hops() -> int:
            before = sum(each.steps for each in work)
            for _ in range(HOPS):
                await asyncio.sleep(0)
            return sum(each.steps for each in work) - before

        async def rounds() -> list[int]:
            before = [each.steps for each in work]
            while work[0].steps < before[0] + 20:
                await asyncio.sleep(0)
                clock.now += LONGEST / 4
            return [each.steps - at for each, at in zip(work, before, strict=True)]

        async def both() -> tuple[int, list[int]]:
            return await hops(), await rounds()

        for engine in set(engines):
            await engine.__aenter__()
        steps, gone_on = await beside(clock, work, [loop(each) for each in work], both)
        for engine in set(engines):
            await engine.__aexit__(None, None, None)
        assert steps <= 2
        assert max(gone_on) - min(gone_on) <= 2

    asyncio.run(main())


def test_who_always_has_something_to_do_does_not_keep_a_run_from_going_on(clock: Clock) -> None:
    async def main() -> tuple[int, int]:
        async with Engine() as engine:
            work, beats = Work(engine), 0

            async def busy() -> tuple[int, int]:
                nonlocal beats
                before = work.steps
                while work.steps < before + 20:
                    beats += 1
                    clock.now += LONGEST / 10
                    await asyncio.sleep(0)
                return work.steps - before, beats

            found: tuple[int, int] = await beside(clock, [work], [loop(work)], busy)
            return found

    steps, beats = asyncio.run(main())
    assert steps * 8 <= beats <= steps * 14


def test_a_short_run_that_begins_in_a_turn_does_not_wait_for_the_next(clock: Clock) -> None:
    @cs.task(mode="inline")
    def short(engine: Engine) -> str:
        engine.ticker.tick()  # a tick comes just then
        return "done"

    async def main() -> int:
        async with Engine() as engine:
            work = Work(engine)

            async def request() -> int:
                before = work.steps
                assert await engine.run(short(engine)) == "done"
                return work.steps - before

            steps: int = await beside(clock, [work], [loop(work)], request)
            return steps

    assert asyncio.run(main()) <= 2


def test_a_cancelled_run_leaves_the_turns_to_the_others(clock: Clock) -> None:
    async def main() -> None:
        async with Engine() as engine:
            work = [Work(engine) for _ in range(3)]
            first = [engine.start(loop(each)) for each in work]
            while any(each.steps < 50 for each in work):
                clock.now += LONGEST / 2
                await asyncio.sleep(0)
            first[0].cancel()
            first[1].cancel()
            before = work[2].steps
            while work[2].steps < before + 20:
                clock.now += LONGEST / 2
                await asyncio.sleep(0)
            work[2].is_over = True
            await first[2]
            for cancelled in first[:2]:
                with pytest.raises(asyncio.CancelledError):
                    await cancelled

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_loop_that_does_not_show_what_is_ready_is_judged_by_the_time_it_takes(clock: Clock) -> None:
    async def main() -> list[int]:
        of_loop = Turns(asyncio.get_running_loop())
        of_loop.ready = None
        of_loop.floor = 1e-5
        seen, hops = [], 0

        async def chain(length: int) -> None:
            nonlocal hops
            for _ in range(length):
                clock.now += 1e-4
                hops += 1
                await asyncio.sleep(0)

        for length in (0, 20, 100):
            other = asyncio.ensure_future(chain(length))
            hops = 0
            await of_loop.take(Ticker())
            seen.append(hops)
            await other
        return seen

    nothing, some, many = asyncio.run(main())
    assert nothing == 0
    assert some == 20
    assert LONGEST / 1e-4 - 2 <= many <= LONGEST / 1e-4 + 2


def test_a_turn_waits_for_the_next_question_only_where_that_has_paid_off(clock: Clock) -> None:
    async def main() -> list[int]:
        running = asyncio.get_running_loop()
        of_loop = Turns(running)
        seen = []

        def ask(again: bool) -> None:
            running.call_soon(lambda: None)  # an answer, and another question a while after
            if again:
                running.call_later(0.0, lambda: None)

        async def one(again: bool) -> int:
            running.call_soon(ask, again)
            looks, usual = 0, Turns.goes_on

            def counted(self: Turns, now: float) -> bool:
                nonlocal looks
                looks += 1
                clock.now += LINGER / 10
                if again and looks == 6:
                    running.call_soon(lambda: None)
                return usual(self, now)

            Turns.goes_on = counted  # type: ignore[method-assign]
            try:
                await of_loop.take(Ticker())
            finally:
                Turns.goes_on = usual  # type: ignore[method-assign]
            return looks

        for _ in range(40):
            seen.append(await one(False))
        unpaid = seen[:]
        for _ in range(40):
            seen.append(await one(True))
        return [sum(looks > 10 for looks in unpaid), sum(looks > 10 for looks in seen[-10:])]

    waited_for_nothing, waited = asyncio.run(main())
    assert 1 <= waited_for_nothing <= 3
    assert waited == 10


@pytest.mark.parametrize("is_mixed", [False, True])
def test_the_results_of_a_long_map_are_never_copied_in_one_go(is_mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    delivered, count = [], 4 * PIECE

    usual = MapState.deliver

    def deliver(self: MapState, first: int, values: list[Any], missing: int = 0) -> None:
        if self.results:
            delivered.append(min(len(self.results), len(values)))  # the shorter list is copied
        usual(self, first, values, missing)

    monkeypatch.setattr(MapState, "deliver", deliver)

    async def main() -> None:
        async with Engine() as engine:

            @cs.task(mode="inline")
            def each(x: int) -> Any:
                if not x % 10_000:
                    engine.ticker.tick()
                return None if is_mixed and x < 3 else x

            result = await engine.run(each.map(x=range(count)))
            assert result == [None if is_mixed and x < 3 else x for x in range(count)]

    asyncio.run(main())
    assert max(delivered, default=0) <= PIECE + 10_000


@every_tier
def test_loops_that_are_ready_together_do_not_hold_the_event_loop_one_after_the_other(tier: Tier, clock: Clock) -> None:
    items, entries = 50, 40

    async def main() -> int:
        async with Engine(tier=tier) as engine:
            steps = most = 0

            @cs.task(mode="inline")
            def each(n: int) -> Any:
                nonlocal steps
                steps += 1
                if steps % 10 == 0:
                    engine.ticker.tick()
                return cs.Jump("again", n + 1) if n < entries else cs.Jump("exit", n)

            async def beat() -> None:
                nonlocal most
                while True:
                    before, clock.now = steps, clock.now + LONGEST / 2
                    await asyncio.sleep(0)
                    most = max(most, steps - before)

            beating = asyncio.ensure_future(beat())
            state = each.map(n=[0] * items)
            target = cs.bind(state, cs.select_jump({"again": state, "exit": None}))
            assert await engine.run(target) == [entries] * items
            beating.cancel()
            return most

    assert asyncio.run(main()) <= 2 * items
