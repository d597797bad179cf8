"""Telemetry topics: what runs tell, as messages of a connector.

A connector may be slow, or have nobody at its other end. So messages wait in a queue of bounded length for one task
that sends them, and what is too much is dropped and counted. Only the end of a run waits for them, and not for long.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from cascade.spec.events import (
    Event,
    RunFinished,
    RunStarted,
    RunWarning,
    TaskBlocked,
    TaskEvent,
    TaskExecutionFinished,
    TaskExecutionStarted,
    TaskSkipped,
)
from cascade.spec.notes import spelled

__all__ = ["TelemetrySubscriber"]

STATES = {"Succeeded": "COMPLETED", "Failed": "FAILED", "Cancelled": "FAILED"}


class Bus(Protocol):
    """What events come from."""

    def subscribe(self, event_type: Any, handler: Callable[[Any], object]) -> Any:
        """Call a handler with each event of a type."""

    def publish(self, event: Event) -> None:
        """Tell subscribers of an event."""


class TelemetrySubscriber:
    """Publishes the state of runs and tasks on `cascade/telemetry/<org>/<project>/<run_id>/events`.

    `cs.run(connector=...)` has one by itself; for an engine of your own, `TelemetrySubscriber(engine.bus, connector)`.

    Args:
        bus: whose events are published.
        connector: its `publish` is awaited with the topic and a dict.
        org: a level of the topic; by default the variable `CASCADE_ORG_ID`, or "local".
        project: a level of the topic; by default the variable `CASCADE_PROJECT_ID`, or "default".
        most: so many messages wait for the connector at the most; further ones are dropped.
        patience: so many seconds the end of a run waits for messages that have not been sent, and one `publish` takes
            at most ten times as long.
    """

    def __init__(
        self,
        bus: Bus,
        connector: Any,
        *,
        org: str | None = None,
        project: str | None = None,
        most: int = 10_000,
        patience: float = 1.0,
    ) -> None:
        if not callable(getattr(connector, "publish", None)):
            raise TypeError(f"TelemetrySubscriber takes a connector, which has a method publish, not {connector!r}")
        self.dropped: int = 0
        """How many messages were not sent."""
        self._bus = bus
        self._connector = connector
        self._org = org or os.environ.get("CASCADE_ORG_ID") or "local"
        self._project = project or os.environ.get("CASCADE_PROJECT_ID") or "default"
        self._source = f"{socket.gethostname()}-{os.getpid()}"
        self._most, self._patience = most, patience
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._is_told = False
        self._is_slow = False
        """Whether the end of a run has waited in vain, and no message was sent since."""
        self._subscriptions = [
            bus.subscribe(RunStarted, lambda event: self._lifecycle(event, "ENGINE_STARTED")),
            bus.subscribe(TaskExecutionStarted, lambda event: self._state(event, "RUNNING")),
            bus.subscribe(TaskBlocked, lambda event: self._state(event, "BLOCKED")),
            bus.subscribe(TaskSkipped, lambda event: self._state(event, "SKIPPED")),
            bus.subscribe(TaskExecutionFinished, self._finished),
            bus.subscribe(RunFinished, self._ended),
        ]

    def _finished(self, event: TaskExecutionFinished) -> None:
        self._state(event, STATES[event.status], round(event.duration * 1000, 3), event.error or "")

    async def _ended(self, event: RunFinished) -> None:
        self._lifecycle(event, "ENGINE_STOPPED")
        await self._sent()

    def _lifecycle(self, event: Event, what: str) -> None:
        self._take(event, {"type": "LifecycleEvent", "event": what})

    def _state(self, event: TaskEvent, state: str, milliseconds: float = 0.0, error: str = "") -> None:
        body = {
            "type": "TaskStateEvent",
            "task_id": event.task_id,
            "task_name": event.task_name,
            "state": state,
            "duration_ms": milliseconds,
            "error": error,
        }
        self._take(event, body)

    def _take(self, event: Event, body: dict[str, Any]) -> None:
        """Put a message behind those that wait, and see to it that they are sent."""
        run_id = event.run_id
        if len(self._queue) >= self._most:
            self._drop(run_id, f"{self._most} messages wait for the connector")
            return
        message = {
            "v": "1.0",
            "ts": datetime.fromtimestamp(event.timestamp, UTC).isoformat(),
            "run_id": run_id,
            "org_id": self._org,
            "project_id": self._project,
            "source": self._source,
            "body": body,
        }
        self._queue.append((f"cascade/telemetry/{self._org}/{self._project}/{run_id}/events", message))
        sender = self._sender
        if sender is None or sender.done() or sender.get_loop() is not asyncio.get_running_loop():
            self._sender = asyncio.get_running_loop().create_task(self._send(), name="cascade telemetry")

    async def _send(self) -> None:
        while self._queue:
            topic, message = self._queue[0]
            try:
                async with asyncio.timeout(10 * self._patience):
                    await self._connector.publish(topic, message)
                self._is_slow = False
            except Exception as error:
                self._drop(message["run_id"], spelled(error))
            if self._queue and self._queue[0][1] is message:
                self._queue.popleft()

    def _drop(self, run_id: str, why: str) -> None:
        self.dropped += 1
        if not self._is_told:
            self._is_told = True
            said = f"telemetry is dropped, which is told once: {why}; TelemetrySubscriber.dropped counts messages"
            self._bus.publish(RunWarning(run_id=run_id, code="TelemetryDropped", message=said))

    async def _sent(self) -> None:
        """Wait until all is sent, if the connector is known to send at all."""
        sender = self._sender
        if sender is None or sender.done() or self._is_slow:
            return
        done, _ = await asyncio.wait({sender}, timeout=self._patience)
        self._is_slow = not done

    async def shutdown(self) -> None:
        """Listen no more; wait for what is to be sent as long as the end of a run does, and drop the rest."""
        for subscription in self._subscriptions:
            subscription.unsubscribe()
        await self._sent()
        sender, self._sender = self._sender, None
        if sender is not None and not sender.done() and sender.get_loop() is asyncio.get_running_loop():
            sender.cancel()
            await asyncio.wait({sender})
        self.dropped += len(self._queue)
        self._queue.clear()
