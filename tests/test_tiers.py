"""What the tiers must have in common under trouble: cancels, subscribers that come and go, and why code falls back."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from cascade.compiler.analysis.order import REASONS
from cascade.compiler.transition_profile import profile_of
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted, TaskSkipped
from tests.oracle import Report, TooLong, Unspecified
from tests.strategies import Built, Recipe, build, fixed_recipes, nested_recipes
from tests.test_agreement import EXAMPLES, alike, compare, expected_of, observe
from tests.workflows import TIERS, Tier, in_loop, turns

PROGRAMS = EXAMPLES or 120
KINDS = (TaskEvent, TaskEvent, TaskExecutionStarted, TaskExecutionFinished, TaskSkipped)


def programs(count: int, seed: int) -> Iterator[tuple[Recipe, Report, Counter[str]]]:
    """Recipes, with what each does and how often each body is called."""
    for recipe in fixed_recipes(count, seed, handing=True):
        try:
            yield (recipe, *expected_of(recipe))
        except (Unspecified, TooLong):
            continue


async def trouble(
    built: Built, tier: Tier, moment: int, watch: tuple[int, int] | None, kind: type[TaskEvent] = TaskEvent
) -> list[Any]:
    """Run declarations; cancel them after so many turns, or let somebody listen from one turn to another."""
    bus = MessageBus()
    seen: list[Any] = []
    async with Engine(tier=tier, bus=bus, system_resources={"slot": 1}) as engine:
        for key, blueprint in built.blueprints.items():
            engine.register_blueprint(key, blueprint)
        run = engine.start(built.target, built.params)
        if watch is None:
            await turns(moment)
            run.cancel()
        else:
            await turns(watch[0])
            handle = bus.subscribe(kind, seen.append)
            await turns(watch[1])
            handle.unsubscribe()
        try:
            await run
        except asyncio.CancelledError:
            assert run.status == "Cancelled"
    return seen


@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_a_cancel_at_any_moment_repeats_no_call_and_leaves_nothing_behind() -> None:
    random_moments = random.Random(7)
    for (recipe, report, bodies), tier in product(programs(PROGRAMS, seed=11), TIERS):
        built = build(recipe)
        built.recorder.clear()
        try:
            in_loop(lambda: trouble(built, tier, random_moments.randrange(30), None))  # noqa: B023
        except Exception as error:
            if not any(alike(each.error, error) for each in report.failures):
                raise
        calls = Counter(built.recorder.calls)
        assert calls <= bodies, f"{tier}: called too often: {calls - bodies} in {recipe}"


@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_somebody_who_comes_and_goes_changes_nothing() -> None:
    random_moments = random.Random(8)
    for (recipe, report, bodies), tier in product(programs(PROGRAMS, seed=12), TIERS):
        if report.failures:
            continue
        built = build(recipe)
        built.recorder.clear()
        watch = random_moments.randrange(20), random_moments.randrange(20)
        kind = random_moments.choice(KINDS)
        seen = in_loop(lambda: trouble(built, tier, 0, watch, kind))  # noqa: B023
        assert Counter(built.recorder.calls) == bodies, f"{tier} {watch} {kind} {recipe}"
        assert all(isinstance(event, kind) for event in seen)
        assert max(Counter(event.event_id for event in seen).values(), default=1) == 1, (
            f"{tier} {watch} {kind} {recipe}"
        )
        assert all(event.duration >= 0 for event in seen if isinstance(event, TaskExecutionFinished))


@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_what_falls_back_does_so_for_a_reason_that_is_listed() -> None:
    reasons: Counter[str] = Counter()
    emitted = 0
    for recipe, report, _ in programs(480 if EXAMPLES else 320, seed=13):
        if report.failures:
            continue
        built = build(recipe)
        observe(built, "compile", watched=False)
        plan: Any = getattr(built.target, "plan", None)
        if not hasattr(plan, "blueprint"):
            continue
        blueprint = plan.blueprint
        for fused in blueprint.root.fused.values():
            reasons.update(fused.reasons.values())
            emitted += bool(fused.whole) + len(fused.pieces)
        reasons.update(profile_of(blueprint).reasons)
        emitted += sum(bool(loop) for loop in profile_of(blueprint).made.values())
    assert emitted >= 20
    assert set(reasons) <= set(REASONS)


@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_loops_that_maps_and_loops_feed_mean_the_same() -> None:
    emitted: dict[Tier, Counter[str]] = {tier: Counter() for tier in TIERS}
    for recipe in nested_recipes(PROGRAMS, seed=14):
        try:
            report, bodies = expected_of(recipe)
        except (Unspecified, TooLong):
            continue
        for tier, watched in product(TIERS, (False, True)):
            built = build(recipe)
            try:
                compare(report, bodies, observe(built, tier, watched=watched), watched=watched)
            except AssertionError as error:
                error.add_note(f"{tier} {watched} {recipe}")
                raise
            for hot in profile_of(built.target.plan.blueprint).made.values():
                if hot:
                    emitted[tier]["a map"] += " signals = " in hot.loop.source
                    emitted[tier]["a loop"] += bool(hot.loop.inner)
    assert emitted["compile"]["a map"] >= PROGRAMS // 10
    assert emitted["compile"]["a loop"] >= PROGRAMS // 30
