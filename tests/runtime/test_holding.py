"""A call of a run inside of a task that needs what the task holds: an error that names both, and no silence."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

import cascade as cs
from cascade.errors import ConstraintError
from cascade.runtime import Engine
from tests.workflows import Tier, every_tier, in_loop, turns


@cs.task(name="inner")
async def inner(n: int = 1) -> int:
    await turns(2)
    return n


def names_both(error: BaseException, what: str, holder: str = "outer#1", waiting: str = "inner#1") -> bool:
    words = str(error)
    return f"{waiting} (declared at" in words and f"{what} is held by {holder} (declared at" in words


def fails(engine: Engine, target: Any) -> Awaitable[BaseException]:
    async def failure() -> BaseException:
        with pytest.raises(ConstraintError, match="can never be let in") as caught:
            await engine.run(target)
        return caught.value

    return asyncio.wait_for(failure(), 20)


async def gathered(target: Any) -> Any:
    return await asyncio.gather(cs.arun(target), asyncio.sleep(0))


async def in_a_task(target: Any) -> Any:
    return await asyncio.create_task(cs.arun(target))


async def in_a_group(target: Any) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(cs.arun(target))
    except* ConstraintError as group_error:
        raise group_error.exceptions[0] from None


async def started(target: Any) -> Any:
    return await cs.current_engine().start(target)


async def waited(target: Any) -> Any:
    done, _ = await asyncio.wait([asyncio.create_task(cs.arun(target))])
    return [each.result() for each in done]


async def timed(target: Any) -> Any:
    return await asyncio.wait_for(cs.arun(target), 100)


WAYS: list[Callable[[Any], Any]] = [cs.arun, gathered, in_a_task, in_a_group, started, waited, timed]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_limit_that_the_waiting_task_holds(way: Callable[[Any], Any]) -> None:
    @cs.task(name="outer")
    async def outer() -> Any:
        return await way(inner())

    async def main() -> None:
        async with Engine() as engine:
            engine.set_limit("global", concurrency=1)
            error = await fails(engine, outer())
            assert names_both(error, "concurrency=1 (global)")
            assert await engine.run(inner(5)) == 5

    in_loop(main)


@pytest.mark.parametrize("way", ["run", "arun"])
def test_a_thread_that_waits(way: str) -> None:
    @cs.task(name="outer", mode="blocking")
    def outer() -> Any:
        return cs.run(inner()) if way == "run" else asyncio.run(cs.arun(inner()))

    async def main() -> None:
        async with Engine() as engine:
            engine.set_limit("global", concurrency=1)
            assert names_both(await fails(engine, outer()), "concurrency=1 (global)")

    in_loop(main)


@every_tier
def test_scopes_and_capacities(tier: Tier) -> None:
    @cs.task(name="outer")
    async def outer(target: Any) -> Any:
        return await cs.arun(target())

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"gpu": 2}) as engine:
            whole = lambda: inner().with_constraints(gpu=2)  # noqa: E731
            error = await fails(engine, outer(whole).with_constraints(gpu=1))
            assert names_both(error, "capacity gpu=2")
            assert await engine.run(outer(whole)) == 1
            enough = outer(lambda: inner().with_constraints(gpu=1))
            assert await engine.run(enough.with_constraints(gpu=1)) == 1
            engine.set_limit("task:outer", concurrency=1)
            again = outer(lambda: outer(lambda: inner()))
            error = await fails(engine, again)
            assert names_both(error, "concurrency=1 (task:outer)", waiting="outer#1")
            assert await engine.run(outer(lambda: inner())) == 1

    in_loop(main)


@every_tier
def test_deeper_and_in_sub_flows_and_maps(tier: Tier) -> None:
    @cs.task(name="outer")
    async def outer(n: int) -> Any:
        await asyncio.sleep(0)  # until the others have begun
        return await cs.arun(inner(n).with_constraints(gpu=1))

    @cs.task(name="between")
    async def between() -> Any:
        return await cs.arun([outer(1), inner(2)])

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"gpu": 1}) as engine:
            assert names_both(await fails(engine, between().with_constraints(gpu=1)), "capacity gpu=1", "between#1")
            whole = cs.subflow([outer(1), inner(3)]).with_constraints(gpu=1)
            error = await fails(engine, whole)
            assert "capacity gpu=1 is held by" in str(error)
            assert await engine.run(cs.subflow([outer(1), inner(3)])) == [1, 3]
            assert await engine.run(outer.map(n=range(3))) == [0, 1, 2]
            engine.set_limit("global", concurrency=3)
            error = await fails(engine, outer.map(n=range(3)))
            assert "outer#1[0]" in str(error)
            assert "outer#1[2]" in str(error)

    in_loop(main)


def test_others_that_will_end_are_waited_for() -> None:
    kept: list[asyncio.Task[Any]] = []

    @cs.task(name="outer")
    async def outer() -> Any:
        return await cs.arun(inner())

    @cs.task(name="other")
    async def other() -> int:
        await turns(20)
        return 2

    @cs.task(name="beginner")
    async def beginner() -> None:
        kept.append(asyncio.create_task(cs.arun(inner(3))))
        await turns(5)

    async def main() -> None:
        async with Engine() as engine:
            engine.set_limit("global", concurrency=2)
            assert await engine.run([other(), outer()]) == [2, 1]
            engine.set_limit("global", concurrency=1)
            await engine.run([beginner()])
            with suppress(asyncio.CancelledError):
                await kept[0]  # it ended with its run

    in_loop(main)


def test_what_passes_is_waited_for() -> None:
    @cs.task(name="outer")
    async def outer() -> Any:
        return await cs.arun(inner())

    async def main() -> None:
        async with Engine() as engine:
            engine.set_limit("global", rate=1000)
            engine.pause("task:inner")
            asyncio.get_running_loop().call_later(0.01, engine.resume, "task:inner")
            assert await engine.run(outer()) == 1
            engine.set_limit("global", concurrency=1, ttl=0.02)
            assert await engine.run(outer()) == 1

    in_loop(main)
