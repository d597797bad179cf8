"""Random programs mean the same to the engine, on every tier and executor, as to the evaluator of tests/oracle.py.

`CASCADE_EXAMPLES=5000 pytest tests/test_agreement.py` looks longer, at other programs each time; at the same ones with
`CASCADE_FIXED=1`. `make hunt` looks at 2,000.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, note, settings

from cascade.errors import CascadeError
from cascade.runtime import Engine, MessageBus
from cascade.runtime.events import RunFinished, TaskExecutionFinished, TaskExecutionStarted, TaskSkipped
from cascade.testing import SpyExecutor, SpySubscriber
from tests.oracle import Report, TooLong, Unspecified, evaluate
from tests.strategies import Built, Recipe, build, recipes
from tests.workflows import AGAIN, TIERS, Tier

EXAMPLES = int(os.environ.get("CASCADE_EXAMPLES", "0"))

LONG_ENOUGH = 20
"""Seconds after which a run does not end at all."""

thorough = settings(
    max_examples=EXAMPLES or (20 if AGAIN else 60),
    derandomize=not EXAMPLES or os.environ.get("CASCADE_FIXED") == "1",
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Observed:
    """What a run did: its value or its error, its bodies' calls; if it was watched, its events by label."""

    value: Any = None
    error: BaseException | None = None
    bodies: Counter[str] = field(default_factory=Counter)
    started: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    skips: Counter[tuple[str, str]] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)


def expected_of(recipe: Recipe) -> tuple[Report, Counter[str]]:
    """Return what a program means, and how often each body is called.

    Raises:
        Unspecified, TooLong: it is no program to compare by.
    """
    built = build(recipe)
    report = evaluate(built.target, built.params, blueprints=built.blueprints)
    return report, built.recorder.calls


def observe(built: Built, tier: Tier = "interpret", *, watched: bool = True, executor: Any = None) -> Observed:
    """Run declarations on an engine of their own."""
    built.recorder.clear()
    bus = MessageBus()
    spy = SpySubscriber(bus) if watched else None
    seen = Observed()

    async def main() -> None:
        engine = Engine(bus=bus, executor=executor, tier=tier, system_resources={"slot": 1})
        for key, blueprint in built.blueprints.items():
            engine.register_blueprint(key, blueprint)
        async with asyncio.timeout(LONG_ENOUGH), engine:
            try:
                seen.value = await engine.run(built.target, built.params)
            except Exception as error:
                if isinstance(error, asyncio.CancelledError):
                    raise
                seen.error = error

    try:
        asyncio.run(main())
    except TimeoutError:
        raise AssertionError("the run does not end") from None
    seen.bodies = Counter(built.recorder.calls)
    if spy is not None:
        seen.started = Counter(map(label_of, spy.events_of_type(TaskExecutionStarted)))
        seen.finished = Counter(map(label_of, spy.events_of_type(TaskExecutionFinished)))
        skips = spy.events_of_type(TaskSkipped)
        seen.skips = Counter((label_of(event), event.reason) for event in skips)
        seen.ids = Counter(event.event_id for event in spy.events)
        assert all(isinstance(event, RunFinished) for event in spy.events[-1:])
    return seen


def label_of(event: Any) -> str:
    """Return the label of the node that an event tells of."""
    label: str = event.task_id.rpartition("#")[0]
    return label


def compare(report: Report, bodies: Counter[str], seen: Observed, *, watched: bool) -> None:
    """Raise AssertionError unless a run did what the program means."""
    if report.failures:
        compare_failure(report, bodies, seen, watched=watched)
        return
    if seen.error is not None:
        raise AssertionError(f"it fails: {seen.error!r} {getattr(seen.error, '__notes__', '')}") from seen.error
    assert repr(seen.value) == repr(report.value)
    assert seen.bodies == bodies, differences(bodies, seen.bodies)
    if watched:
        assert seen.started == seen.finished == report.runs, differences(report.runs, seen.started)
        assert seen.skips == report.skips, differences(report.skips, seen.skips)


def compare_failure(report: Report, bodies: Counter[str], seen: Observed, *, watched: bool) -> None:
    """Do it for a run that fails: with one of the failures that may be first, and nothing that cannot have run."""
    assert seen.error is not None, f"it does not fail, but gives {seen.value!r}"
    ran = seen.started if watched else seen.bodies
    causes = [Counter(label for label, _ in each.causes) for each in report.failures if alike(each.error, seen.error)]
    failures = [each.error for each in report.failures]
    if not causes:
        raise AssertionError(f"it fails with {seen.error!r}, not with one of {failures}") from seen.error
    assert any(each <= ran for each in causes), f"not all has run that {seen.error!r} needs: {causes}, but {ran}"
    assert seen.bodies <= bodies, differences(bodies, seen.bodies)
    if watched:
        assert seen.started <= report.runs, differences(report.runs, seen.started)
        assert seen.started == seen.finished, differences(seen.started, seen.finished)
        assert seen.skips <= report.skips, differences(report.skips, seen.skips)


def alike(expected: BaseException, error: BaseException) -> bool:
    """Compare errors: those of bodies by their message, too."""
    if type(expected) is not type(error):
        return False
    return isinstance(error, (CascadeError, TypeError, ValueError)) or expected.args == error.args


def differences(expected: Counter[Any], seen: Counter[Any]) -> str:
    """Spell out two counts."""
    keys: Iterable[Any] = sorted({*expected, *seen})
    listed = [f"{key}: {expected[key]} expected, {seen[key]} seen" for key in keys if expected[key] != seen[key]]
    return "; ".join(listed)


def check_agreement(recipe: Recipe, *tiers: Tier) -> Report | None:
    """Raise AssertionError unless the engine does what the oracle says, on each tier; None if it has no answer."""
    try:
        report, bodies = expected_of(recipe)
    except (Unspecified, TooLong):
        return None
    for tier in tiers:
        try:
            check_tier(recipe, tier, report, bodies)
        except AssertionError as error:
            error.add_note(f"on the tier {tier!r}")
            raise
    return report


def check_tier(recipe: Recipe, tier: Tier, report: Report, bodies: Counter[str]) -> None:
    """Raise AssertionError unless a program does on one tier what it means, declared afresh and again, seen and not."""
    built = build(recipe)
    seen = observe(built, tier)
    compare(report, bodies, seen, watched=True)
    shared = [each for each, count in seen.ids.items() if count > 1]
    assert not shared, f"events share an id: {shared[:4]}"
    if not report.failures:  # what was declared can be run again
        compare(report, bodies, observe(built, tier, watched=False), watched=False)
    compare(report, bodies, observe(build(recipe), tier, watched=False), watched=False)
    executor = SpyExecutor()
    seen = observe(build(recipe), tier, executor=executor)
    compare(report, bodies, seen, watched=True)
    asked = Counter(node.id.rpartition("#")[0] for node, _, _ in executor.calls)
    right = seen.bodies <= asked if report.failures else seen.bodies == asked  # what was asked for may be cancelled
    assert right, f"the executor was asked otherwise: {differences(seen.bodies, asked)}"


@thorough
@given(recipe=recipes(handing=True))
@pytest.mark.timeout(0 if EXAMPLES else 60)
def test_the_engine_and_the_oracle_agree(recipe: Recipe) -> None:
    report = check_agreement(recipe, *TIERS)
    assume(report is not None)
    note(f"{report}")
