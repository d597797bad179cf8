"""Waits of tasks for what waits for them: an error that names both; and waits that can end, which go on."""

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

import cascade as cs
from cascade.errors import CacheError, ConstraintError
from cascade.runtime import Engine, Run
from tests.workflows import Tier, every_tier, in_loop, turns


@cs.task(name="gpu", constraints={"gpu": 1})
def gpu(x: int = 1) -> int:
    return x


@cs.task(name="plain")
def plain(x: int = 1) -> int:
    return x


def fails(engine: Engine, target: Any, kind: type[Exception], words: str) -> Awaitable[None]:
    async def failure() -> None:
        with pytest.raises(kind, match=words):
            await engine.run(target)

    return asyncio.wait_for(failure(), 20)


async def behind(target: Any) -> Any:
    """Await a run only some time after it was begun."""
    task = asyncio.create_task(cs.arun(target))
    await turns(5)
    return await task


async def in_a_task(target: Any) -> Any:
    return await asyncio.create_task(cs.arun(target))


async def waited(target: Any) -> Any:
    run = cs.current_engine().start(target)

    async def awaits() -> Any:
        return await run

    task = asyncio.create_task(awaits())
    await asyncio.wait([task])
    return task.result()


WAYS: list[Callable[[Any], Any]] = [cs.arun, in_a_task, waited, behind]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


# --- calls of the same key


@every_way
@every_tier
def test_a_cached_call_that_waits_for_itself(tier: Tier, way: Callable[[Any], Any]) -> None:
    @cs.task(name="f", cache=cs.cached())
    async def f(x: int) -> Any:
        return x if x > 4 else await way(f(x))

    @cs.task(name="g", cache=cs.cached())
    async def g(x: int) -> Any:
        return await way(h(x))

    @cs.task(name="h", cache=cs.cached())
    async def h(x: int) -> Any:
        return await way(g(x))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            await fails(
                engine, f(1), CacheError, r"f#1 \(declared at .* waits for a call of the same key .* f#1 \(decl"
            )
            if way is cs.arun:
                await fails(engine, g(1), CacheError, r"g#1 \(declared at .* waits for .* g#1 \(declared at")
                await fails(engine, [g(1), h(1)], CacheError, "waits for a call of the same key")
                await fails(engine, f.map(x=[7, 2]), CacheError, r"f#1\[1\]")
                await fails(engine, cs.subflow(f(1)), CacheError, "waits for a call of the same key")
                await fails(engine, f(1).with_retry(2, delay=0), CacheError, "waits for a call of the same key")
            assert await engine.run(f(5)) == 5

    in_loop(main)


def test_a_cached_call_in_a_thread_that_waits_for_itself() -> None:
    @cs.task(name="f", cache=cs.cached(), mode="blocking")
    def f(x: int) -> Any:
        return cs.run(f(x))

    async def main() -> None:
        async with Engine() as engine:
            await fails(engine, f(1), CacheError, "f#1 .* waits for a call of the same key")

    in_loop(main)


@every_tier
def test_equal_keys_that_can_end_are_waited_for(tier: Tier) -> None:
    kept: list[asyncio.Task[Any]] = []

    @cs.task(name="slow", cache=cs.cached())
    async def slow(x: int) -> int:
        await turns(10)
        return x

    @cs.task(name="outer", cache=cs.cached())
    async def outer(x: int) -> Any:
        return await cs.arun([slow(1), slow(1), slow.map(x=[1, 1, 2])])

    @cs.task(name="beginner", cache=cs.cached())
    async def beginner(x: int) -> int:
        if not kept:
            kept.append(asyncio.create_task(cs.arun(beginner(x))))
        await turns(10)
        return x

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            assert await engine.run(outer.map(x=[1, 2, 1])) == [[1, 1, [1, 1, 2]]] * 3
            assert await engine.run([beginner(3), slow(9)]) == [3, 9]
            with suppress(asyncio.CancelledError):
                assert await kept[0] == 3

    in_loop(main)


# --- runs


async def by_itself(run: Run[Any]) -> Any:
    return await run


