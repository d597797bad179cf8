"""What every executor must do, as programs that mean the same on it as in this process: for who writes one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from cascade.adapters.executors.local import LocalExecutor
from cascade.runtime.engine import Engine
from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import TaskBlocked, TaskEvent
from cascade.spec.protocols import Executor
from cascade.testing.programs import PROGRAMS, shown

__all__ = ["EXECUTOR_CHECKS", "check_executor"]

EXECUTOR_CHECKS: tuple[str, ...] = tuple(PROGRAMS)
"""The names of the programs that `check_executor` runs: tests may be made of each."""
LEFT_OUT = ("event_id", "timestamp", "duration", "delay")
"""What events say of time."""


def check_executor(make: Callable[[], Executor], only: str | None = None) -> None:
    """Check that programs give the same on an executor as in this process: results, errors, notes, events.

    Each program runs on an engine of its own, in an event loop of its own. AssertionError says which program differs,
    and in what. Where functions run, how many at once, and what becomes of those that are cancelled while they run, is
    the executor's own business.

    Args:
        make: gives the executor for one engine, which closes it if it has an `aclose`.
        only: the name of one program, of those in `EXECUTOR_CHECKS`.
    """
    for name in PROGRAMS if only is None else [only]:
        expected, found = (asyncio.run(_outcome(name, executor)) for executor in (LocalExecutor(), make()))
        for what, wanted in expected.items():
            assert found[what] == wanted, f"program {name!r}: {what} should be {wanted!r}, not {found[what]!r}"


async def _outcome(name: str, executor: Executor) -> dict[str, Any]:
    """Run a program; return what can be seen of it."""
    events: list[TaskEvent] = []
    bus = MessageBus()
    bus.subscribe(TaskEvent, events.append)
    program, seen = PROGRAMS[name], dict[str, Any](result=None, error=None, notes=None)
    async with Engine(bus=bus, executor=executor, system_resources={"slots": 1}) as engine:
        try:
            if inspect.iscoroutinefunction(program):
                value = await program(engine)
            else:
                value = await engine.run(program(), run_id=name)
            seen["result"] = shown(value)
        except (Exception, asyncio.CancelledError) as error:
            seen["error"] = type(error).__module__, type(error).__qualname__, str(error), vars(error).get("page")
            seen["notes"] = getattr(error, "__notes__", [])
    told = [_told(event) for event in events if not isinstance(event, TaskBlocked)]
    return {**seen, "events": sorted(told)}


def _told(event: TaskEvent) -> str:
    fields = {name: value for name, value in event.to_dict().items() if name not in LEFT_OUT}
    return f"{type(event).__name__} {fields}"
