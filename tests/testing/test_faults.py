"""Faults by the name of a task: they are met on every tier, and in real time as in virtual."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import TaskExecutionFinished, TaskRetrying
from cascade.testing import Fault, Faults, SpySubscriber, VirtualClock
from tests.workflows import Body, Tier, every_body, every_tier, in_loop


def run_with(faults: Faults, make: Callable[[], Any], tier: Tier = "auto") -> tuple[Any, float]:
    """Return what a target gives in virtual time, and how long it takes."""
    clock = VirtualClock(faults=faults)

    async def main() -> Any:
        async with Engine(tier=tier) as engine:
            return await engine.run(make())

    return clock.run(main()), clock.elapsed


@every_tier
@every_body
class TestOneCall:
    def test_the_nth_fails(self, body: Body, tier: Tier) -> None:
        calls: list[int] = []
        work = body(calls.append)
        faults = Faults().fail("append", ConnectionError("down"), on=[1, 2]).fail("other")
        assert run_with(faults, lambda: work(5).with_retry(3, delay=10), tier) == (None, 20)
        assert calls == [5]
        assert faults.met == [Fault("append#1", 1, "fail"), Fault("append#1", 2, "fail")]

    def test_and_by_default_says_that_it_was_injected(self, body: Body, tier: Tier) -> None:
        def work() -> None:
            raise AssertionError

        with pytest.raises(RuntimeError, match=r"a fault was injected into call 1 of work#1 \(declared at "):
            run_with(Faults().fail("w*"), lambda: body(work)(), tier)

    def test_it_is_late(self, body: Body, tier: Tier) -> None:
        def work(x: int) -> int:
            return x

        assert run_with(Faults().delay("work", 30), lambda: body(work)(body(work)(1)), tier) == (1, 60)
        late = Faults().delay("work", 30)
        with pytest.raises(TimeoutError):
            run_with(late, lambda: body(work)(1).with_timeout(20), tier)

    def test_it_is_lost(self, body: Body, tier: Tier) -> None:
        def work(x: int) -> int:
            return x

        lost = Faults().drop("work", on=1)
        assert run_with(lost, lambda: body(work)(1).with_timeout(20).with_retry(2), tier) == (1, 20)
        lost.restart()
        with pytest.raises(RuntimeError, match=r"nothing is left that could ever happen.*work#1"):
            run_with(lost, lambda: body(work)(1), tier)

    def test_it_is_answered(self, body: Body, tier: Tier) -> None:
        def work(x: int) -> int:
            raise AssertionError

        for value in (None, 7, [1]):
            assert run_with(Faults().answer("work", value), lambda: body(work)(1), tier) == (value, 0)


@every_tier
def test_rules_are_counted_each_and_delays_add_up(tier: Tier) -> None:
    @cs.task
    async def work(x: int) -> int:
        return x

    faults = Faults().delay("work", 1).delay("work", 2, on=2).answer("work", 0, on=3).fail("work", on=3)
    assert run_with(faults, lambda: work(work(work(1) if tier else 0)), tier) == (0, 5)
    assert [fault.kind for fault in faults.met] == ["delay", "delay", "delay", "delay", "answer"]


@every_tier
def test_names_labels_and_single_items(tier: Tier) -> None:
    @cs.task
    def parse(x: int) -> int:
        return x

    def items(pattern: str) -> Any:
        faults = Faults().answer(pattern, -1)
        return run_with(faults, lambda: [parse.map(x=[1, 2, 3]), parse(4).named("last")], tier)[0]

    assert items("parse#1[1]") == [[1, -1, 3], 4]
    assert items("last") == [[1, 2, 3], -1]
    assert items("pars?") == [[-1, -1, -1], -1]
    assert items("PARSE") == [[1, 2, 3], 4]


@every_tier
def test_on_an_engine_in_real_time_and_only_in_the_block(tier: Tier) -> None:
    @cs.task
    def work(x: int) -> int:
        return x

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            before = engine.executor, engine.runs_inline
            with Faults().fail("work", ValueError, on=1).on(engine) as faults:
                assert await engine.run(work(3).with_retry(2)) == 3
                with pytest.raises(ZeroDivisionError), faults.on(engine):
                    raise ZeroDivisionError
            assert (engine.executor, engine.runs_inline) == before
            assert len(spy.events_of_type(TaskRetrying)) == len(faults.met) == 1
            assert await engine.run(work(4)) == 4
            assert len(spy.events_of_type(TaskExecutionFinished)) == 2

    in_loop(main)


def test_chances_are_drawn_by_the_seed() -> None:
    @cs.task
    async def work(x: int) -> int:
        return x

    def failed(faults: Faults) -> list[int]:
        found, _ = run_with(faults, lambda: work.map(x=range(200), on_error="collect"))
        return [at for at, value in enumerate(found) if isinstance(value, cs.Failed)]

    faults = Faults(seed=1).fail("work", chance=0.3)
    first = failed(faults)
    assert 30 < len(first) < 90
    assert failed(faults) != first  # it goes on drawing
    faults.restart()
    assert failed(faults) == first
    assert failed(Faults(seed=2).fail("work", chance=0.3)) != first
    assert failed(Faults().fail("work", chance=0)) == []
    assert len(failed(Faults().fail("work", chance=1))) == 200


def test_a_lost_call_is_cancelled_like_any_other() -> None:
    @cs.task
    async def work() -> None:
        pass

    async def main() -> None:
        async with Engine() as engine:
            with Faults().drop("work").on(engine):
                run = engine.start(work())
                await asyncio.sleep(0)
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

    in_loop(main)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Faults().fail("a", on=0), "counted from 1"),
        (lambda: Faults().fail("a", on=[1, -2]), "counted from 1"),
        (lambda: Faults().fail("a", chance=1.5), "between 0 and 1"),
        (lambda: Faults().delay("a", -1), "0 seconds or more"),
        (lambda: Faults().delay("a", float("nan")), "0 seconds or more"),
        (lambda: Faults().fail("", on=1), "tasks by name"),
        (lambda: Faults().drop(cs.task(print)), "tasks by name"),  # type: ignore[arg-type]
        (lambda: Faults().fail("a", "boom"), "takes an exception"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        make()
