"""Loops inside of emitted loops: what they look like, and how the interpreter takes over from them."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.analysis.shapes import profiles_of
from cascade.compiler.code.emitted import LoopCode
from cascade.compiler.transition_profile import profile_of
from cascade.errors import JumpError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskExecutionStarted
from tests.workflows import Tier, every_tier, in_loop, inline, run


@cs.task(mode="inline")
def count(m: int, k: int = 1) -> cs.Jump:
    return cs.Jump("more", m - k) if m > 0 else cs.Jump("out", m)


@cs.task(mode="inline")
def countdown(n: int, fed: Any = None) -> cs.Jump:
    return cs.Jump("again", n - 1) if n else cs.Jump("exit", fed)


def inner(node: Any, **more: Any) -> Any:
    return cs.bind(node, cs.select_jump({"more": node, "out": None, **more}))


def outer(node: Any, **options: Any) -> Any:
    return cs.bind(node, cs.select_jump({"again": node, "exit": None}), **options)


def nested_loops(target: Any) -> list[LoopCode]:
    """The emitted loops that have others inside of them."""
    return [
        hot.loop
        for profile in profiles_of(target.plan.blueprint)
        for hot in profile.made.values()
        if hot and hot.loop.inner
    ]


def test_a_loop_in_a_loop_is_a_for_in_a_for() -> None:
    target = outer(countdown(50, inner(count(10, k=3))))
    assert run(target, tier="compile") == -2
    (loop,) = nested_loops(target)
    assert [line.split("  #")[0].rstrip() for line in loop.source.splitlines()] == [
        "def countdown_loop(turn, n, m, k, count_loop):",
        "    i = result = None",
        "    for i in turn:",
        "        m_2 = m",
        "        j = -1",
        "        for j in turn:",
        "            fed = count(m_2, k)",
        "            if fed.__class__ is not Jump or fed.target_key is not to_more"
        " or (data := fed.data).__class__ is not int: break",
        "            m_2 = data",
        "        else: deoptimize()",
        "        fed = end_of(fed, ends_count)",
        "        count_loop.entries += j + 1",
        "        result = countdown(n, fed)",
        "        if result._cascade_key is not to_again or (data := result.data).__class__ is not int:",
        "            return i, 0, result, (n, fed)",
        "        n = data",
        "    return i, 0, result, None",
    ]


@every_tier
@pytest.mark.parametrize("size", [0, 1, 2, 100, 20_000])
def test_every_call_is_made_once(tier: Tier, size: int) -> None:
    calls = {"inner": 0, "feed": 0, "last": 0}

    @inline
    def feed() -> int:
        calls["feed"] += 1
        return size

    @inline
    def step(m: int) -> Any:
        calls["inner"] += 1
        return cs.Jump("more", m - 1) if m else "over"

    @inline
    def last(value: str) -> str:
        calls["last"] += 1
        return value + "!"

    rounds = 3 if size > 1_000 else 300
    target = outer(countdown(rounds, last(inner(step(feed())))))
    assert run(target, tier=tier) == "over!"
    assert calls == {"inner": (rounds + 1) * (size + 1), "feed": rounds + 1, "last": rounds + 1}


@every_tier
@pytest.mark.parametrize("data", [None, {"m": 0}, cs.Value({"m": 1}), "text"])
def test_what_a_loop_inside_gives_is_the_same_on_every_tier(tier: Tier, data: Any) -> None:
    @inline
    def step(m: int) -> Any:
        return cs.Jump("more", m - 1) if m else cs.Jump("out", data)

    expected = data.value if isinstance(data, cs.Value) else data
    assert run(outer(countdown(40, inner(step(3)))), tier=tier) == expected


@every_tier
@pytest.mark.parametrize("at", [1, 200, 203, 254])
def test_an_error_names_the_entry_of_the_loop_inside(tier: Tier, at: int) -> None:
    calls = 0

    @inline
    def fragile(m: int) -> cs.Jump:
        nonlocal calls
        calls += 1
        if calls == at:
            raise LookupError
        return cs.Jump("more", m - 1) if m else cs.Jump("out")

    with pytest.raises(LookupError) as caught:
        run(outer(countdown(100, inner(fragile(4)))), tier=tier)
    assert caught.value.__notes__[0].startswith("in task fragile#1 ")
    assert f"iteration {at - 1}, attempt 1" in caught.value.__notes__[0]
    assert calls == at


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


ODD: list[Callable[[int], Any]] = [
    lambda m: cs.TailCall([m - 1]),
    lambda m: cs.TailCall(kwargs={"k": 2}),
    lambda m: later(cs.Jump("more", m - 1)),
    lambda m: cs.Jump("more", {"m": m - 1}),
    lambda m: cs.Jump("more", float(m - 1)),
    lambda m: cs.Jump("".join(["mo", "re"]), m - 1),
    lambda m: cs.Jump("out", cs.Value(5)),
    lambda m: later("over"),
]


@every_tier
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("every", [7, 97])
def test_what_is_odd_goes_on_in_the_interpreter(tier: Tier, odd: Callable[[int], Any], every: int) -> None:
    def ran(tier: Tier) -> tuple[Any, list[Any]]:
        calls: list[Any] = []

        @inline
        def step(m: int, k: int = 1) -> Any:
            calls.append((m, k))
            if len(calls) % every == every - 1:
                return odd(m)
            return cs.Jump("more", m - k) if m > 0 else cs.Jump("out", m)

        return run(outer(countdown(200, inner(step(3)))), tier=tier), calls

    assert ran(tier) == ran("interpret")


@every_tier
def test_a_jump_out_of_nowhere_is_refused(tier: Tier) -> None:
    calls = 0

    @inline
    def step(m: int) -> cs.Jump:
        nonlocal calls
        calls += 1
        return cs.Jump("nowhere" if calls == 91 else "more" if m else "out", m - 1)

    with pytest.raises(JumpError, match="no route 'nowhere'") as caught:
        run(outer(countdown(100, inner(step(4)))), tier=tier)
    assert "iteration 90," in caught.value.__notes__[0]


@every_tier
def test_limits_of_entries_hold_for_both_loops(tier: Tier) -> None:
    assert run(outer(countdown(40, inner(count(9))), max_iterations=41), tier=tier) == 0
    with pytest.raises(JumpError, match="max_iterations=40"):
        run(outer(countdown(40, inner(count(9))), max_iterations=40), tier=tier)
    node = count(9)
    bound = cs.bind(node, cs.select_jump({"more": node, "out": None}), max_iterations=9)
    with pytest.raises(JumpError, match="max_iterations=9"):
        run(outer(countdown(40, bound)), tier=tier)


@every_tier
def test_two_loops_inside_and_one_of_several_states(tier: Tier) -> None:
    @inline
    def first(m: int) -> cs.Jump:
        return cs.Jump("to second", m)

    @inline
    def second(m: int) -> cs.Jump:
        return cs.Jump("to first", m - 1) if m else cs.Jump("out", "several")

    @inline
    def gather(*values: Any) -> list[Any]:
        return list(values)

    one, two = first(3), second(3)
    selector = cs.select_jump({"to first": one, "to second": two, "out": None})
    cs.bind(two, selector)
    several = cs.bind(one, selector)
    target = outer(countdown(60, gather(inner(count(5, 2)), inner(count(4)))))
    assert run(target, tier=tier) == [-1, 0]
    assert bool(nested_loops(target)) == (tier != "interpret")
    assert run(outer(countdown(60, gather(inner(count(5)), several))), tier=tier) == [0, "several"]


@every_tier
def test_loops_in_loops_in_items_of_a_map_and_in_loops(tier: Tier) -> None:
    node = countdown.partial(fed=inner(count(5))).map(n=[30, 0, 30])
    target = cs.bind(node, cs.select_jump({"again": node, "exit": None}))
    assert run(target, tier=tier) == [0, 0, 0]
    assert run(outer(countdown(20, outer(countdown(20, inner(count(20)))))), tier=tier) == 0


@every_tier
def test_whoever_watches_hears_of_each_entry(tier: Tier) -> None:
    seen: list[Any] = []
    bus = MessageBus()
    bus.subscribe(TaskExecutionStarted, seen.append)
    assert run(outer(countdown(30, inner(count(3)))), tier=tier, bus=bus) == 0
    assert [event.iteration for event in seen if event.task_name == "count"] == list(range(31 * 4))


@every_tier
def test_the_event_loop_has_its_turns(tier: Tier) -> None:
    turns = 0

    @inline
    def spin(m: int) -> cs.Jump:
        sum(range(300))
        return cs.Jump("more", m - 1) if m else cs.Jump("out", 0)

    async def main() -> None:
        nonlocal turns
        async with Engine(tier=tier) as engine:
            run = engine.start(outer(countdown(30, inner(spin(1_000)))))
            while run.status == "Running":
                turns += 1
                await asyncio.sleep(0)
            assert await run == 0

    in_loop(main)
    assert turns > 5


@every_tier
def test_a_cancel_ends_both_loops(tier: Tier) -> None:
    @inline
    def spin(m: int) -> cs.Jump:
        return cs.Jump("more", m + 1 if m < 200 else 0) if m >= 0 else cs.Jump("out", 0)

    async def main() -> None:
        async with Engine(tier=tier) as engine:
            run = engine.start(outer(countdown(30, inner(spin(0)))))
            await asyncio.sleep(0.05)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

    in_loop(main)


def test_a_loop_inside_that_often_goes_elsewhere_is_left_to_the_interpreter() -> None:
    @inline
    def step(m: int) -> Any:
        return cs.Jump("more", m - 1) if m > 0 else cs.TailCall([-1]) if m == 0 else "over"

    target = outer(countdown(300, inner(step(3))))
    assert run(target, tier="compile") == "over"
    assert not nested_loops(target)
    assert "loop" in profile_of(target.plan.blueprint).reasons


def test_a_graph_declared_anew_has_the_same_function() -> None:
    def declared() -> Any:
        return outer(countdown(400, inner(count(10))))

    first, second = declared(), declared()
    assert run(first) == run(second) == 0
    assert nested_loops(first) == nested_loops(second) != []
