"""The connector of one machine: messages between the processes of one user, over a Unix socket, without a server.

The first of them that needs it is the hub as well (a thread); when its process ends, another one takes over.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import selectors
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from cascade.adapters.connectors.messages import Messages
from cascade.adapters.doors.lines import VERSION, line_from, object_from, split
from cascade.adapters.doors.sockets import reach
from cascade.errors import ConnectorError
from cascade.spec.topics import Message, pattern_from, quality_from, topic_from

if TYPE_CHECKING:
    from cascade.adapters.connectors.hub import Hub

__all__ = ["UnixConnector"]

MOST_UNSENT = 10_000
"""Messages that wait to be sent; more are dropped, the oldest first."""
AGAIN = 0.02
"""Seconds until it is tried again to reach a hub."""
PATIENCE = 5.0
"""Seconds until an answer of the hub is given up."""

_open: WeakSet[UnixConnector] = WeakSet()


class UnixConnector:
    """Carries messages between the processes of one user on this machine; may be used from any thread and loop.

    Messages are what JSON has. What is retained outlives the process that has published it, and is there for those that
    start later, until it is cleared. Who may use it: the user alone, as with the door of an engine.

    Args:
        name: connectors of one name hear each other.

    Raises:
        ValueError: the name has something else than letters, digits, `_` and `-`, or more than 20 of them.
        ConnectorError: there are no Unix sockets here, or the folder for them is not safe.
    """

    def __init__(self, name: str = "default") -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", name):
            raise ValueError(f"the name of a UnixConnector is 1 to 20 letters, digits, _ and -, not {name!r}")
        if os.name != "posix" or not hasattr(socket, "AF_UNIX"):
            raise ConnectorError("there are no Unix sockets on this system; use another connector")
        self.name: str = name
        self.dropped: int = 0
        """How many messages were not sent, as the hub could not be reached in time."""
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._subscriptions: dict[int, tuple[str, Messages]] = {}
        self._asked: dict[int, _Asked] = {}
        """What waits for an answer, by its number."""
        self._unsent: deque[tuple[int, bytes]] = deque()
        """Lines with their numbers; 0: nobody waits for an answer."""
        self._thread: threading.Thread | None = None
        self._link: _Link | None = None
        self._users = 0
        _open.add(self)

    async def connect(self) -> None:
        """Reach the hub, or be it.

        Raises:
            ConnectorError: it cannot be reached.
        """
        with self._lock:
            self._users += 1
        await self._ask({"do": "ping"})

    async def disconnect(self) -> None:
        """Leave the hub, once all is sent; the last who has connected does so."""
        with self._lock:
            self._users = max(0, self._users - 1)
            if self._users:
                return
        if self._link is not None:
            with suppress(ConnectorError):
                await self._ask({"do": "ping"})
        self.close()

    def close(self) -> None:
        """Leave the hub at once; subscriptions end. What is used again connects again."""
        with self._lock:
            link, self._link = self._link, None
            for _, messages in self._subscriptions.values():
                messages.end_from_anywhere()
        if link is not None:
            link.close()

    async def publish(self, topic: str, message: Any, *, qos: int = 0, retain: bool = False) -> None:
        """Send a message to all who listen to a topic, in whatever process.

        Args:
            topic: its name.
            message: what JSON has.
            qos: with 1 or 2 this returns when the hub has it; with 0 at once.
            retain: keep it for those who come later; an empty one clears it.

        Raises:
            ValueError: the topic is no name, or there is no such quality.
            ConnectorError: it is no JSON, or (with qos) the hub cannot be reached.
        """
        said = {"do": "publish", "topic": topic_from(topic), "message": message, "retain": retain}
        if quality_from(qos):
            await self._ask(said)
        else:
            self._send(0, line_from({"v": VERSION, **said}))

    @asynccontextmanager
    async def subscribe(self, topic: str) -> AsyncIterator[Messages]:
        """Listen to a topic or a pattern: `async with connector.subscribe(topic) as messages`.

        Raises:
            ValueError: it is neither.
            ConnectorError: the hub cannot be reached.
        """
        pattern, messages, number = pattern_from(topic), Messages(), next(self._numbers)
        with self._lock:
            self._subscriptions[number] = pattern, messages
        try:
            await self._ask({"do": "subscribe", "topic": pattern}, number)
            yield messages
        finally:
            with self._lock:
                del self._subscriptions[number]
            if self._link is not None:
                self._send(0, line_from({"v": VERSION, "do": "unsubscribe", "n": number}))

    # --- the way to the hub

    async def _ask(self, said: dict[str, Any], number: int = 0) -> None:
        """Send something, and wait until the hub has done it."""
        number = number or next(self._numbers)
        asked = _Asked(line_from({"v": VERSION, "n": number, **said}), said["do"] == "subscribe")
        self._asked[number] = asked
        try:
            self._send(number, asked.line)
            async with asyncio.timeout(PATIENCE):
                why = await asked.answer
        except TimeoutError:
            raise ConnectorError(f"the hub of UnixConnector({self.name!r}) does not answer") from None
        finally:
            self._asked.pop(number, None)
        if why:
            raise ConnectorError(why)

    def _send(self, number: int, line: bytes) -> None:
        with self._lock:
            if len(self._unsent) >= MOST_UNSENT:
                self._unsent.popleft()
                self.dropped += 1
            self._unsent.append((number, line))
            if self._link is None:
                self._link = _Link(self)
            self._link.hurry()

    def _heard(self, said: dict[str, Any]) -> None:
        """Hand on what the hub says, on the thread of the link."""
        if "to" in said:
            with self._lock:
                known = self._subscriptions.get(said["to"])
            if known is not None:
                with suppress(RuntimeError):  # its loop is closed
                    known[1].put_from_anywhere(Message(said["topic"], said["message"], bool(said["retained"])))
            return
        asked = self._asked.get(said.get("n", 0))
        if asked is not None:
            asked.resolve("" if said.get("ok") else str(said.get("error")))

    def _first_lines(self) -> bytes:
        """Return what a new hub is to know: all subscriptions, and what the one before has not answered."""
        with self._lock:
            known = [(number, pattern) for number, (pattern, _) in self._subscriptions.items()]
            again = [asked.line for asked in self._asked.values() if asked.is_sent and not asked.is_subscription]
            self._unsent = deque(each for each in self._unsent if not self._is_subscription(each[0]))
        lines = [line_from({"v": VERSION, "do": "subscribe", "n": number, "topic": topic}) for number, topic in known]
        return b"".join([*lines, *again])

    def _is_subscription(self, number: int) -> bool:
        asked = self._asked.get(number)
        return asked is not None and asked.is_subscription

    def _taken(self, most: int) -> bytes:
        """Take lines that are to be sent, about so many bytes."""
        taken = bytearray()
        with self._lock:
            while self._unsent and len(taken) < most:
                number, line = self._unsent.popleft()
                taken += line
                if number in self._asked:
                    self._asked[number].is_sent = True
        return bytes(taken)

    def _forget(self) -> None:
        """In a forked child: a link of its own is made when it is needed."""
        self._lock = threading.RLock()
        link, self._link = self._link, None
        self._subscriptions.clear()
        self._asked.clear()
        self._unsent.clear()
        self._users = 0
        if link is not None:
            link.forget()


class _Asked:
    """A line that the hub is to answer, and who waits for that."""

    def __init__(self, line: bytes, is_subscription: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[str] = self._loop.create_future()
        """Why it was refused; empty: it was not."""
        self.line = line
        self.is_subscription = is_subscription
        self.is_sent = False

    def resolve(self, why: str) -> None:
        """Give the answer, from any thread."""
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._set, why)

    def _set(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_result(why)


class _Link:
    """A thread that keeps a connection to the hub, and makes one if there is none."""

    def __init__(self, connector: UnixConnector) -> None:
        self._connector = connector
        self._hub: Hub | None = None
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._wake, self._woken = socket.socketpair()
        for each in (self._wake, self._woken):
            each.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name="cascade-link", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        with suppress(OSError):
            self._wake.send(b"\0")

    def close(self) -> None:
        self._is_closed = True
        self.hurry()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def forget(self) -> None:
        self._is_closed = True
        for each in (self._socket, self._wake, self._woken):
            if each is not None:
                each.close()

    def _serve(self) -> None:
        try:
            while not self._is_closed:
                with suppress(OSError):
                    self._connect()
                    self._go_on()
                if not self._is_closed:
                    self._pause()
        finally:
            if self._socket is not None:
                self._socket.close()
            if self._hub is not None:
                self._hub.close()
            self._wake.close()
            self._woken.close()

    def _pause(self) -> None:
        threading.Event().wait(AGAIN)

    def _connect(self) -> None:
        from cascade.adapters.connectors.hub import path_of, try_to_be_hub

        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._hub is not None and self._hub.is_closed:
            self._hub = None
        if self._hub is None:
            self._hub = try_to_be_hub(self._connector.name)
        self._socket, _ = reach(path_of(self._connector.name), 1.0)
        self._socket.setblocking(False)

    def _go_on(self) -> None:
        """Send and receive until the connection is gone."""
        assert self._socket is not None
        connector, inbox = self._connector, bytearray()
        outbox = bytearray(connector._first_lines())
        with selectors.SelectSelector() if not hasattr(selectors, "PollSelector") else selectors.PollSelector() as wait:
            wait.register(self._woken, selectors.EVENT_READ)
            wait.register(self._socket, selectors.EVENT_READ)
            until = monotonic() + 1.0
            while not self._is_closed or (outbox and monotonic() < until):
                outbox += connector._taken((1 << 20) - len(outbox))
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if outbox else 0)
                if wait.get_key(self._socket).events != wanted:
                    wait.modify(self._socket, wanted)
                for key, events in wait.select(1.0):
                    if key.fileobj is self._woken:
                        with suppress(OSError):
                            self._woken.recv(4096)
                        continue
                    if events & selectors.EVENT_WRITE and outbox:
                        del outbox[: self._socket.send(outbox, getattr(socket, "MSG_NOSIGNAL", 0))]
                    if events & selectors.EVENT_READ:
                        more = self._socket.recv(65_536)
                        if not more:
                            return
                        inbox += more
                        while (line := split(inbox)) is not None:
                            connector._heard(object_from(line))
                if not self._is_closed:
                    until = monotonic() + 1.0


def _forget_all() -> None:
    for connector in list(_open):
        connector._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
