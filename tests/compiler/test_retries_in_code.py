"""First attempts in emitted functions: a call under a retry policy is managed only once it has failed."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.compiled_root import FusedRoot
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted, TaskRetrying
from tests.workflows import Tier, every_tier, in_loop, inline, run


class Flaky(Exception):
    pass


class Calls:
    """Says which of the calls of a task fail, and counts them."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.count = 0

    def __call__(self, x: int) -> int:
        self.count += 1
        if self.count in self.failing:
            raise Flaky(f"call {self.count}")
        return x + 1


def task_of(calls: Calls) -> Any:
    def flaky(x: int) -> int:
        return calls(x)

    return inline(flaky)


@cs.task(mode="inline")
def plus(x: int) -> int:
    return x + 1


def chain(calls: Calls, attempts: int = 2) -> Any:
    flaky = task_of(calls)
    value = plus(cs.Param("x", default=0))
    for _ in range(4):
        value = plus(flaky(x=value).with_retry(attempts))
    return value


def loop(calls: Calls, n: int) -> Any:
    def go_on(n: int, total: int) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n > 1 else total

    step = inline(go_on)(n, chain(calls))
    return cs.bind(step, cs.select_jump({"again": step}))


def fused(target: Any, *watch: bool) -> FusedRoot:
    found: FusedRoot = target.plan.blueprint.root.fused[watch or (False, False, False)]
    return found


@every_tier
@pytest.mark.parametrize("failing", [(), (1,), (4,), (2, 5), (3, 4)])
def test_each_failure_is_one_more_call(tier: Tier, failing: tuple[int, ...]) -> None:
    calls = Calls(*failing)
    target = chain(calls, attempts=3)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(20):
                calls.count = 0
                assert await engine.run(target) == 9
                assert calls.count == 4 + len(failing)

    in_loop(main)
    if tier != "interpret":
        assert fused(target).whole is not None  # no policy keeps it from being one function


@every_tier
def test_in_a_loop_too(tier: Tier) -> None:
    calls = Calls(3, 50, 77)
    target = loop(calls, 40)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(3):
                calls.count = 0
                assert await engine.run(target) == 9
                assert calls.count == 4 * 40 + 3

    in_loop(main)


@every_tier
@pytest.mark.parametrize("failing", [(), (1,), (1, 2)])
def test_on_a_route_that_several_may_take(tier: Tier, failing: tuple[int, ...]) -> None:
    calls = Calls(*failing)
    flaky = task_of(calls)(x=5).with_retry(3)
    first = cs.Router(cs.Param("way", default="there"), {"there": plus(flaky)}, default=flaky)
    second = cs.Router(first, {7: flaky}, default=0)
    target = [plus(first), plus(second), plus(cs.Router(0, {0: flaky}))]

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(20):
                calls.count = 0
                assert await engine.run(target) == [8, 7, 7]
                assert calls.count == 1 + len(failing)

    in_loop(main)


@every_tier
def test_what_fails_for_good_names_its_attempt(tier: Tier) -> None:
    for target, last in ((chain(Calls(2, 3)), 2), (loop(Calls(50, 51), 40), 2), (chain(Calls(2), attempts=1), 1)):
        with pytest.raises(Flaky) as caught:
            run(target, tier=tier)
        assert f"attempt {last}" in "".join(caught.value.__notes__)
        assert "in task flaky#" in "".join(caught.value.__notes__)


@every_tier
def test_a_filter_is_asked_about_the_first_attempt(tier: Tier) -> None:
    asked = []

    def is_worth_it(error: Exception) -> bool:
        asked.append(str(error))
        return len(asked) < 2

    calls = Calls(1, 2, 3)
    with pytest.raises(Flaky, match="call 2"):
        run(task_of(calls)(1).with_retry(5, on=is_worth_it), tier=tier)
    assert asked == ["call 1", "call 2"]


@every_tier
def test_what_a_condition_raises_is_no_attempt(tier: Tier) -> None:
    asked = []

    class Odd:
        def __bool__(self) -> bool:
            asked.append(self)
            raise Flaky("no truth")

    condition = inline(lambda: Odd())()
    calls = Calls()
    with pytest.raises(Flaky, match="no truth"):
        run(plus(task_of(calls)(1).run_if(condition).with_retry(3)), tier=tier)
    assert (len(asked), calls.count) == (1, 0)


@every_tier
def test_a_coroutine_that_a_function_gives_belongs_to_the_attempt(tier: Tier) -> None:
    made: list[int] = []

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        if len(made) < 3:
            raise Flaky
        return x + 1

    def give(x: int) -> Any:
        made.append(x)
        return later(x)

    target = plus(inline(give)(x=plus(0)).with_retry(3))
    assert run(target, tier=tier) == 3
    assert len(made) == 3


@every_tier
def test_all_attempts_are_told_as_one_call(tier: Tier) -> None:
    told: list[Any] = []
    bus = MessageBus()
    for kind in (TaskExecutionStarted, TaskRetrying, TaskExecutionFinished):
        bus.subscribe(kind, told.append)
    run(chain(Calls(2)), tier=tier, bus=bus)
    flaky = [(type(event).__name__, event.task_id) for event in told if event.task_name == "flaky"]
    assert flaky.count(("TaskExecutionStarted", "flaky#2")) == flaky.count(("TaskExecutionFinished", "flaky#2")) == 1
    assert ("TaskRetrying", "flaky#2") in flaky
    assert len(flaky) == 9


@every_tier
def test_a_failure_that_was_made_good_is_let_go_of(tier: Tier) -> None:
    errors: list[weakref.ref[Flaky]] = []

    def known(error: Flaky) -> Flaky:
        errors.append(weakref.ref(error))
        return error

    def fail_once(x: int) -> int:
        if not errors:
            raise known(Flaky())
        return x

    target = plus(inline(fail_once)(plus(1)).with_retry(2))
    gc.collect()
    gc.disable()
    try:
        assert run(target, tier=tier) == 3
        assert errors[0]() is None
    finally:
        gc.enable()
