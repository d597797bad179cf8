"""Pauses and limits that come to an engine as messages of its connector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any

from cascade.errors import ConstraintError
from cascade.runtime.steering.steerable import Steerable
from cascade.spec.asking import ASK
from cascade.spec.connecting import with_topics
from cascade.spec.constraints import ALL, Change, clears, read
from cascade.spec.events import ConnectorConnected, ConnectorDisconnected, Event, RunWarning
from cascade.spec.limits import Kind
from cascade.spec.notes import spelled
from cascade.spec.protocols import Connector
from cascade.spec.topics import Message

if TYPE_CHECKING:
    from cascade.runtime.steering.by_questions import Questions

__all__ = ["MessageControl"]

PATIENCE = 5.0
"""Seconds that the first run waits for a connector, and its end for one that disconnects."""
SETTLING = 0.02
"""Seconds in which retained messages come of a connector that does not say (an attribute of the same name does)."""
MOST_STANDING = 10_000
"""Limits that messages may have stand at once."""
MOST_SHOWN = 500


class MessageControl:
    """Connects an engine to its connector before its first run, and does what `cascade/constraints/#` asks for.

    Nothing that comes there, and no failure of the connector, ends a run: it is a RunWarning.
    """

    def __init__(
        self, engine: Steerable, connector: Connector, questions: Callable[[Callable[[str, str], None]], Questions]
    ) -> None:
        """Keep what is to be steered, and by what.

        Args:
            questions: gives who answers what is asked there, from who warns of what makes no sense.
        """
        self._engine = engine
        self._questions = questions
        self._connector = connector
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun: asyncio.Event
        self._is_connected = False

    async def begin(self) -> None:
        """Connect, if that is not done; return when what is retained holds."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._begun, self._is_connected = loop, asyncio.Event(), False
            self._task = loop.create_task(self._serve(), context=Context())  # it belongs to no run
        if not self._begun.is_set():
            try:
                await asyncio.wait_for(self._begun.wait(), PATIENCE)
            except TimeoutError:
                self._begun.set()
                self._warn("ConnectorSlow", f"not connected after {PATIENCE:g} s; runs go on, and it is tried further")

    async def end(self) -> None:
        """Listen no more, and disconnect."""
        task, self._task = self._task, None
        if task is None or self._loop is not asyncio.get_running_loop():
            return
        self._loop = None
        task.cancel()
        await asyncio.wait({task})
        disconnect = getattr(self._connector, "disconnect", None)
        if disconnect is not None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await disconnect()
            except Exception as error:
                self._warn("ConnectorFailed", f"it did not disconnect: {spelled(error)}")
        self._disconnected()

    async def _serve(self) -> None:
        try:
            connect = getattr(self._connector, "connect", None)
            if connect is not None:
                await connect()
            async with self._connector.subscribe(ALL) as messages, self._answering():
                self._is_connected = True
                self._publish(ConnectorConnected())
                if hasattr(messages, "ready"):
                    for message in messages.ready():
                        self.take(message)
                settling = getattr(self._connector, "settling", 0.0 if hasattr(messages, "ready") else SETTLING)
                asyncio.get_running_loop().call_later(settling, self._begun.set)
                async for message in with_topics(messages, ALL):
                    self.take(message)
            self._disconnected()  # by itself
        except Exception as error:
            self._warn("ConnectorFailed", f"no pauses and limits come from it any more: {spelled(error)}")
            self._disconnected()
        finally:
            self._begun.set()

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Answer what is asked, meanwhile, where the connector is one for that."""
        if not getattr(self._connector, "takes_questions", False):
            yield
            return
        questions = self._questions(self._warn)

        async def listen(messages: Any) -> None:
            async for message in with_topics(messages, ASK):
                questions.take(message)

        async with self._connector.subscribe(ASK) as messages:
            listening = asyncio.create_task(listen(messages))
            try:
                yield
            finally:
                listening.cancel()

    def take(self, message: Message) -> None:
        """Do what a message asks for, on the event loop's thread."""
        try:
            change = read(message.topic, message.value, time.time())
            if change is not None:
                self._apply(change)
            elif not message.retained:
                self._clear(message.topic)
        except Exception as error:
            why = str(error) if isinstance(error, ConstraintError) else spelled(error)
            self._warn("ConstraintIgnored", f"a message of {message.topic} is ignored: {why}")

    def _apply(self, change: Change) -> None:
        engine, key = self._engine, (change.scope, change.kind)
        if change.value is None:
            self._drop([key])
            return
        standing = engine.admission.limits.table
        if key not in standing and len(standing) >= MOST_STANDING:
            raise ConstraintError(f"{MOST_STANDING:,} limits stand already")
        engine.put_limits(change.scope, {change.kind: change.value}, change.ttl, change.burst)

    def _clear(self, topic: str) -> None:
        if self._engine.admitting is not None:
            self._drop(clears(topic, self._engine.admission.limits.table))

    def _drop(self, keys: list[tuple[str, Kind]]) -> None:
        if self._engine.admitting is not None:
            for scope, kind in keys:
                self._engine.drop_limits(scope, kind)

    def _disconnected(self) -> None:
        if self._is_connected:
            self._is_connected = False
            self._publish(ConnectorDisconnected())

    def _warn(self, code: str, message: str) -> None:
        text = f"{type(self._connector).__name__}: {message}"
        self._publish(RunWarning(code=code, message=text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."))

    def _publish(self, event: Event) -> None:
        if self._engine.bus.wants(type(event)):
            self._engine.bus.publish(event)
