"""What a body does to asyncio's own count of cancels decides nothing: groups that fail inside, swallowed cancels."""

import asyncio
import inspect
import time
from contextlib import suppress
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, TaskExecutionFinished
from cascade.testing import SpySubscriber
from tests.virtual import VirtualLoop, in_virtual_time
from tests.workflows import Tier, every_tier, in_loop


async def bad() -> None:
    raise ValueError("in the group")


async def group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bad())


@cs.task
async def unguarded(n: int = 0) -> int:
    await group()
    return n


@cs.task
async def guarded(n: int = 0) -> int:
    for _ in range(3):
        try:
            await group()
        except* ValueError:
            pass
    return n


def looping(task: Any, **options: Any) -> Any:
    @cs.task
    async def state(n: int) -> Any:
        await task.func(n)
        return cs.Jump("again", n + 1) if n < 50 else n

    step = state(0)
    cs.bind(step, cs.select_jump({"again": step}))
    return step


@cs.task
async def after(x: Any) -> Any:
    await asyncio.sleep(0)
    return x


SHAPES: dict[str, tuple[Any, Any, Any]] = {
    "alone": (guarded, lambda n: n(1), 1),
    "beside": (guarded, lambda n: [after(1), n(2), n(3)], [1, 2, 3]),
    "chain": (guarded, lambda n: after(n(after(n(4)))), 4),
    "map": (guarded, lambda n: n.map(n=range(4), concurrency=2), [0, 1, 2, 3]),
    "sub-flow": (guarded, lambda n: cs.subflow(after(n(5))).with_timeout(60), 5),
    "retry": (guarded, lambda n: n(6).with_retry(3), 6),
    "timeout": (guarded, lambda n: n(7).with_timeout(60), 7),
    "loop": (guarded, looping, 50),
}


@every_tier
@pytest.mark.parametrize("shape", SHAPES)
def test_a_group_that_fails_inside_and_is_handled_is_nobodys_business(shape: str, tier: Tier) -> None:
    task, make, expected = SHAPES[shape]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            assert await engine.run(make(task)) == expected
            assert await engine.start(make(task)) == expected
            assert {event.status for event in spy.events_of_type(RunFinished)} == {"Succeeded"}
            assert {event.status for event in spy.events_of_type(TaskExecutionFinished)} == {"Succeeded"}

    in_loop(main)


