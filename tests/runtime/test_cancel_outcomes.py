"""What comes of a cancel: whose it is, what it does not touch, and what comes out of the run."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, RunStarted, TaskBlocked, TaskExecutionStarted, TaskRetrying
from cascade.testing import SpySubscriber
from tests.runtime.places import Scene, stay_target
from tests.workflows import Tier, every_tier, in_loop, turns


def test_a_task_may_cancel_the_run_that_it_is_in() -> None:
    async def main() -> None:
        async with Engine() as engine:
            runs: list[Any] = []

            @cs.task
            async def give_up() -> None:
                runs[0].cancel()
                await asyncio.Event().wait()

            @cs.task(mode="blocking")
            def give_up_in_a_thread() -> None:
                runs[0].cancel()

            @cs.task(mode="inline")
            def give_up_in_place(x: Any) -> None:
                runs[0].cancel()

            later = cs.task(mode="inline")(lambda x: x)
            for target in (give_up(), later(give_up_in_a_thread()), [later(give_up_in_place(give_up_in_a_thread()))]):
                runs[:] = [engine.start(target)]
                with pytest.raises(asyncio.CancelledError):
                    await runs[0]

    in_loop(main)


@every_tier
@pytest.mark.parametrize("place", ["in place", "beside"])
def test_a_run_begun_in_spite_of_a_cancel_is_a_run_like_others(place: str, tier: Tier) -> None:
    """As clean-up does: its own failures and cancels are told apart from the cancel before."""

    @cs.task
    async def fail(word: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(word) if word else asyncio.CancelledError

    @cs.task
    async def stay() -> str:
        await asyncio.Event().wait()
        return "never"

    async def clean_up(engine: Engine, waiting: asyncio.Event) -> list[Any]:
        beside = [stay()] if place == "beside" else []
        found: list[Any] = [await engine.run(cs.task(len)("abc"))]
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            found.append(await engine.run([cs.task(mode="blocking")(len)("abc"), cs.task(len)("abcd")]))
            for word in ("broken", ""):
                try:
                    await engine.run([*beside, fail(word)])
                except (ValueError, asyncio.CancelledError) as error:
                    found.append(type(error).__name__)
            try:
                await engine.run([*beside, stay()])
            except asyncio.CancelledError:
                found.append("cancelled")
        return found

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            waiting = asyncio.Event()
            task = asyncio.ensure_future(clean_up(engine, waiting))
            await waiting.wait()
            task.cancel()
            while len(spy.events_of_type(RunStarted)) < 5:
                await asyncio.sleep(0)
            await turns()
            task.cancel()
            assert await task == [3, [3, 4], "ValueError", "CancelledError", "cancelled"]
            ends = [event.status for event in spy.events_of_type(RunFinished)]
            assert ends == ["Succeeded", "Succeeded", "Failed", "Failed", "Cancelled"]

    in_loop(main)


@every_tier
def test_the_time_limits_of_asyncio_work(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            target, _ = stay_target()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await engine.run(target)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.run(target), 0.001)

    in_loop(main)


def test_cancelling_who_awaits_a_run_cancels_the_run() -> None:
    async def main() -> None:
        async with Engine() as engine:
            target, begun = stay_target()
            run = engine.start(target)

            async def reader() -> None:
                await run

            task = asyncio.ensure_future(reader())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert run.status == "Cancelled"

    in_loop(main)


def test_one_cancelled_run_does_not_touch_the_others() -> None:
    async def main() -> None:
        async with Engine() as engine:
            go_on = asyncio.Event()

            @cs.task
            async def wait(x: int) -> int:
                await go_on.wait()
                return x

            target = wait(1)
            runs = [engine.start(target) for _ in range(3)]
            await turns()
            runs[1].cancel()
            await asyncio.wait({asyncio.ensure_future(wait_for_end(runs[1]))})
            assert [run.status for run in runs] == ["Running", "Cancelled", "Running"]
            go_on.set()
            assert [await runs[0], await runs[2]] == [1, 1]

    async def wait_for_end(run: Any) -> None:
        with pytest.raises(asyncio.CancelledError):
            await run

    in_loop(main)


@every_tier
def test_a_task_that_ends_well_in_spite_of_the_cancel_does_not_save_the_run(tier: Tier) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stubborn(x: int) -> int:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await turns(3)
            return x

        async with Engine(tier=tier) as engine:
            for target in ([stubborn(1), stubborn(2)], stubborn.map(x=[1, 2])):
                begun.clear()
                run = engine.start(target)
                await begun.wait()
                await turns()
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

    in_loop(main)


@every_tier
def test_what_a_task_raises_while_it_is_cancelled_is_a_note_on_the_cancel(tier: Tier) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def clumsy(x: int = 0) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError("cannot end")

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            for target in (clumsy(), [clumsy(), cs.task(len)("")], clumsy.map(x=[1]), cs.subflow([clumsy(), 1])):
                begun.clear()
                run = engine.start(target)
                await begun.wait()
                await turns()
                run.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await run
                assert run.status == "Cancelled"
                (note,) = caught.value.__notes__
                assert note.startswith("besides, another node failed: OSError: cannot end (in task clumsy#1")
            ends = [(event.status, event.error) for event in spy.events_of_type(RunFinished)]
            assert ends == [("Cancelled", "CancelledError: ; OSError: cannot end")] * 4

    in_loop(main)


@every_tier
def test_a_cancel_is_no_attempt_to_be_made_again(tier: Tier) -> None:
    calls = []

    async def main() -> None:
        begun = asyncio.Event()

        @cs.task
        async def stay() -> None:
            calls.append(1)
            begun.set()
            await asyncio.Event().wait()

        async with Engine(tier=tier) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(stay().with_retry(5))
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert spy.events_of_type(TaskRetrying) == []

    in_loop(main)
    assert calls == [1]


def test_who_waits_for_constraints_when_cancelled_never_started() -> None:
    scene = Scene("constraints")

    async def main() -> None:
        async with Engine(system_resources={"seat": 1}) as engine:
            spy = SpySubscriber(engine.bus)
            run = engine.start(scene.target)
            while len(spy.events_of_type(TaskBlocked)) < 2 or not spy.events_of_type(TaskExecutionStarted):
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert [event.task_id for event in spy.events_of_type(TaskBlocked)] == ["stay#2", "stay#3"]
            assert [event.task_id for event in spy.events_of_type(TaskExecutionStarted)] == ["stay#1"]

    in_loop(main)
