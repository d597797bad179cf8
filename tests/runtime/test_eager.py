"""Runs that await users' code have an asyncio task of their own, which begins at once."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import Engine
from cascade.runtime.event_loop.eager import begin
from tests.workflows import Tier, every_tier, in_loop

here: ContextVar[str] = ContextVar("here", default="outside")


@cs.task
async def at_once(n: int) -> int:
    return n + 1


@every_tier
def test_a_run_that_never_waits_takes_no_iteration_of_the_event_loop(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:
            turned: list[None] = []
            asyncio.get_running_loop().call_soon(turned.append, None)
            assert await engine.run(at_once(at_once(1))) == 3
            assert (turned, asyncio.all_tasks()) == ([], {asyncio.current_task()})

    in_loop(main)


@every_tier
def test_it_is_one_task_and_one_context_before_and_after_its_first_wait(tier: Tier) -> None:
    async def look() -> tuple[Any, str]:
        return asyncio.current_task(), here.get()

    @cs.task
    async def waits() -> list[Any]:
        here.set("inside")
        first = await look()
        await asyncio.sleep(0)
        second = await look()
        await asyncio.sleep(0.001)
        return [first, second, await look()]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            seen = await engine.run(waits())
            assert len({*seen}) == 1
            assert seen[0][0] is not asyncio.current_task()
            assert (seen[0][1], here.get()) == ("inside", "outside")

    in_loop(main)


def own_cancel(future: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def nothing(future: Any) -> None: ...


def give(future: Any) -> None:
    future.set_result("given")


def fail(future: Any) -> None:
    future.set_exception(LookupError("no"))


@pytest.mark.parametrize(
    ("inside", "outside", "expected"),
    [
        (nothing, give, "given"),
        (nothing, fail, LookupError),
        (nothing, asyncio.Future.cancel, asyncio.CancelledError),
        (own_cancel, nothing, asyncio.CancelledError),
    ],
)
@pytest.mark.parametrize("awaits", ["future", "gathered", "shared", "nothing"])
def test_what_comes_before_the_event_loop_has_had_a_turn(
    inside: Callable[[Any], None], outside: Callable[[Any], None], expected: Any, awaits: str
) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        found: list[Any] = []

        async def work() -> None:
            try:
                inside(future)
                if awaits == "nothing":
                    await asyncio.sleep(0)
                found.append((await asyncio.gather(future))[0] if awaits == "gathered" else await future)
            except BaseException as error:
                found.append(type(error))

        begin(asyncio.get_running_loop(), work())
        other = asyncio.create_task(asyncio.wait({future})) if awaits == "shared" else None
        outside(future)
        for _ in range(5):
            await asyncio.sleep(0)
        assert found == [expected]
        if other is not None:
            await other
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
