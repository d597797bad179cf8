"""Cancelling: wherever a run is, it ends, and nothing that can be stopped is left running."""

import asyncio
import gc
import logging
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.events import RunFinished, TaskExecutionFinished, TaskExecutionStarted
from cascade.testing import SpySubscriber
from tests.runtime.places import PLACES, Scene, cancel, stay_target
from tests.workflows import Tier, every_tier, in_loop, turns

every_place = pytest.mark.parametrize("place", PLACES)
WAYS = ["run", "task", "thread", "id", "id from a thread", "id of a run that is awaited"]
every_way = pytest.mark.parametrize("way", WAYS)


@every_tier
@every_way
@every_place
def test_a_cancelled_run_ends_wherever_it_is(place: str, way: str, tier: Tier) -> None:
    scene = Scene(place)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}, thread_grace=60) as engine:
            ends: list[RunFinished] = []
            engine.bus.subscribe(RunFinished, ends.append)
            await cancel(engine, scene, way)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            ((status, error),) = [(event.status, event.error) for event in ends]
            assert (status, error) == ("Cancelled", "CancelledError: ")
            assert await engine.run(cs.task(len)("abc").with_constraints(seat=1)) == 3

    in_loop(main)
    assert scene.ended == scene.minding  # one that had not begun never does


@every_tier
@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("inline map", "map with concurrency")])
def test_a_cancelled_run_ends_each_call_that_it_started(place: str, tier: Tier) -> None:
    scene = Scene(place)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}, thread_grace=60) as engine:
            spy = SpySubscriber(engine.bus)
            await cancel(engine, scene, "run")
            begun = [(event.task_id, event.iteration) for event in spy.events_of_type(TaskExecutionStarted)]
            ended = [(event.task_id, event.iteration) for event in spy.events_of_type(TaskExecutionFinished)]
            if place == "retry wait":
                (end,) = spy.events_of_type(TaskExecutionFinished)
                assert end.error == "CancelledError: "
            assert sorted(begun) == sorted(ended)
            assert len(set(begun)) == len(begun)
            assert {event.status for event in spy.events_of_type(TaskExecutionFinished)} <= {"Succeeded", "Cancelled"}
            assert spy.events[-1] == spy.events_of_type(RunFinished)[0]

    in_loop(main)


@every_way
@every_place
def test_asyncio_has_nothing_to_warn_of(place: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its debug mode also raises for each call into the loop from a thread that is not the loop's."""
    scene = Scene(place)

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = 60
        async with Engine(system_resources={"seat": 1}, thread_grace=60) as engine:
            await cancel(engine, scene, way)

    with caplog.at_level(logging.DEBUG, "cascade"), caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(main(), debug=True)
        gc.collect()
    assert [record.getMessage() for record in caplog.records] == []


def test_a_run_cancelled_before_it_began_ends_without_an_event() -> None:
    async def main() -> None:
        async with Engine() as engine:
            spy = SpySubscriber(engine.bus)
            target, begun = stay_target()
            run = engine.start(target)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert run.status == "Cancelled"
            assert not begun.is_set()
            assert spy.events == []

    in_loop(main)


def test_cancelling_by_an_id_that_no_run_has_says_so() -> None:
    async def main() -> None:
        async with Engine() as engine:
            assert engine.cancel("unknown") is False
            target, begun = stay_target()
            run = engine.start(target, run_id="it")
            assert engine.cancel("it") is True
            assert engine.cancel("it") is True
            with pytest.raises(asyncio.CancelledError):
                await run
            assert (run.status, begun.is_set()) == ("Cancelled", False)
            assert engine.cancel("it") is False
            assert await engine.run(cs.task(len)("abc"), run_id="it") == 3
            assert engine.cancel("it") is False

    in_loop(main)


def test_cancelling_by_id_leaves_other_runs_alone() -> None:
    async def main() -> None:
        async with Engine() as engine:
            targets = [stay_target() for _ in range(3)]
            runs = [engine.start(target, run_id=f"run {n}") for n, (target, _) in enumerate(targets)]
            for _, begun in targets:
                await begun.wait()
            assert engine.cancel("run 1")
            with pytest.raises(asyncio.CancelledError):
                await runs[1]
            assert [run.status for run in runs] == ["Running", "Cancelled", "Running"]
            for run in (runs[0], runs[2]):
                run.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await run

    in_loop(main)


@every_tier
def test_a_task_may_cancel_its_run_by_id_and_its_caller_goes_on(tier: Tier) -> None:
    """Nothing is awaited between the cancel and the end of the run."""

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            give_up = cs.task(mode="inline")(lambda: engine.cancel("it"))
            with pytest.raises(asyncio.CancelledError):
                await engine.run(give_up(), run_id="it")
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0)
            assert await engine.run(cs.task(len)("abc")) == 3

    in_loop(main)


@every_tier
def test_a_cancel_of_the_awaiting_task_is_its_own_whatever_ends_the_run(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            target, begun = stay_target()
            task = asyncio.ensure_future(engine.run(target, run_id="it"))
            await begun.wait()
            task.cancel()
            assert engine.cancel("it") is True
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert task.cancelling() == 1

    in_loop(main)


def test_cancelling_by_id_after_the_loop_has_ended_is_nothing() -> None:
    engine = Engine()

    async def main() -> None:
        assert await engine.run(cs.task(len)("abc"), run_id="it") == 3

    asyncio.run(main())
    assert engine.cancel("it") is False


def test_cancelling_twice_or_after_the_end_changes_nothing() -> None:
    async def main() -> None:
        async with Engine() as engine:
            target, begun = stay_target()
            run = engine.start(target)
            await begun.wait()
            run.cancel()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            run.cancel()
            assert run.status == "Cancelled"
            done = engine.start(cs.task(len)("abc"))
            assert await done == 3
            done.cancel()
            await turns()
            assert (done.status, await done) == ("Succeeded", 3)

    in_loop(main)


def test_cancelling_after_the_loop_has_ended_is_nothing() -> None:
    async def main() -> Any:
        async with Engine() as engine:
            run = engine.start(cs.task(len)("abc"))
            await run
            return run

    run = in_loop(main)
    run.cancel()
    assert run.status == "Succeeded"
