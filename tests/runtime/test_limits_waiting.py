"""Calls that wait to be let in: what they cost, what they see, and that they leave nothing behind."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from tests.workflows import Tier, every_tier, in_loop, turns


def idle(engine: Engine) -> bool:
    """Say whether nobody waits, and nothing is held."""
    admission = engine.admission
    return not admission._queues and not admission._running and admission.capacities.free == admission.capacities.whole


@every_tier
@pytest.mark.parametrize("how", ["constraint", "limit"])
def test_a_call_that_waits_has_no_task_of_asyncio_yet(how: str, tier: Tier) -> None:
    door = asyncio.Event()
    called = []

    @cs.task
    async def work(x: int) -> int:
        called.append(x)
        await door.wait()
        return x

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            if how == "limit":
                engine.set_limit("task:work", concurrency=1)
            nodes = [work(x) if how == "limit" else work(x).with_constraints(seat=1) for x in range(1_000)]
            run = engine.start(nodes)
            while not called:
                await asyncio.sleep(0)
            await turns()
            assert called == [0]
            assert len(asyncio.all_tasks()) < 5
            door.set()
            assert await run == [*range(1_000)]
            assert called == [*range(1_000)]
            assert idle(engine)

    in_loop(main)


@every_tier
def test_a_call_that_had_to_wait_sees_the_context_of_its_own_run(tier: Tier) -> None:
    name = ContextVar("name", default="nobody")
    door = asyncio.Event()
    seen: dict[int, str] = {}

    @cs.task
    async def work(x: int) -> None:
        await door.wait()
        seen[x] = name.get()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            runs = []
            for x, who in enumerate("abc"):
                name.set(who)
                runs.append(engine.start([work(x).with_constraints(seat=1), work(x + 3).with_constraints(seat=1)]))
            await turns()
            name.set("door")
            door.set()
            for run in runs:
                await run

    in_loop(main)
    assert seen == {0: "a", 1: "b", 2: "c", 3: "a", 4: "b", 5: "c"}


@every_tier
@pytest.mark.parametrize("when", ["at once", "later"])
def test_calls_of_a_failed_run_wait_no_more(when: str, tier: Tier) -> None:
    door = asyncio.Event()

    @cs.task
    async def hold() -> None:
        await door.wait()

    @cs.task(mode="inline")
    def fail(x: Any = None) -> None:
        raise ValueError("broken")

    @cs.task
    async def pause() -> None:
        await turns(3)

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            holder = engine.start(hold().with_constraints(seat=1))
            await turns()
            waiting = [hold().with_constraints(seat=1) for _ in range(3)]
            with pytest.raises(ValueError, match="broken"):
                await engine.run([*waiting, fail() if when == "at once" else fail(pause())])
            assert not engine.admission._queues
            door.set()
            await holder
            assert idle(engine)

    in_loop(main)


@every_tier
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_a_run_that_is_cancelled_at_any_turn_leaves_nothing_behind(count: int, tier: Tier) -> None:
    """Also between a call's being let in and its beginning."""
    called = []

    @cs.task
    async def work(x: int) -> int:
        called.append(x)
        await asyncio.sleep(0)
        return x

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 2}) as engine:
            engine.set_limit("global", concurrency=2)
            for first in range(8):
                run = engine.start([work(x).with_constraints(seat=1 + x % 2) for x in range(6)])
                await turns(count + first)
                run.cancel()
                if run.status == "Running":
                    with pytest.raises(asyncio.CancelledError):
                        await run
                await turns()
                assert idle(engine)
            assert await engine.run(work(7).with_constraints(seat=2)) == 7

    in_loop(main)


@every_tier
@pytest.mark.parametrize("is_paused", [True, False])
def test_a_call_let_in_before_limits_change_and_not_begun_waits_again_in_its_place(is_paused: bool, tier: Tier) -> None:
    door = asyncio.Event()
    called: list[str] = []

    @cs.task
    async def work(x: str) -> None:
        called.append(x)
        await door.wait()

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            run = engine.start([work(x).with_constraints(seat=1) for x in "abc"])
            while not called:
                await asyncio.sleep(0)
            door.set()
            while engine.admission._running and len(next(iter(engine.admission._queues.values())).waiting) == 2:
                await asyncio.sleep(0)  # until b is let in; its task has not begun
            assert called == ["a"]
            if is_paused:
                engine.pause()
                await turns(20)
                assert called == ["a"]
                engine.resume()
            else:
                engine.set_limit("task:nobody", concurrency=1)
            await run
            assert called == ["a", "b", "c"]
            assert idle(engine)

    in_loop(main)


@every_tier
def test_retries_of_a_call_that_had_to_wait(tier: Tier) -> None:
    tries: list[str] = []

    @cs.task
    async def work(x: str) -> str:
        tries.append(x)
        await asyncio.sleep(0)
        if tries.count(x) < 3:
            raise ValueError(x)
        return x

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            assert await engine.run([work(x).with_retry(3).with_constraints(seat=1) for x in "ab"]) == ["a", "b"]
            assert idle(engine)

    in_loop(main)
    assert sorted(tries) == ["a"] * 3 + ["b"] * 3


@every_tier
def test_resources_of_a_call_that_had_to_wait_are_set_up_in_its_turn(tier: Tier) -> None:
    log: list[str] = []

    @cs.resource(scope="task")
    async def thing() -> Any:
        log.append("up")
        yield 1
        log.append("down")

    @cs.task
    async def work(x: int, one: int = cs.inject(thing)) -> int:
        await asyncio.sleep(0)
        return x + one

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"seat": 1}) as engine:
            assert await engine.run([work(x).with_constraints(seat=1) for x in range(3)]) == [1, 2, 3]
            assert idle(engine)

    in_loop(main)
    assert log == ["up", "down"] * 3


# --- maps


@pytest.mark.parametrize("what", ["paused", "limited", "constrained"])
def test_a_map_begins_only_so_many_items_that_have_to_wait(what: str) -> None:
    """Of a hundred thousand items that may not start, a thousand wait at a time."""
    done: list[int] = []
    door = asyncio.Event()

    @cs.task
    async def hold(x: int) -> None:
        if not x:
            await door.wait()
        done.append(x)

    async def main() -> None:
        async with Engine(system_resources={"seat": 1}) as engine:
            mapped = hold.map(x=range(20_000))
            if what == "paused":
                engine.pause("task:hold")
            elif what == "limited":
                engine.set_limit("task:hold", concurrency=1)
            else:
                mapped.with_constraints(seat=1)
            running = engine.start(mapped)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) < 1_100
            door.set()
            engine.resume("task:hold")
            await running

    asyncio.run(main())
    assert done == [*range(20_000)]
