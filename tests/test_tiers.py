"""What the tiers must have in common under trouble: cancels, subscribers that come and go, and why code falls back."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from cascade.compiler.fuse import REASONS
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted
from tests.oracle import TooLong, Unspecified
from tests.strategies import Built, Recipe, build, fixed_recipes
from tests.test_agreement import expected_of, observe
from tests.workflows import TIERS, Tier, in_loop, turns

PROGRAMS = 120


def programs(count: int, seed: int) -> list[tuple[Recipe, Counter[str]]]:
    """Recipes that run to their end, with how often each body is called."""
    found = []
    for recipe in fixed_recipes(count, seed):
        try:
            report, bodies = expected_of(recipe)
        except (Unspecified, TooLong):
            continue
        if not report.failures:
            found.append((recipe, bodies))
    return found


async def trouble(built: Built, tier: Tier, moment: int, watch: tuple[int, int] | None) -> list[Any]:
    """Run declarations; cancel them after so many turns, or let somebody listen from one turn to another."""
    bus = MessageBus()
    seen: list[Any] = []
    async with Engine(tier=tier, bus=bus, system_resources={"slot": 1}) as engine:
        run = engine.start(built.target, built.params)
        if watch is None:
            await turns(moment)
            run.cancel()
        else:
            await turns(watch[0])
            handle = bus.subscribe(TaskEvent, seen.append)
            await turns(watch[1])
            handle.unsubscribe()
        try:
            await run
        except asyncio.CancelledError:
            assert run.status == "Cancelled"
    return seen


@pytest.mark.parametrize("tier", TIERS)
def test_a_cancel_at_any_moment_repeats_no_call_and_leaves_nothing_behind(tier: Tier) -> None:
    random_moments = random.Random(7)
    for recipe, bodies in programs(PROGRAMS, seed=11):
        built = build(recipe)
        built.recorder.clear()
        in_loop(lambda: trouble(built, tier, random_moments.randrange(30), None))  # noqa: B023
        calls = Counter(built.recorder.calls)
        assert calls <= bodies, f"called too often: {calls - bodies}"


@pytest.mark.parametrize("tier", TIERS)
def test_somebody_who_comes_and_goes_changes_nothing(tier: Tier) -> None:
    random_moments = random.Random(8)
    for recipe, bodies in programs(PROGRAMS, seed=12):
        built = build(recipe)
        built.recorder.clear()
        watch = random_moments.randrange(20), random_moments.randrange(20)
        seen = in_loop(lambda: trouble(built, tier, 0, watch))  # noqa: B023
        assert Counter(built.recorder.calls) == bodies
        started = Counter(event.task_name for event in seen if isinstance(event, TaskExecutionStarted))
        finished = [event for event in seen if isinstance(event, TaskExecutionFinished)]
        assert all(event.duration >= 0 for event in finished)
        assert sum(started.values()) <= sum(bodies.values()) * 4 + 50


def test_what_falls_back_does_so_for_a_reason_that_is_listed() -> None:
    reasons: Counter[str] = Counter()
    emitted = 0
    for recipe, _ in programs(4 * PROGRAMS, seed=13):
        built = build(recipe)
        observe(built, "compile", watched=False)
        plan: Any = getattr(built.target, "plan", None)
        if not hasattr(plan, "blueprint"):
            continue
        blueprint = plan.blueprint
        for fused in blueprint.root.fused.values():
            reasons.update(fused.reasons.values())
            emitted += bool(fused.whole) + len(fused.pieces)
        reasons.update(blueprint.machine.reasons)
        emitted += sum(bool(loop) for loop in blueprint.machine.made.values())
    assert emitted >= 20
    assert set(reasons) <= set(REASONS)
