"""Flows that became functions: whole ones, stretches between managed calls, and how they are left in the middle."""

import asyncio
import gc
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.analysis.shapes import MOST_KEPT
from cascade.compiler.compiled_root import FusedRoot
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted, TaskSkipped
from tests.workflows import every_tier, in_loop, inline, run


@cs.task(mode="inline")
def inc(x: int) -> int:
    return x + 1


@cs.task(mode="inline")
def add(a: int, b: int) -> int:
    return a + b


@cs.task
async def wait(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


def fused(target: Any) -> FusedRoot:
    """How `target` ran last, where nobody watched."""
    found: FusedRoot = target.plan.blueprint.root.fused[False, False, False]
    return found


def chain(task: Any, length: int, value: Any = 0) -> Any:
    for _ in range(length):
        value = task(value)
    return value


def test_a_flow_of_plain_calls_is_one_function() -> None:
    target = add(chain(inc, 3), chain(inc, 4))
    assert run(target, tier="compile") == 7
    whole = fused(target).whole
    assert whole is not None
    assert not whole.is_async
    assert whole.source.count("= inc(") == 7


def test_auto_waits_until_it_pays() -> None:
    target = chain(inc, 5)

    async def main() -> None:
        async with Engine() as engine:
            for _ in range(16):
                assert await engine.run(target) == 5
            assert not target.plan.blueprint.root.fused
            assert await engine.run(target) == 5
            assert fused(target).whole is not None

    in_loop(main)


def test_coroutines_that_nothing_could_run_beside_are_awaited_in_place() -> None:
    target = inc(wait(inc(wait(1))))
    assert run(target, tier="compile") == 5
    whole = fused(target).whole
    assert whole is not None
    assert whole.is_async
    assert whole.source.count("await wait(") == 2


def test_coroutines_side_by_side_are_left_to_the_scheduler() -> None:
    reached: list[int] = []

    @cs.task
    async def meet(x: int) -> int:
        reached.append(x)
        while len(reached) < 2:
            await asyncio.sleep(0)
        return x

    target = add(chain(inc, 3, meet(1)), chain(inc, 4, meet(2)))
    assert run(target, tier="compile") == 10
    assert fused(target).whole is None
    assert len(fused(target).pieces) == 2


def test_what_does_not_wait_runs_before_what_does() -> None:
    order: list[str] = []

    @cs.task
    async def slow(x: int) -> int:
        order.append("slow")
        await asyncio.sleep(0)
        order.append("done")
        return x

    @inline
    def quick(x: int) -> int:
        order.append("quick")
        return x

    assert run(add(inc(slow(1)), quick(2)), tier="compile") == 4
    assert order == ["quick", "slow", "done"]


def test_a_managed_call_keeps_its_neighbours_fused() -> None:
    failures = iter([True, False])

    @inline
    def flaky(x: int) -> int:
        if next(failures):
            raise OSError("again")
        return x

    target = chain(inc, 5, flaky(chain(inc, 5)).with_retry(2).with_timeout(60))
    assert run(target, tier="compile") == 10
    assert [len(piece.steps) for piece in fused(target).pieces] == [5, 5]


def test_a_long_chain_is_cut_into_pieces() -> None:
    target = chain(inc, 1_000)
    assert run(target, tier="compile") == 1_000
    assert [len(piece.steps) for piece in fused(target).pieces] == [200] * 5


def at_call(number: int, make: Callable[[], Any]) -> tuple[Any, list[int]]:
    """A task that returns what `make` makes at its call `number`, and the list of its calls."""
    calls: list[int] = []

    @inline
    def changing(x: int) -> Any:
        calls.append(x)
        return make() if len(calls) == number else x + 1

    return changing, calls


async def later() -> int:
    await asyncio.sleep(0)
    return 100


@every_tier
@pytest.mark.parametrize("length", [10, 450])
def test_a_coroutine_returned_in_the_middle_is_awaited_and_no_call_is_repeated(tier: Any, length: int) -> None:
    changing, calls = at_call(5, later)
    assert run(chain(changing, length), tier=tier) == 100 + length - 5
    assert len(calls) == length


@every_tier
@pytest.mark.parametrize("length", [10, 450])
def test_an_error_in_the_middle_names_its_node(tier: Any, length: int) -> None:
    def fail() -> Any:
        raise LookupError("the reason")

    changing, calls = at_call(length - 3, fail)
    with pytest.raises(LookupError, match="the reason") as caught:
        run(chain(changing, length), tier=tier)
    assert f"in task changing#{length - 3} " in caught.value.__notes__[0]
    assert len(calls) == length - 3
    shown = "".join(traceback.format_exception(caught.value))
    assert ("= changing(" in shown) == (tier == "compile")


@every_tier
def test_a_tail_call_in_the_middle(tier: Any) -> None:
    changing, calls = at_call(5, lambda: cs.TailCall(kwargs={"x": 50}))
    assert run(chain(changing, 10), tier=tier) == 51 + 5
    assert len(calls) == 11


@every_tier
def test_routes_and_conditions_are_left_in_the_middle_of_a_branch(tier: Any) -> None:
    changing, calls = at_call(2, later)
    routed = cs.Router(inc(0), {1: changing(changing(changing(1))), 2: inc(5)})
    target = add(routed, inc(inc(0).run_if(True)))
    assert run(target, tier=tier) == 103
    assert len(calls) == 3


@every_tier
def test_events_are_the_same(tier: Any) -> None:
    rows = inc(1)
    target = add(
        cs.Router(cs.Param("key", "a"), {"a": inc(rows), "b": chain(inc, 3, rows)}),
        inc(rows).run_if(cs.Param("flag", False), otherwise=chain(inc, 2, 7)),
    )

    async def main() -> None:
        bus = MessageBus()
        seen: list[Any] = []
        bus.subscribe(TaskEvent, seen.append)
        async with Engine(tier=tier, bus=bus) as engine:
            for _ in range(3):
                seen.clear()
                assert await engine.run(target) == 12
                told = [
                    (type(one).__name__, one.task_id, getattr(one, "reason", None) or getattr(one, "status", None))
                    for one in seen
                ]
                assert len({one.event_id for one in seen}) == len(seen)
                started = [one for one in told if one[0] == "TaskExecutionStarted"]
                finished = [one for one in told if one[0] == "TaskExecutionFinished"]
                skipped = sorted(one for one in told if one[0] == "TaskSkipped")
                assert len(started) == len(finished) == 5
                assert [one[2] for one in skipped] == ["ConditionFalse", *["Pruned"] * 3]

    in_loop(main)


@every_tier
def test_a_subscriber_of_skips_alone(tier: Any) -> None:
    bus = MessageBus()
    seen: list[TaskSkipped] = []
    bus.subscribe(TaskSkipped, seen.append)
    target = [inc(1).run_if(False, otherwise=0), inc(2)]
    assert run(target, tier=tier, bus=bus) == [0, 3]
    assert [event.task_id for event in seen] == ["inc#1"]


@every_tier
def test_a_failed_call_is_told_once(tier: Any) -> None:
    @inline
    def fail(x: int) -> int:
        raise ValueError("no")

    bus = MessageBus()
    seen: list[Any] = []
    bus.subscribe(TaskExecutionStarted, seen.append)
    bus.subscribe(TaskExecutionFinished, seen.append)
    with pytest.raises(ValueError, match="no"):
        run(inc(fail(inc(1))), tier=tier, bus=bus)
    assert [(event.task_name, getattr(event, "status", None)) for event in seen] == [
        ("inc", None),
        ("inc", "Succeeded"),
        ("fail", None),
        ("fail", "Failed"),
    ]


def listened() -> MessageBus:
    bus = MessageBus()
    bus.subscribe(TaskExecutionFinished, lambda event: None)
    return bus


def test_flows_of_one_shape_that_somebody_listens_to_share_one_function() -> None:
    def declared(n: int) -> Any:
        return add(chain(inc, 3, n), n)

    first, second, other = declared(1), declared(10), add(inc(1), 1)
    for target, value in ((first, 5), (second, 23), (other, 3)):
        assert run(target, tier="compile", bus=listened()) == value
    found = [target.plan.blueprint.root.fused[False, True, False] for target in (first, second, other)]
    assert found[0] is found[1] is not found[2]


@pytest.mark.parametrize("is_heard", [False, True])
def test_a_flow_declared_anew_for_each_run_is_compiled_when_its_shape_has_been_seen_enough(is_heard: bool) -> None:
    """If somebody listens; else the interpreter is through before its shape is known."""

    @inline
    def last(x: int) -> int:
        return x

    def declared(n: int) -> Any:
        return last(chain(inc, 3, n))

    async def main() -> None:
        found = []
        async with Engine(bus=listened() if is_heard else None) as engine:
            for n in range(20):
                target = declared(n)
                assert await engine.run(target) == n + 3
                found.append(target.plan.blueprint.root.fused.get((False, is_heard, False)))
        assert found[0] is None
        assert (found[-1] is not None) is is_heard
        assert found[-1] is found[-2]

    in_loop(main)


def test_literals_containers_and_keys_that_are_equal_but_not_the_same() -> None:
    def declared(key: Any, item: Any) -> Any:
        return keep({key: inc(1), "item": item})

    @inline
    def keep(value: Any) -> Any:
        return value

    for key, item in ((1, [1]), (True, (1,)), (1.0, {1}), ("1", None)):
        found = run(declared(key, item), tier="compile")
        assert found == {key: 2, "item": item}
        assert [type(one) for one in found] == [type(key), str]
        assert type(found["item"]) is type(item)


def test_kept_functions_are_few_and_go_with_their_task() -> None:
    @inline
    def last(x: Any) -> Any:
        return x

    for length in range(MOST_KEPT + 10):
        assert run(last(chain(inc, length)), tier="compile", bus=listened()) == length
    assert len(last.form.kept) == MOST_KEPT
    gone = weakref.ref(last)
    del last
    gc.collect()
    assert gone() is None


@every_tier
def test_a_run_without_a_value_still_says_why(tier: Any) -> None:
    with pytest.raises(cs.DependencyMissingError, match=r"add .* needs inc .*ConditionFalse"):
        run(add(1, inc(1).run_if(False)), tier=tier)


@every_tier
def test_cancelled_at_any_await(tier: Any) -> None:
    async def main() -> None:
        for moment in range(12):
            ended: list[str] = []

            @cs.task
            async def careful(x: int) -> int:
                try:
                    await asyncio.sleep(0)
                finally:
                    ended.append("yes")  # noqa: B023
                return x + 1

            async with Engine(tier=tier) as engine:
                going = engine.start(chain(careful, 8))
                for _ in range(moment):
                    await asyncio.sleep(0)
                going.cancel()
                try:
                    assert await going == 8
                except asyncio.CancelledError:
                    assert going.status == "Cancelled"
                assert len(ended) <= 8

    in_loop(main)


@every_tier
def test_a_stretch_behind_a_map_whose_items_take_time(tier: Any) -> None:
    @inline
    def total(values: list[int]) -> int:
        return sum(values)

    target = [inc(total(wait.map(x=[1, 2, 3]))), inc(wait(5))]
    assert run(target, tier=tier) == [10, 7]


@every_tier
def test_a_tail_call_keeps_the_arguments_that_nobody_else_reads(tier: Any) -> None:
    @inline
    def feed() -> str:
        return "fed"

    @inline
    def inner(n: int, word: str) -> Any:
        return cs.TailCall(args=[n - 1]) if n else f"{word} {n}"

    @inline
    def outer(n: int, given: str) -> Any:
        seen.append(given)
        return cs.Jump("again", {"n": n - 1}) if n else "done"

    seen: list[str] = []
    step = outer(3, inner(1, feed()))
    cs.bind(step, cs.select_jump({"again": step}))
    assert run([step, inner(2, feed())], tier=tier) == ["done", "fed 0"]
    assert seen == ["fed 0"] * 4


@every_tier
def test_what_would_stand_in_for_a_state_is_pruned_in_each_entry(tier: Any) -> None:
    @inline
    def step(n: int) -> Any:
        return cs.Jump("again", n - 1) if n else "done"

    bus = MessageBus()
    seen: list[TaskSkipped] = []
    bus.subscribe(TaskSkipped, seen.append)
    state = step(3).run_if(True, otherwise=inc(1))
    cs.bind(state, cs.select_jump({"again": state}))
    assert run(state, tier=tier, bus=bus) == "done"
    assert [(event.task_name, event.reason) for event in seen] == [("inc", "Pruned")] * len(seen)
    assert len(seen) == 4


def test_a_loop_with_a_branch_never_taken_is_emitted_for_who_watches() -> None:
    @inline
    def step(n: int, fed: int) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n else fed

    bus = MessageBus()
    seen: list[Any] = []
    bus.subscribe(TaskEvent, seen.append)
    state = step(3, cs.Router(cs.Param("key", 0), {0: inc(1), 1: add(1, 2)}))
    cs.bind(state, cs.select_jump({"again": state}))
    assert run(state, tier="compile", bus=bus) == 2
    started = [event.task_name for event in seen if isinstance(event, TaskExecutionStarted)]
    assert started == ["inc", "step"] * 4
