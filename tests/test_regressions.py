"""Programs that once went wrong, found by comparing random ones with the oracle; each in its plainest form."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest

import cascade as cs
from cascade.runtime import MessageBus
from cascade.runtime.events import TaskEvent
from cascade.testing import SpySubscriber
from tests.workflows import Tier, every_tier, run


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