@every_tier
@pytest.mark.parametrize("shape", SHAPES)
def test_one_that_is_not_handled_is_the_failure_of_its_task(shape: str, tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            with pytest.raises(ExceptionGroup) as caught:
                await engine.run(SHAPES[shape][1](unguarded))
            assert [str(error) for error in caught.value.exceptions] == ["in the group"]
            ((status, error),) = [(one.status, one.error) for one in spy.events_of_type(RunFinished)]
            assert status == "Failed"
            assert error is not None
            assert error.startswith("ExceptionGroup")

    in_loop(main)


def test_each_attempt_is_made_when_a_group_fails_in_them() -> None:
    attempts = 0

    @cs.task
    async def attempt() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            await group()
        return "third"

    async def main() -> None:
        async with Engine() as engine:
            assert await engine.run(attempt().with_retry(3)) == "third"

    in_loop(main)


@every_tier
@pytest.mark.parametrize("around", ["alone", "beside", "sub-flow", "loop"])
def test_a_timeout_holds_behind_a_group_that_failed(around: str, tier: Tier) -> None:
    @cs.task(timeout=5)
    async def late(n: int = 0) -> Any:
        await guarded.func()
        await asyncio.sleep(3600)
        return cs.Jump("again", n)

    def target() -> Any:
        call = late()
        if around == "beside":
            return [after(1), call]
        if around == "sub-flow":
            return cs.subflow(call)
        if around == "loop":
            cs.bind(call, cs.select_jump({"again": call}))
        return call

    async def main(loop: VirtualLoop) -> None:
        async with Engine(tier=tier) as engine:
            begun = loop.time()
            with pytest.raises(TimeoutError, match="late"):
                await engine.run(target())
            assert loop.time() - begun == 5

    in_virtual_time(main)


@every_tier
def test_a_cancel_of_who_awaits_a_run_ends_it_behind_a_group_that_failed(tier: Tier) -> None:
    entered = 0

    @cs.task
    async def stubborn(n: int) -> Any:
        nonlocal entered
        entered += 1
        await guarded.func()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return cs.Jump("again", n)

    async def main(loop: VirtualLoop) -> None:
        step = stubborn(0)
        cs.bind(step, cs.select_jump({"again": step}))
        async with Engine(tier=tier) as engine:
            asked = asyncio.ensure_future(engine.run(step))
            await asyncio.sleep(1)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert (entered, loop.time() < 3000) == (1, True)

    in_virtual_time(main)


# --- late by the clock


def blocks() -> str:
    time.sleep(0.06)
    return "done"


async def blocks_and_fails() -> None:
    time.sleep(0.06)
    raise LookupError("too late to say")


@every_tier
@pytest.mark.parametrize("mode", ["async", "inline", "sub-flow", "run"])
def test_what_holds_the_event_loop_beyond_its_time_is_late(mode: str, tier: Tier) -> None:
    async def hold() -> str:
        return blocks()

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            inline = cs.task(mode="inline")(blocks)().with_timeout(0.02)
            inside = cs.subflow(cs.task(hold)()).with_timeout(0.02)
            target: dict[str, Any] = {"async": cs.task(hold)().with_timeout(0.02), "inline": inline, "sub-flow": inside}
            with pytest.raises(TimeoutError):
                await engine.run(target.get(mode, cs.task(hold)()), timeout=0.02 if mode == "run" else None)

    in_loop(main)


def test_what_it_raises_then_is_the_cause() -> None:
    async def main() -> None:
        async with Engine() as engine:
            with pytest.raises(TimeoutError) as caught:
                await engine.run(cs.task(blocks_and_fails)().with_timeout(0.02))
            assert isinstance(caught.value.__cause__, LookupError)

    in_loop(main)


def one_slot(shape: str, let_in: Any) -> list[Any]:
    """Give calls that each need the one slot there is, one after the other, in some shape."""

    @cs.task
    async def slot(n: int) -> Any:
        let_in(n)
        await asyncio.sleep(2)
        return cs.Jump("again", n) if shape == "loop" else n

    if shape == "map":
        return [slot.map(n=range(3)).with_constraints(slot=1)]
    if shape == "sub-flow":
        return [cs.subflow(slot(n)).with_constraints(slot=1) for n in range(3)]
    calls: list[Any] = [slot(n).with_constraints(slot=1) for n in range(3)]
    if shape == "loop":
        for call in calls:
            cs.bind(call, cs.select_jump({"again": call}))
    if shape == "retry":
        return [slot(n).with_constraints(slot=1).with_retry(3) for n in range(3)]
    return calls


@every_tier
@pytest.mark.parametrize("shape", ["call", "retry", "loop", "map", "sub-flow"])
def test_who_waits_for_a_slot_of_an_attempt_that_is_late_does_not_begin(shape: str, tier: Tier) -> None:
    begun: list[tuple[int, float]] = []

    async def main(loop: VirtualLoop) -> None:
        start = loop.time()

        @cs.task
        async def swallows() -> None:
            for _ in range(2):
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(50)

        def note(n: int) -> None:
            begun.append((n, loop.time() - start))

        late = cs.subflow([swallows(), *one_slot(shape, note), swallows()]).with_timeout(1)
        with pytest.raises(TimeoutError):
            async with Engine(tier=tier, system_resources={"slot": 1}) as engine:
                await engine.run(late)

    in_virtual_time(main)
    assert begun == [(0, 0.0)]


@every_tier
@pytest.mark.parametrize("entries", [1, 40])
def test_a_coroutine_that_an_entry_gives_as_the_run_ends_is_closed(entries: int, tier: Tier) -> None:
    runs: list[Any] = []

    async def later() -> None:
        raise AssertionError("it does not begin")

    given = later()

    @cs.task(mode="inline")
    def step(n: int) -> Any:
        if n:
            return cs.Jump("again", n - 1)
        runs[0].cancel()
        return given

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            looped = step(entries)
            cs.bind(looped, cs.select_jump({"again": looped, "exit": None}))
            runs.append(engine.start(looped))
            with pytest.raises(asyncio.CancelledError):
                await runs[0]
            assert inspect.getcoroutinestate(given) == inspect.CORO_CLOSED

    in_loop(main)
