"""How tests of workflows run them: on every tier, and with nothing left running afterwards."""

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, TypeVar

import pytest

import cascade as cs
from cascade.runtime import Engine, MessageBus
from cascade.runtime.event_loop.turns import turns_here
from cascade.runtime.events import TaskEvent, TaskExecutionFinished, TaskExecutionStarted, TaskSkipped

Tier = Literal["auto", "interpret", "compile"]
T = TypeVar("T")

AGAIN = os.environ.get("CASCADE_AGAIN") == "1"
"""The suite has run on another Python already: what that cannot change is left out."""
TIERS: tuple[Tier, ...] = ("interpret", "compile") if AGAIN else ("interpret", "compile", "auto")
every_tier = pytest.mark.parametrize("tier", TIERS)


def run(
    target: Any,
    params: Mapping[str, Any] | None = None,
    *,
    tier: Tier = "auto",
    bus: MessageBus | None = None,
    **engine_options: Any,
) -> Any:
    """Run a target on an engine of its own, in a loop of its own."""

    async def main() -> Any:
        async with Engine(bus=bus, tier=tier, **engine_options) as engine:
            return await engine.run(target, params)

    return in_loop(main)


def in_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Call `main` in a loop of its own, and see that it leaves no asyncio task behind."""

    async def alone() -> T:
        try:
            return await main()
        finally:
            await turns()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return asyncio.run(alone())


async def turns(count: int = 10) -> None:
    """Let everything run that can, and nothing that waits; runs that hold the loop go on three times at the most."""
    for _ in range(count):
        await asyncio.sleep(0)
    held = turns_here().waiting
    for _ in range(3):
        if not held:
            break
        first = held[0]
        while not first.done():
            await asyncio.sleep(0)
        for _ in range(count):
            await asyncio.sleep(0)


class Way:
    """One way to run a workflow: on a tier, and with or without somebody who listens to task events."""

    def __init__(self, tier: Tier, watched: bool) -> None:
        self.tier: Tier = tier
        self.watched = watched
        self.events: list[TaskEvent] = []
        """What was heard of the last run."""

    def __str__(self) -> str:
        return f"{self.tier}-{'watched' if self.watched else 'alone'}"

    def run(
        self,
        target: Any,
        params: Mapping[str, Any] | None = None,
        *,
        blueprints: Mapping[str, Any] | None = None,
        use_vm: bool = False,
    ) -> Any:
        """Run a target this way; look at what was heard for ids that come twice."""

        async def main() -> Any:
            async with self.engine() as engine:
                for name, blueprint in (blueprints or {}).items():
                    engine.register_blueprint(name, blueprint)
                return await engine.run(target, params, use_vm)

        try:
            return in_loop(main)
        finally:
            ids = [event.event_id for event in self.events]
            assert len(ids) == len(set(ids)), sorted(one for one in ids if ids.count(one) > 1)

    def engine(self) -> Engine:
        """Return an engine to run things on this way."""
        events = self.events = []
        bus = MessageBus()
        if self.watched:
            bus.subscribe(TaskEvent, events.append)
        return Engine(bus=bus, tier=self.tier)

    def started(self) -> list[tuple[str, int]]:
        """Return what began to run, as (task id, iteration)."""
        return [(event.task_id, event.iteration) for event in self.events if isinstance(event, TaskExecutionStarted)]

    def finished(self) -> list[tuple[str, int]]:
        """Return what ended, as (task id, iteration)."""
        return [(event.task_id, event.iteration) for event in self.events if isinstance(event, TaskExecutionFinished)]

    def skipped(self) -> list[tuple[str, int, str]]:
        """Return what was skipped, as (task id, iteration, reason)."""
        found = [event for event in self.events if isinstance(event, TaskSkipped)]
        return [(event.task_id, event.iteration, event.reason) for event in found]


def _ways() -> list[Way]:
    ways = [Way(tier, watched) for tier in TIERS for watched in (False, True)]
    if not AGAIN:
        return ways
    even = sys.version_info.minor % 2  # the second Python takes those that the third leaves out
    return [way for way in ways if way.watched == ((way.tier == "compile") == bool(even))]


every_way = pytest.mark.parametrize("way", _ways(), ids=str)
every_watched_way = pytest.mark.parametrize("way", [Way(tier, True) for tier in TIERS], ids=str)


def inline(func: Callable[..., Any]) -> cs.Task[..., Any]:
    """Make a task that runs on the event loop's thread."""
    return cs.task(mode="inline")(func)


def blocking(func: Callable[..., Any]) -> cs.Task[..., Any]:
    """Make a task that runs in a thread."""
    return cs.task(mode="blocking")(func)


def awaited(func: Callable[..., Any]) -> cs.Task[..., Any]:
    """Make a task of a coroutine function that gives the event loop a turn."""

    @functools.wraps(func)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return func(*args, **kwargs)

    return cs.task(wrapper)


Body = Callable[[Callable[..., Any]], cs.Task[..., Any]]
every_body = pytest.mark.parametrize("body", [inline, blocking, awaited, cs.task], ids=lambda body: body.__name__)


def notes_of(error: BaseException) -> list[str]:
    """Return what was added to an error on its way out."""
    return getattr(error, "__notes__", [])