async def by_another(run: Run[Any]) -> Any:
    return await asyncio.create_task(by_itself(run))


async def a_little_later(run: Run[Any]) -> Any:
    task = asyncio.create_task(by_itself(run))
    await turns(5)
    return await task


@pytest.mark.parametrize("way", [by_itself, by_another, a_little_later], ids=lambda way: way.__name__)
@every_tier
def test_a_task_that_awaits_its_own_run(tier: Tier, way: Callable[[Any], Any]) -> None:
    runs: dict[str, Run[Any]] = {}

    @cs.task(name="mine")
    async def mine(which: str = "own") -> Any:
        await turns(2)
        return await way(runs[which])

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for target in (mine(), [mine(), plain()], mine.map(which=["own"]), cs.subflow(mine())):
                runs["own"] = engine.start(target)
                with pytest.raises(RuntimeError, match=r"mine#1.* awaits the run .*, which itself waits for it"):
                    await asyncio.wait_for(runs["own"], 20)
            runs["a"], runs["b"] = engine.start(mine("b")), engine.start(mine("a"))
            for run in runs["a"], runs["b"]:
                with pytest.raises(RuntimeError, match=r"mine#1.* awaits the run .*, which itself waits for it"):
                    await asyncio.wait_for(run, 20)

    in_loop(main)


def test_a_run_inside_that_awaits_the_one_around() -> None:
    runs: list[Run[Any]] = []

    @cs.task(name="inner")
    async def inner() -> Any:
        return await runs[0]

    @cs.task(name="outer")
    async def outer() -> Any:
        await turns(1)
        return await cs.arun(inner())

    async def main() -> None:
        async with Engine() as engine:
            runs.append(engine.start(outer()))
            with pytest.raises(RuntimeError, match=r"inner#1.* awaits the run .*, which itself waits for it"):
                await asyncio.wait_for(runs[0], 20)

    in_loop(main)


