"""Maps inside of emitted functions: what they look like, and how the interpreter takes over from them."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.analysis.shapes import profiles_of
from cascade.compiler.code.emitted import LoopCode
from cascade.compiler.compiled_root import FusedRoot
from cascade.compiler.emit.map import MOST_ITEMS
from cascade.compiler.transition_profile import profile_of
from cascade.errors import JumpError, StaticGraphError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionFinished, TaskExecutionStarted
from tests.workflows import Tier, every_tier, in_loop, inline, run


@cs.task(mode="inline")
def double(x: int) -> int:
    return 2 * x


@cs.task(mode="inline")
def rows(n: int = 10) -> list[int]:
    return list(range(n))


@cs.task(mode="inline")
def total(xs: list[Any]) -> int:
    return sum(xs)


@cs.task(mode="inline")
def countdown(n: int, fed: Any = None) -> cs.Jump:
    return cs.Jump("again", n - 1) if n else cs.Jump("exit", fed)


def loop(step: Any) -> Any:
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}))


def fused(target: Any, *watch: Any) -> FusedRoot:
    found: FusedRoot = target.plan.blueprint.root.fused[watch or (False, False, False)]
    return found


def hot_loops(target: Any) -> list[LoopCode]:
    return [hot.loop for profile in profiles_of(target.plan.blueprint) for hot in profile.made.values() if hot]


def often(target: Any, count: int = 3, tier: Tier = "compile") -> Any:
    async def main() -> Any:
        async with Engine(tier=tier) as engine:
            for _ in range(count):
                value = await engine.run(target)
            return value

    return in_loop(main)


def code(source: str) -> list[str]:
    return [line.split("  #")[0].rstrip() for line in source.splitlines()]


def test_a_map_in_a_flow_is_a_comprehension() -> None:
    target = total(double.map(x=rows(10)))
    assert often(target) == 90
    whole = fused(target).whole
    assert whole is not None
    assert code(whole.source) == [
        "def total_flow(n, ticker):",
        "    x = rows(n)",
        "    if x.__class__ is not list: odd(x)",
        "    if x.__class__ is not list and x.__class__ is not tuple or len(x) > 256: unfit()",
        "    if ticker.urgent: deoptimize()",
        "    waiting, signals = iter(x[:]), []",
        "    xs = [one for item in waiting for one in (double(item),)"
        " if one.__class__ is int or odd_item(one, signals)]",
        "    if signals: deoptimize()",
        "    total_value = total(xs)",
        "    if total_value.__class__ is not int: odd(total_value)",
        "    return total_value",
    ]


def test_a_map_in_a_loop_is_a_comprehension_in_it() -> None:
    target = loop(countdown(100, total(double.map(x=rows(10)))))
    assert run(target, tier="compile") == 90
    lines = [line for hot in hot_loops(target) for line in code(hot.source)]
    assert "        if not turn: deoptimize()" in lines
    assert (
        "        xs = [one for item in waiting for one in (double(item),)"
        " if one.__class__ is int or odd_item(one, signals)]"
    ) in lines


@every_tier
def test_several_lists_go_side_by_side_and_the_rest_is_the_same_for_each(tier: Tier) -> None:
    @inline
    def mixed(a: int, b: int, /, c: int, *, k: int) -> str:
        return f"{a}{b}{c}{k}"

    @inline
    def named(a: int, k: int = 0, **more: int) -> str:
        return f"{a}{k}{more}"

    one = named.partial(k=rows(2)).map(a=(1, 2), b=rows(2))
    assert often(one, tier=tier) == ["1[0, 1]{'b': 0}", "2[0, 1]{'b': 1}"]
    two = named.map(a=[])
    assert often(two, tier=tier) == []


@every_tier
def test_lists_of_different_lengths_are_refused(tier: Tier) -> None:
    @inline
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(ValueError, match="length"):
        often(total(add.map(a=rows(2), b=rows(3))), tier=tier)


@every_tier
def test_the_item_that_failed_is_named(tier: Tier) -> None:
    @inline
    def fragile(x: int) -> int:
        return 10 // (7 - x)

    with pytest.raises(ZeroDivisionError) as caught:
        run(total(fragile.map(x=rows(10))), tier=tier)
    assert "in task fragile#1[7] " in caught.value.__notes__[0]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "return 10 // (7 - x)"

    @inline
    def failing(x: int) -> int:
        calls.append(x)
        if len(calls) == 57:
            raise LookupError(x)
        return x

    calls: list[int] = []
    with pytest.raises(LookupError, match="6") as found:
        run(loop(countdown(40, total(failing.map(x=rows(10))))), tier=tier)
    assert "failing#1[6] " in found.value.__notes__[0]
    assert "iteration 5," in found.value.__notes__[0]
    assert len(calls) == 57


async def later(x: int) -> int:
    await asyncio.sleep(0)
    return 100 + x


@every_tier
@pytest.mark.parametrize("at", [0, 3, 9])
def test_signals_from_items_are_followed_and_no_call_is_repeated(tier: Tier, at: int) -> None:
    calls: list[int] = []

    @inline
    def changing(x: int) -> Any:
        calls.append(x)
        if len(calls) == 10 * 4 + at + 1:
            return cs.TailCall(kwargs={"x": 50})
        if len(calls) == 10 * 6 + at + 1:
            return later(x)
        return x

    target = loop(countdown(10, total(changing.map(x=rows(10)))))
    assert run(target, tier=tier) == 45
    assert len(calls) == 111
    calls.clear()
    flow = total(changing.map(x=rows(10)))
    sums = []

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            sums.extend([await engine.run(flow) for _ in range(9)])

    in_loop(main)
    assert sums.count(45) >= 7
    assert len(calls) == 91
    assert 145 in sums


@every_tier
@pytest.mark.parametrize(
    ("make", "error"), [(lambda: cs.Jump("nowhere"), JumpError), (lambda: double(3), StaticGraphError)]
)
def test_what_an_item_must_not_return_is_refused(tier: Tier, make: Callable[[], Any], error: type[Exception]) -> None:
    @inline
    def wrong(x: int) -> Any:
        return make() if x == 4 else x

    with pytest.raises(error) as caught:
        often(total(wrong.map(x=rows(10))), tier=tier)
    assert "wrong#1[4] " in caught.value.__notes__[0]


@every_tier
def test_coroutines_of_a_map_that_fails_are_closed(tier: Tier) -> None:
    @inline
    def both(x: int) -> Any:
        if x == 5:
            raise LookupError
        return later(x) if x == 2 else x

    with pytest.raises(LookupError):
        often(total(both.map(x=rows(10))), tier=tier)


@every_tier
def test_a_list_that_grows_while_it_is_mapped_over_ends(tier: Tier) -> None:
    items = [1, 2, 3]

    @inline
    def items_of() -> list[int]:
        return items

    @inline
    def grow(x: int) -> int:
        items.append(x)
        return x

    assert often(total(grow.map(x=items_of())), 1, tier) == 6


@pytest.mark.parametrize("given", [range(10), {1: 2}, iter([1, 2]), list(range(MOST_ITEMS + 1))])
def test_a_map_that_cannot_be_done_in_place_is_left_out_after_a_while(given: Any) -> None:
    @inline
    def some() -> Any:
        return list(given).__iter__() if hasattr(given, "__next__") else given

    target = total(double.map(x=some()))
    expected = often(target, 1)
    assert often(target, 10) in (expected, 0)
    assert "map" in fused(target).reasons.values()
    again = loop(countdown(100, total(double.map(x=some()))))
    run(again, tier="compile")
    assert profile_of(again.plan.blueprint).reasons == {"map"}
    assert not hot_loops(again)


def test_a_loop_that_seldom_has_a_long_map_stays_emitted() -> None:
    count = 0

    @inline
    def some() -> list[int]:
        nonlocal count
        count += 1
        return [1] * (MOST_ITEMS + 1 if count % 100 == 0 else 1)

    target = loop(countdown(2_999, total(double.map(x=some()))))
    assert run(target, tier="compile") == 2 * (MOST_ITEMS + 1)
    assert hot_loops(target)


def test_maps_with_options_are_left_to_the_interpreter() -> None:
    slow = cs.task(mode="blocking")(lambda x: x)
    maps = [
        double.map(x=rows(3), concurrency=2),
        double.map(x=rows(3), window=2),
        double.map(x=rows(3), on_error="skip"),
        double.map(x=rows(3)).with_retry(2),
        slow.map(x=rows(3)),
    ]
    for mapped in maps:
        target = total(mapped)
        assert run(target, tier="compile") in (3, 6)
        assert "map" in fused(target).reasons.values()


@every_tier
def test_whoever_watches_hears_of_each_item(tier: Tier) -> None:
    seen: list[Any] = []
    bus = MessageBus()
    for kind in (TaskExecutionStarted, TaskExecutionFinished):
        bus.subscribe(kind, seen.append)
    assert run(total(double.map(x=rows(3))), tier=tier, bus=bus) == 6
    assert sum("double" in event.task_id for event in seen) == 6


@every_tier
def test_results_that_are_wanted_one_by_one_come_one_by_one(tier: Tier) -> None:
    target = double.map(x=double.map(x=rows(10)))

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            for _ in range(3):
                assert [value async for value in engine.as_completed(target)] == [4 * x for x in range(10)]
                assert await engine.run(target) == [4 * x for x in range(10)]

    in_loop(main)


@every_tier
def test_a_long_map_gives_the_event_loop_its_turns(tier: Tier) -> None:
    @inline
    def spin(x: int) -> int:
        return sum(range(2_000)) * 0 + x

    turns = 0

    async def main() -> None:
        nonlocal turns
        is_over = False

        async def count() -> None:
            nonlocal turns
            while not is_over:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        async with Engine(tier=tier) as engine:
            assert await engine.run(total(spin.map(x=rows(3_000)))) == sum(range(3_000))
        is_over = True
        await counting

    in_loop(main)
    assert turns > 3


def test_coroutines_of_a_map_whose_list_changes_are_closed() -> None:
    items: list[Any] = [1, 2, 3]

    @inline
    def items_of() -> list[Any]:
        return items

    @inline
    def shrink(x: int) -> Any:
        items.clear()
        return later(x)

    with pytest.raises(RuntimeError, match="changed its size"):
        often(total(shrink.map(x=items_of())), 1)


@every_tier
def test_maps_beside_coroutines_are_carried_out_in_their_functions(tier: Tier) -> None:
    @cs.task
    async def wait(x: int) -> int:
        await asyncio.sleep(0)
        return x

    target = loop(countdown(40, total(double.map(x=rows(wait(10))))))
    assert run(target, tier=tier) == 90
    flow = total(double.map(x=rows(wait(10))))
    assert often(flow, tier=tier) == 90
    if tier == "compile":
        (hot,) = hot_loops(target)
        whole = fused(flow).whole
        assert whole is not None
        assert hot.is_async
        assert whole.is_async
        assert "waiting, signals = " in hot.source
        assert "waiting, signals = " in whole.source
