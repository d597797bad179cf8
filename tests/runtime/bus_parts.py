"""What the tests of the bus share: events to publish, handlers that hold them, and loops to run in."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from cascade.runtime.events.bus import MessageBus
from cascade.spec.events import Event, RunFinished, TaskExecutionFinished, TaskExecutionStarted
from tests.workflows import turns

BUFFER = 10_000


def started(number: int = 1, run_id: str = "r") -> TaskExecutionStarted:
    return TaskExecutionStarted(run_id=run_id, task_id=f"f#{number}")


def finished(number: int = 1, run_id: str = "r") -> TaskExecutionFinished:
    return TaskExecutionFinished(run_id=run_id, task_id=f"f#{number}")


def ended(run_id: str = "r") -> RunFinished:
    return RunFinished(run_id=run_id)


def publish(bus: MessageBus, *events: Event) -> None:
    for event in events:
        bus.publish(event)


class Gate:
    """An async handler that holds each event until it is opened, and notes what it has begun and done."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[Event] = []
        self.done: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.begun.append(event)
        await self.open.wait()
        self.done.append(event)


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test in a loop of its own, and see that no task is left behind."""

    async def main() -> None:
        await test()
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def run() -> None:
        asyncio.run(main())

    run.__name__ = test.__name__
    return run
