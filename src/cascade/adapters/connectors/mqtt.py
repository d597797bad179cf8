"""The connector for a broker of MQTT: messages between machines; needs aiomqtt."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any

from cascade.adapters.connectors.messages import Messages
from cascade.errors import ConnectorError, MissingExtraError
from cascade.spec.notes import log_failure
from cascade.spec.topics import Message, fits, is_empty, pattern_from, quality_from, topic_from

try:
    from aiomqtt import Client, MqttError, Will
except ModuleNotFoundError as error:
    raise MissingExtraError("MqttConnector needs a package of an extra: pip install cascade-py[mqtt]") from error

__all__ = ["MqttConnector"]

MOST_UNSENT = 10_000
"""Messages that wait to be sent; more are dropped, the oldest first."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds until it is tried again to reach the broker: twice as long each time."""
PATIENCE = 5.0
"""Seconds until an answer of the broker is given up."""
SETTLING = 0.2
"""Seconds in which retained messages come to who has just begun to listen."""


class Listener:
    """One subscription: what it is for, and whether retained messages are for it, too."""

    def __init__(self, pattern: str) -> None:
        self.pattern: str = pattern
        self.messages: Messages = Messages()
        self.told: set[str] | None = set()
        """Of which topics it has had what is retained, since it or the connection began; None: that is over."""

    def takes(self, topic: str, retained: bool) -> bool:
        """Say whether a message is for it; what is retained comes again with each subscription of the connection."""
        if not fits(self.pattern, topic):
            return False
        if retained and (self.told is None or topic in self.told):
            return False
        if self.told is not None:
            self.told.add(topic)
        return True


