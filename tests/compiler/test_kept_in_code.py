"""What a cache keeps, looked at in place and in emitted loops: a result that is there costs a look, and no more."""

import asyncio
from typing import Any

import pytest

import cascade as cs
from cascade.adapters.caching import MemoryStore
from cascade.compiler.transition_profile import profile_of
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskSkipped
from cascade.runtime.policies import cache
from tests.workflows import Tier, every_tier, in_loop, inline

CALLED: list[Any] = []
TIMES = 2


def times(x: Any) -> Any:
    CALLED.append(x)
    return x * TIMES


@pytest.fixture(autouse=True)
def none_called() -> None:
    CALLED.clear()


def looped(value: Any, n: int = 40, between: Any = None) -> Any:
    def go_on(n: int, value: Any) -> Any:
        if between is not None:
            between(n)
        return cs.Jump("again", {"n": n - 1}) if n > 1 else value

    step = inline(go_on)(n, value)
    return cs.bind(step, cs.select_jump({"again": step}))


def wrapped(x: int) -> int:
    CALLED.append(x)
    return (x + 1) % 3


@every_tier
@pytest.mark.parametrize("style", ["inline", "auto", "async"])
def test_each_key_is_called_for_once(tier: Tier, style: str) -> None:
    async def awaited(x: int) -> int:
        return wrapped(x)

    task: Any = cs.task(awaited) if style == "async" else inline(wrapped) if style == "inline" else cs.task(wrapped)
    value: Any = 0
    for _ in range(7):
        value = task(x=value).with_cache(cs.cached())
    target = looped(value)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(3):
                assert await engine.run(target) == 1
                assert await engine.run(value) == 1

    in_loop(main)
    assert CALLED == [0, 1, 2]
    if style != "async" and tier != "interpret":
        (hot,) = [hot for hot in profile_of(target.plan.blueprint).made.values() if hot]
        assert "kept(" in hot.loop.source


@every_tier
def test_what_the_function_reaches_is_looked_at_each_time(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(n: int) -> None:
        if n == 20:
            monkeypatch.setattr("tests.compiler.test_kept_in_code.TIMES", 5)

    target = looped(inline(times)(x=3).with_cache(cs.cached()), between=change)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            assert await engine.run(target) == 15

    in_loop(main)
    assert CALLED == [3, 3]


@every_tier
def test_equal_arguments_of_other_content_are_other_calls(tier: Tier) -> None:
    policy = cs.cached()
    values = [1, True, 1.0, 0, 0.0, -0.0, False, "1", b"1", None, "", (1,), [1], (True,), "x" * 1000]

    def spelled(x: Any) -> str:
        CALLED.append(x)
        return repr(x)

    targets = [inline(spelled)(x=value).with_cache(policy) for value in values]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(20):
                assert await engine.run(targets) == list(map(repr, values))

    in_loop(main)
    assert list(map(repr, CALLED)) == list(map(repr, values))


@every_tier
def test_what_is_too_old_or_gone_is_called_for_again(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    now, store = [100.0], MemoryStore(max_entries=2)
    monkeypatch.setattr(cache, "clock", lambda: now[0])
    aging = looped(inline(times)(x=3).with_cache(cs.cached(ttl=10)))
    held = [inline(times)(x=at).with_cache(cs.cached(store)) for at in (7, 8)]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for moment in (100.0, 109.9, 110.0, 119.0):
                now[0] = moment
                assert await engine.run(aging) == 6
            assert CALLED == [3, 3]
            for _ in range(20):
                assert await engine.run(held) == [14, 16]
            assert sorted(CALLED[2:]) == [7, 8]
            store.clear()
            assert await engine.run(held) == [14, 16]
            assert sorted(CALLED[4:]) == [7, 8]

    in_loop(main)


@every_tier
def test_what_is_given_is_a_copy_of_its_own(tier: Tier) -> None:
    def listed(x: int) -> list[int]:
        CALLED.append(x)
        return [x]

    def grown(values: list[int]) -> int:
        values.append(0)
        return len(values)

    target = looped(inline(grown)(inline(listed)(x=1).with_cache(cs.cached())))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(2):
                assert await engine.run(target) == 2

    in_loop(main)
    assert CALLED == [1]


@every_tier
def test_a_call_that_is_on_its_way_is_waited_for(tier: Tier) -> None:
    async def slow(x: int) -> int:
        CALLED.append(x)
        for _ in range(5):
            await asyncio.sleep(0)
        return x

    task, policy = cs.task(slow), cs.cached()
    target = [task(x=4).with_cache(policy) for _ in range(5)]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            first, second = engine.start(target), engine.start(target)
            assert [await first, await second] == [[4] * 5] * 2

    in_loop(main)
    assert CALLED == [4]


@every_tier
def test_a_look_is_told_where_somebody_listens_and_no_attempt_is_made(tier: Tier) -> None:
    told: list[str] = []
    bus = MessageBus()
    target = looped(inline(times)(x=3).with_cache(cs.cached()).with_retry(2).with_constraints(seat=1), 10)

    async def main() -> None:
        async with Engine(tier=tier, bus=bus, system_resources={"seat": 1}) as engine:
            assert await engine.run(target) == 6
            handle = bus.subscribe(TaskSkipped, lambda event: told.append(event.reason))
            assert await engine.run(target) == 6
            handle.unsubscribe()
            assert await engine.run(target) == 6

    in_loop(main)
    assert told == ["CacheHit"] * 10
    assert CALLED == [3]
