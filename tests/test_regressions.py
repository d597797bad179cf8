"""Programs that once went wrong, found by comparing random ones with the oracle; each in its plainest form."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections import Counter
from typing import Any

import pytest

import cascade as cs
from cascade.compiler.emit.block import PIECE
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent
from cascade.testing import SpySubscriber
from tests.workflows import TIERS, Tier, Way, every_tier, every_watched_way, every_way, in_loop, run


@cs.task(mode="inline")
def down(a: int, b: Any = None) -> Any:
    """Count down to zero by jumps."""
    return cs.Jump("again", {"a": a - 1}) if a else ("down", b)


@cs.task(mode="inline")
def show(*values: Any) -> Any:
    """Return what it is given."""
    return values


@cs.task(mode="inline")
def show_jump() -> Any:
    """Jump at once."""
    return cs.Jump("again")


def looping(step: Any, **options: Any) -> Any:
    """Bind a step to itself."""
    return cs.bind(step, cs.select_jump({"again": step, "exit": None}), **options)


def ids_of(target: Any, tier: Tier) -> Counter[str]:
    bus = MessageBus()
    spy = SpySubscriber(bus)
    run(target, tier=tier, bus=bus)
    return Counter(event.event_id for event in spy.events_of_type(TaskEvent))


@every_tier
def test_items_that_loop_again_in_a_further_entry_have_events_of_their_own(tier: Tier) -> None:
    each = looping(down.map(a=[0]))
    assert max(ids_of(looping(down(1, each)), tier).values()) == 1


@every_tier
def test_a_condition_does_not_read_what_is_passed_through_inside_of_a_subflow(tier: Tier) -> None:
    skipped = show(show("shown")).run_if(False)
    gated = show("ran").run_if(cs.subflow(cs.sequence([show(1), skipped])), otherwise="skipped")
    assert run(gated, tier=tier) == "skipped"


@every_tier
def test_a_reader_of_items_that_end_with_nothing_is_skipped(tier: Tier) -> None:
    each = down.map(a=[1])
    cs.bind(each, cs.select_jump({"again": cs.bind(down(1).run_if(False), cs.select_jump({"again": None}))}))
    assert run(cs.sequence([show(each)]), tier=tier) is None


@every_tier
def test_items_that_two_loops_leave_by_have_events_of_their_own(tier: Tier) -> None:
    each = looping(down.map(a=[0]))
    leave = [cs.bind(show_jump(), cs.select_jump({"again": each})) for _ in range(2)]
    assert max(ids_of([each, *leave], tier).values()) == 1


@cs.task
async def tail(n: int) -> Any:
    """Count down to zero by tail calls, each of which lets others go on."""
    await asyncio.sleep(0)
    return cs.TailCall([n - 1]) if n else "down"


def alternating(fed: Any) -> Any:
    """Return a loop of two states, of which the second is fed."""

    @cs.task(mode="inline")
    def first(n: int) -> Any:
        return cs.Jump("second", {"n": n - 1}) if n else "left"

    @cs.task(mode="inline")
    def second(n: int, fed: Any) -> Any:
        return cs.Jump("first", {"n": n - 1}) if n else "left"

    states = {"first": first(4), "second": second(4, fed)}
    for state in states.values():
        cs.bind(state, cs.select_jump(states))
    return states["first"]


@every_tier
def test_tail_calls_in_the_graph_and_in_a_loop_at_a_time_have_events_of_their_own(tier: Tier) -> None:
    fed = tail(3)
    assert max(ids_of([fed, alternating(fed)], tier).values()) == 1


@every_tier
def test_tail_calls_in_two_loops_and_the_graph_at_a_time_have_events_of_their_own(tier: Tier) -> None:
    fed = tail(3)
    assert max(ids_of([alternating(fed), show(fed), alternating(fed)], tier).values()) == 1


@every_tier
def test_tail_calls_of_items_in_the_graph_and_in_a_loop_have_events_of_their_own(tier: Tier) -> None:
    fed = tail.map(n=[1, 2])
    assert max(ids_of([fed, alternating(fed)], tier).values()) == 1


def test_ids_are_those_of_every_tier_and_run() -> None:
    fed = tail(2)
    deep = looping(down(1, show(fed)))
    target = [alternating(fed), looping(down(2, [fed, deep])), cs.subflow(looping(down(1, deep))), alternating(deep)]
    first = ids_of(target, "interpret")
    assert max(first.values()) == 1
    assert all(ids_of(target, tier) == first for tier in TIERS for _ in range(3))


@every_tier
def test_a_coroutine_that_a_function_returned_is_closed_when_another_node_fails(tier: Tier) -> None:
    async def later() -> None:
        pass

    def fail() -> None:
        raise ValueError("failed")

    begun = [cs.task(mode="inline")(lambda: later())() for _ in range(3)]
    with pytest.raises(ValueError, match="failed"):
        run([*begun, cs.task(mode="inline")(fail)()], tier=tier)
    gc.collect()  # a coroutine that nobody awaited would warn now


@every_tier
def test_such_a_coroutine_of_an_item_is_closed_too(tier: Tier) -> None:
    async def fail() -> None:
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        run(cs.task(mode="inline")(lambda a: fail()).map(a=[1, 2, 3]), tier=tier)
    gc.collect()


@every_tier
def test_tail_calls_in_a_loop_count_down_beside_something_that_runs_once(tier: Tier) -> None:
    calls = []

    @cs.task(mode="inline", pure=True)
    def once() -> str:
        return "once"

    @cs.task(mode="inline")
    def tailing(n: int, fed: str) -> Any:
        calls.append(n)
        return cs.TailCall([n - 1]) if n else fed

    assert run(alternating(tailing(3, once())), tier=tier) == "left"
    assert calls == [3, 2, 1, 0] * 2


@cs.task
async def later(value: Any = None) -> Any:
    """Let others go on before giving back what comes in."""
    await asyncio.sleep(0)
    return value


@every_tier
def test_a_router_that_is_asked_late_does_not_read_what_is_passed_through(tier: Tier) -> None:
    skipped = show(show(1)).run_if(False)
    late = cs.Router(skipped, {"none": 1}, default="default")
    reader = show(cs.Router(show("key"), {"none": 1}, default=late)).run_if(True, otherwise="nothing to read")
    assert run([show(skipped), reader, later(1), later(2)], tier=tier) == [((1,),), "nothing to read", 1, 2]


@every_tier
@pytest.mark.parametrize("before", range(PIECE - 4, PIECE + 1))
def test_what_is_passed_through_is_not_read_in_the_next_piece_of_a_long_stretch(tier: Tier, before: int) -> None:
    skipped = show(show(1)).run_if(False)
    gated = [cs.sequence([show(2).run_if(skipped)]) for _ in range(10)]
    target = [*[show(at) for at in range(before)], *gated, later(1), later(2)]
    assert run(target, tier=tier)[before:-2] == [None] * 10


@every_watched_way
def test_what_hands_over_a_coroutine_is_counted_as_its_loop_is(way: Way) -> None:
    begun = cs.task(mode="inline", name="begun")(lambda: later.func("value"))
    assert way.run(alternating(begun())) == "left"
    assert [at for name, at in way.started() if name == "begun#1"] == [1, 3]


@every_watched_way
def test_a_way_out_that_also_feeds_its_loop_has_events_of_its_own(way: Way) -> None:
    fed = tail(2)

    @cs.task(mode="inline")
    def leave(n: int, fed: Any) -> Any:
        return cs.Jump("again", {"n": n - 1}) if n else cs.Jump("leave")

    step = leave(2, fed)
    cs.bind(step, cs.select_jump({"again": step, "leave": fed}))
    assert way.run(step) == "down"


@every_way
def test_states_that_nothing_short_leads_on_from_are_told_apart(way: Way) -> None:
    @cs.task(mode="inline")
    def fork(n: int) -> Any:
        return cs.Jump("left" if n % 2 else "right", {"n": n - 1}) if n else "done"

    def side(name: str) -> Any:
        return cs.task(mode="inline", name=name)(lambda n: cs.Jump("fork", cs.Value(n)))(0)

    states = {"fork": fork(80), "left": side("left"), "right": side("right")}
    for state in states.values():
        cs.bind(state, cs.select_jump(states))
    assert way.run(states["fork"]) == "done"


@every_way
def test_items_that_were_given_more_arguments_are_told_apart_from_others_of_their_map(way: Way) -> None:
    each = looping(down.map(a=[30, 20]))
    given = cs.bind(cs.task(mode="inline")(lambda: cs.Jump("each", {"b": "given"}))(), cs.select_jump({"each": each}))
    expected = [[("down", None)] * 2, [("down", "given")] * 2]
    assert way.run([each, given, each, given]) == expected * 2


@every_way
def test_items_of_maps_that_stand_at_one_place_in_two_blocks_are_told_apart(way: Way) -> None:
    @cs.task(mode="inline")
    def up(a: int) -> Any:
        return cs.Jump("again", {"a": a + 1}) if a < 40 else "up"

    first, second = looping(down.map(a=[30])), looping(up.map(a=[10]))
    assert way.run([first, alternating(second), second]) == [[("down", None)], "left", ["up"]]


@every_watched_way
def test_a_skip_is_told_once_where_what_stands_in_hands_over_a_coroutine(way: Way) -> None:
    instead = cs.task(mode="inline")(lambda: later.func("instead"))()
    assert way.run([show(1).run_if(False, otherwise=instead)]) == ["instead"]
    assert way.skipped() == [("show#1", 0, "ConditionFalse")]


@every_tier
def test_a_condition_reads_what_would_be_skipped_with_what_comes_before_a_piece(tier: Tier) -> None:
    before = show("before").run_if(False, otherwise="instead")
    middle = show(before).after(before)
    last = cs.sequence([show("last").run_if(middle)])
    router = cs.Router(0, {0: show("routed")}, default="default")
    assert run([router, last], tier=tier) == [("routed",), None]
    assert run([cs.Router(0, {0: show("routed")}, default="default"), last, later(1), later(2)], tier=tier)[1] is None
    assert run([later(1), show(1), middle, last, later(2)], tier=tier) == [1, (1,), "instead", None, 2]


@every_tier
def test_a_coroutine_that_a_state_returned_is_closed_when_the_loop_ends_at_its_turn(tier: Tier) -> None:
    async def main() -> None:
        async with Engine(tier=tier) as engine:

            @cs.task(mode="inline")
            def step(n: int) -> Any:
                if n:
                    return cs.Jump("again", {"n": n - 1})
                engine.ticker.due = True
                under_way.cancel()
                return later.func()

            under_way = engine.start(looping(step(3)))
            with pytest.raises(asyncio.CancelledError):
                await under_way

    in_loop(main)
    gc.collect()


@every_way
def test_a_state_of_a_hot_loop_is_skipped_when_its_condition_only_passes_something_on(way: Way) -> None:
    turns = iter([True] * 40 + [False] * 100)
    runs = cs.task(mode="inline")(lambda: next(turns))()
    passing = show(show("passed")).run_if(runs)
    step = cs.task(mode="inline")(lambda n: cs.Jump("again", {"n": n + 1}))(0)
    assert way.run(looping(step.run_if(passing, otherwise="skipped"), max_iterations=60)) == "skipped"


@every_way
def test_what_stands_in_for_a_state_of_a_hot_loop_is_kept_behind_its_last_reader(way: Way) -> None:
    numbers = itertools.count()
    fed = cs.task(mode="inline")(lambda: next(numbers))()
    goes_on = cs.task(mode="inline")(lambda number: number < 40)(fed)
    step = cs.task(mode="inline")(lambda n: cs.Jump("again", {"n": n + 1}))(0)
    assert way.run(looping(step.run_if(goes_on, otherwise=fed))) == 40


class Untrue:
    def __bool__(self) -> bool:
        raise ValueError("truth")


@every_watched_way
def test_a_call_whose_condition_has_no_truth_has_no_end_either(way: Way) -> None:
    doubtful = cs.task(mode="inline")(Untrue)()
    with pytest.raises(ValueError, match="truth"):
        way.run(show(show(1), show(2).run_if(doubtful)))
    assert sorted(way.started()) == sorted(way.finished())


@every_watched_way
def test_nor_has_a_state_of_a_hot_loop(way: Way) -> None:
    numbers = itertools.count()
    doubtful = cs.task(mode="inline")(lambda: next(numbers) < 40 or Untrue())()
    step = cs.task(mode="inline")(lambda n: cs.Jump("again", {"n": n + 1}))(0)
    with pytest.raises(ValueError, match="truth"):
        way.run(looping(step.run_if(doubtful)))
    assert sorted(way.started()) == sorted(way.finished())


@every_tier
def test_who_comes_in_the_middle_of_a_run_hears_of_no_id_twice(tier: Tier) -> None:
    bus, calls = MessageBus(), itertools.count()
    events: list[TaskEvent] = []

    @cs.task(mode="inline", retry=2)
    def fed(n: int) -> Any:
        if next(calls) == 4:
            bus.subscribe(TaskEvent, events.append)
        return cs.TailCall([n - 1]) if n else "done"

    run(looping(down(10, fed(3))), tier=tier, bus=bus)
    ids = [event.event_id for event in events]
    assert len(set(ids)) == len(ids) > 20


@every_tier
def test_a_parameter_is_there_for_all_that_read_it(tier: Tier) -> None:
    given = cs.Param("p", default=1)
    reads = [show(given), [given, 2], show(given, 3), show(given)]
    assert run([show(*reads), show(given, given)], {"p": 7}, tier=tier) == [((7,), [7, 2], (7, 3), (7,)), (7, 7)]