class MqttConnector:
    """Carries messages over a broker of MQTT, on one event loop at a time; connects again by itself, and listens again.

    Messages are what JSON has. While the broker is away, at most 10,000 wait to be sent, and `publish` never waits (but
    for `qos` 1 and 2). On `cascade/status/{source}` it is told, retained, whether this program is connected, by the
    broker itself for one that ends without a word: `{"status": "offline"}`.

    Args:
        host: where the broker is.
        port: its port.
        source: what this program is called; by default its host and pid.
        tells_status: whether it is told that this program is connected.
        options: what `aiomqtt.Client` takes besides: `username`, `password`, `tls_params`, `keepalive`.
    """

    takes_questions: bool = True
    """Whether an engine with this connector answers on it what `cascade ps --mqtt`, `cancel` and `signal` ask for."""
    settling: float = SETTLING
    """For how many seconds retained messages may come once it listens."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 1883,
        *,
        source: str | None = None,
        tells_status: bool = True,
        **options: Any,
    ) -> None:
        self.host: str = host
        self.port: int = port
        self.source: str = f"{socket.gethostname()}-{os.getpid()}" if source is None else source
        self.status_topic: str = topic_from(f"cascade/status/{self.source}")
        """Where it is told whether this program is connected, retained."""
        self.dropped: int = 0
        """How many messages were not sent, as the broker was away for too long."""
        self._tells_status = tells_status
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._users = 0

    async def connect(self) -> None:
        """Reach the broker; this waits until it is there."""
        self._users += 1
        self._begin()
        await self._connected.wait()

    async def disconnect(self) -> None:
        """Send what is left, say that this program is offline, and leave; the last who has connected does so."""
        self._users = max(0, self._users - 1)
        if self._users or self._loop is not asyncio.get_running_loop():
            return
        self._loop = None
        if self._client is not None:
            with suppress(MqttError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._send_all(self._client)
                    await self._tell(self._client, "offline")
        self._task.cancel()
        await asyncio.wait({self._task})
        for each in self._listeners:
            each.messages.end()

    async def publish(self, topic: str, message: Any, *, qos: int = 0, retain: bool = False) -> None:
        """Send a message to all who listen to a topic.

        Args:
            topic: its name.
            message: what JSON has.
            qos: with 1 or 2 this returns when the broker has it; with 0 at once.
            retain: keep it for those who come later; an empty one clears it.

        Raises:
            ValueError: the topic is no name, or there is no such quality.
            ConnectorError: it is no JSON, or (with qos) the broker cannot be reached.
        """
        name, quality, payload = topic_from(topic), quality_from(qos), _payload(message)
        self._begin()
        if not quality:
            if len(self._unsent) >= MOST_UNSENT:
                self._unsent.popleft()
                self.dropped += 1
            self._unsent.append((name, payload, retain))
            self._is_asked.set()
            return
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self._connected.wait()
                    with suppress(MqttError):  # it has just gone: once more with the next
                        assert self._client is not None
                        await self._client.publish(name, payload, qos=quality, retain=retain)
                        return
                    await asyncio.sleep(FIRST_WAIT)
        except TimeoutError:
            raise ConnectorError(f"the broker at {self.host}:{self.port} does not answer") from None

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Messages]:
        """Listen to a topic or a pattern: `async with connector.subscribe(topic) as messages`.

        While the broker is away it listens as soon as that is back.

        Raises:
            ValueError: it is neither.
        """
        listener = Listener(pattern_from(topic))
        self._begin()
        self._listeners.append(listener)
        try:
            if self._client is not None:
                with suppress(MqttError):  # it has just gone: the next connection subscribes
                    await self._client.subscribe(listener.pattern, qos=1)
            asyncio.get_running_loop().call_later(5 * SETTLING, self._settled, listener)
            yield listener.messages
        finally:
            self._listeners.remove(listener)
            if self._client is not None and all(each.pattern != listener.pattern for each in self._listeners):
                with suppress(MqttError):
                    await self._client.unsubscribe(listener.pattern)

    # --- the connection

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        self._loop = loop
        self._client: Client | None = None
        self._connected, self._is_asked = asyncio.Event(), asyncio.Event()
        self._listeners: list[Listener] = []
        self._unsent: deque[tuple[str, bytes, bool]] = deque()
        self._task = loop.create_task(self._serve(), context=Context())  # it belongs to no run

    async def _serve(self) -> None:
        wait = FIRST_WAIT
        while True:
            try:
                async with self._made() as client:
                    await self._greet(client)
                    wait = FIRST_WAIT
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._keep_sending(client))
                        group.create_task(self._keep_listening(client))
            except* (MqttError, TimeoutError, OSError):
                pass
            finally:
                self._client = None
                self._connected.clear()
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _made(self) -> Client:
        will = (
            Will(self.status_topic, _payload({"status": "offline"}), qos=1, retain=True) if self._tells_status else None
        )
        return Client(self.host, self.port, will=will, **self._options)

    async def _greet(self, client: Client) -> None:
        """Listen again to all that is listened to, and say that this program is there."""
        for each in self._listeners:
            each.told = set()
            asyncio.get_running_loop().call_later(5 * SETTLING, self._settled, each)
        for pattern in dict.fromkeys(each.pattern for each in self._listeners):
            await client.subscribe(pattern, qos=1)
        self._client = client  # before others hear of it: one that leaves at once says so behind it
        self._connected.set()
        await self._tell(client, "online")

    async def _tell(self, client: Client, status: str) -> None:
        if self._tells_status:
            await client.publish(self.status_topic, _payload({"status": status}), qos=1, retain=True)

    def _settled(self, listener: Listener) -> None:
        listener.told = None

    async def _keep_sending(self, client: Client) -> None:
        while True:
            await self._send_all(client)
            self._is_asked.clear()
            await self._is_asked.wait()

    async def _send_all(self, client: Client) -> None:
        while self._unsent:
            entry = self._unsent[0]
            topic, payload, retain = entry
            await client.publish(topic, payload, retain=retain)
            if self._unsent and self._unsent[0] is entry:
                self._unsent.popleft()

    async def _keep_listening(self, client: Client) -> None:
        async for message in client.messages:
            topic = message.topic.value
            try:
                value = json.loads(message.payload) if message.payload else {}
            except (ValueError, TypeError, RecursionError) as error:
                log_failure(f"A message of {topic!r} that is no JSON was dropped.", error)
                continue
            for each in [*self._listeners]:
                if each.takes(topic, message.retain):
                    each.messages.put(Message(topic, value, message.retain))


def _payload(message: Any) -> bytes:
    if is_empty(message):
        return b""
    try:
        return json.dumps(message, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise ConnectorError(f"a message over MQTT is JSON, which this is not: {error}") from None