def test_code_that_nobody_waits_for_may_await_its_own_run_and_is_cancelled_with_it() -> None:
    runs: list[Run[Any]] = []
    kept: list[asyncio.Task[Any]] = []

    @cs.task(name="mine")
    async def mine(count: int = 5) -> int:
        await turns(1)
        kept.append(asyncio.create_task(by_itself(runs[-1])))
        await turns(count)
        if count > 5:
            await kept[-1]
        return 3

    async def main() -> None:
        async with Engine() as engine:
            runs.append(engine.start(mine()))
            assert await runs[0] == await kept[0] == 3
            runs.append(engine.start(mine(10)))
            await turns(15)
            runs[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await runs[1]

    in_loop(main)


# --- resources of an engine


@every_tier
def test_a_resource_whose_set_up_waits_for_itself(tier: Tier) -> None:
    @cs.resource(name="it", scope="engine")
    async def it() -> Any:
        yield await cs.arun(user())

    @cs.resource(name="blocking", scope="engine")
    def blocking() -> Any:
        yield cs.run(blocked_user())

    @cs.resource(name="left", scope="engine")
    async def left() -> Any:
        yield await cs.arun(right_user())

    @cs.resource(name="right", scope="engine")
    async def right(of: Any = cs.inject("left")) -> Any:
        yield of

    @cs.task(name="user")
    async def user(of: Any = cs.inject("it")) -> Any:
        return of

    @cs.task(name="blocked_user")
    def blocked_user(of: Any = cs.inject("blocking")) -> Any:
        return of

    @cs.task(name="right_user")
    def right_user(of: Any = cs.inject("right")) -> Any:
        return of

    async def main() -> None:
        for made, asks, who in (
            (it, user(), "user#1"),
            (blocking, blocked_user(), "blocked_user#1"),
            (left, right_user(), ""),
        ):
            async with Engine(tier=tier) as engine:
                for each in (made, right):
                    engine.register(each)
                words = rf"{who}.* asks for the resource .*, whose set-up itself waits for it"
                await fails(engine, asks, RuntimeError, words)

    in_loop(main)


def test_a_set_up_that_others_wait_for_may_run_tasks() -> None:
    @cs.resource(name="it", scope="engine")
    async def it() -> Any:
        yield await cs.arun([plain(2), gpu(3)])

    @cs.task(name="user", constraints={"cpu": 1})
    async def user(x: int, of: Any = cs.inject("it")) -> Any:
        return of

    @cs.task(name="outer")
    async def outer() -> Any:
        return await cs.arun(user.map(x=range(3)))

    async def main() -> None:
        async with Engine(system_resources={"gpu": 1, "cpu": 2}) as engine:
            engine.register(it)
            assert await engine.run([outer(), outer()]) == [[[2, 3]] * 3] * 2

    in_loop(main)


# --- capacities, in ways that are not seen where the run begins


@every_way
@every_tier
def test_a_run_that_is_awaited_in_the_end(tier: Tier, way: Callable[[Any], Any]) -> None:
    @cs.task(name="outer", constraints={"gpu": 1})
    async def outer() -> Any:
        return await way([gpu(), cs.subflow(gpu(2))])

    async def main() -> None:
        async with Engine(tier=tier, system_resources={"gpu": 1}) as engine:
            await fails(engine, outer(), ConstraintError, r"gpu#\d .* can never be let in: .* is held by outer#1")

    in_loop(main)


@pytest.mark.parametrize(
    "target",
    [
        gpu.map(x=range(3)),
        gpu.map(x=(x for x in range(3))),
        plain.map(x=gpu.map(x=range(3))),
        gpu.map(x=plain.map(x=[1])),
    ],
    ids=["map", "generator", "behind", "before"],
)
def test_results_that_are_taken_as_they_come(target: Any) -> None:
    @cs.task(name="outer")
    async def outer() -> Any:
        return [value async for value in cs.current_engine().as_completed(target)]

    async def main() -> None:
        async with Engine(system_resources={"gpu": 1}) as engine:
            words = r"gpu#1\[0\] .* can never be let in: .* is held by outer#1"
            await fails(engine, outer().with_constraints(gpu=1), ConstraintError, words)

    in_loop(main)


def test_results_that_come_are_taken() -> None:
    @cs.task(name="outer")
    async def outer() -> Any:
        return [value async for value in cs.current_engine().as_completed(gpu.map(x=range(3)))]

    async def main() -> None:
        async with Engine(system_resources={"gpu": 2}) as engine:
            assert await engine.run(outer().with_constraints(gpu=1)) == [0, 1, 2]
            assert await engine.run([outer(), outer()]) == [[0, 1, 2]] * 2

    in_loop(main)


@pytest.mark.parametrize("way", ["result", "exception", "wait"])
def test_a_thread_that_asks_the_event_loop(way: str) -> None:
    @cs.task(name="outer", mode="blocking", constraints={"gpu": 1})
    def outer(seconds: float | None) -> Any:
        engine = cs.current_engine()
        future = asyncio.run_coroutine_threadsafe(engine.run(gpu()), loops[0])
        if way == "wait":
            concurrent.futures.wait([future], seconds)
        elif way == "exception" and seconds is None:
            future.exception()
        try:
            return future.result(seconds)
        except TimeoutError:
            return "late"

    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with Engine(system_resources={"gpu": 1}) as engine:
            await fails(engine, outer(None), ConstraintError, r"gpu#\d .* can never be let in: .* is held by outer#1")
            assert await engine.run(outer(0.06)) == "late"

    in_loop(main)


def test_a_run_that_another_task_awaits_is_waited_for() -> None:
    begun: list[asyncio.Task[Any]] = []

    @cs.task(name="beginner", constraints={"gpu": 1})
    async def beginner() -> int:
        begun.append(asyncio.create_task(cs.arun(gpu(3))))
        await turns(10)
        return 2

    @cs.task(name="fetcher")
    async def fetcher() -> Any:
        while not begun:
            await asyncio.sleep(0)
        return await begun[0]

    async def main() -> None:
        async with Engine(system_resources={"gpu": 1}) as engine:
            assert await engine.run([beginner(), fetcher()]) == [2, 3]

    in_loop(main)
