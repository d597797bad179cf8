"""Channels: messages from the tasks of a run to each other, while they go on."""

from __future__ import annotations

from _thread import get_ident
from asyncio import Future
from collections import deque
from types import CodeType
from typing import Any, ClassVar, Self, TypeVar

from cascade.spec.inside import present
from cascade.spec.lines import CAPACITY, RECEIVES, Home, Line, Receiving, Sending, Waiters
from cascade.spec.signal import UNSET

__all__ = ["Channel", "Reader", "Topic"]

T = TypeVar("T")


class Channel(Receiving[T], Sending[T]):
    """Messages from any number of tasks of a run to any others of it: each is received once.

    `await channel.send(x)`, `await channel.receive()`, `async for x in channel`. What `cs.channel(name)` gives.
    """

    word: ClassVar[str] = "channel"
    least: ClassVar[int | None] = None
    """How many readers have to come before anything is sent; None: a channel waits for none."""
    __slots__ = (
        *(
            "_due",
            "_first",
            "_home",
            "_is_closed",
            "_is_outside",
            "_later",
            "_loop",
            "_messages",
            "_promised",
            "_scope",
        ),
        *("_senders", "_thread", "asked", "capacity", "classes", "declared", "kind", "name"),
    )

    def __init__(self, home: Home, name: str, declared: tuple[CodeType, int]) -> None:
        self.name = name
        self.declared = declared
        self.capacity = CAPACITY
        self.asked: int | None = None
        self.classes: tuple[type, ...] | None = None
        self.kind: Any = UNSET
        self._home, self._scope, self._loop, self._thread = home, home.scope, home.loop, home.thread
        self._is_closed = self._is_outside = False
        self._messages: deque[T] | None = None
        self._due = 0
        self._first: Future[bool] | None = None
        self._later: Waiters | None = None
        self._senders: Waiters | None = None
        self._promised = 0

    def _has_room(self) -> bool:
        return self._messages is None or len(self._messages) - self._due + self._promised < self.capacity

    def _offer(self, message: T, promised: int) -> bool:
        messages = self._messages
        if messages is None:
            messages = self._messages = deque()
        elif not promised and len(messages) - self._due + self._promised >= self.capacity and not self._waiting():
            return False
        self._promised -= promised
        messages.append(message)
        if self._first is not None:
            self._tell()
            if promised:
                self._look()
        return True

    def _taken(self) -> None:
        if self._senders is not None:
            self._look()

    def _end_readers(self) -> None:
        self._dismiss()

    def waiters(self) -> list[tuple[Future[Any], Line, str]]:
        """Return who waits here: a future, where, and what for."""
        readers: list[tuple[Future[Any], Line, str]] = [(waiter, self, RECEIVES) for waiter in self._waiting()]
        return readers + self._waiting_senders()

    def __repr__(self) -> str:
        return f"<Channel {self.name!r}: {len(self._messages or ())} of {self.capacity} messages>"


class Topic(Sending[T]):
    """Messages from any number of tasks of a run to each of its readers: what `cs.channel(name, readers=n)` gives.

    `await topic.send(x)`; `with topic.reader() as reader: async for x in reader`. Nothing is sent before `n` readers
    have come.
    """

    word: ClassVar[str] = "topic"
    __slots__ = (
        *("_home", "_is_closed", "_is_outside", "_loop", "_promised", "_readers", "_scope", "_senders", "_thread"),
        *("asked", "capacity", "classes", "declared", "has_all", "kind", "least", "name"),
    )

    def __init__(self, home: Home, name: str, declared: tuple[CodeType, int], least: int) -> None:
        self.name = name
        self.declared = declared
        self.capacity = CAPACITY
        self.asked: int | None = None
        self.classes: tuple[type, ...] | None = None
        self.kind: Any = UNSET
        self.least = least
        """So many readers have to come before anything is sent."""
        self.has_all: bool = not least
        self._home, self._scope, self._loop, self._thread = home, home.scope, home.loop, home.thread
        self._is_closed = self._is_outside = False
        self._readers: list[Reader[T]] = []
        self._senders: Waiters | None = None
        self._promised = 0

    def reader(self) -> Reader[T]:
        """Return a new reader, which has each message that is sent from now on, until it is closed."""
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        reader = Reader(self)
        if not self._is_closed:
            self._readers.append(reader)
            self.has_all = self.has_all or len(self._readers) >= self.least
            self._look()
        return reader

    def leave(self, reader: Reader[T]) -> None:
        """Send nothing more to a reader."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._look()

    def _has_room(self) -> bool:
        most = self.capacity - self._promised
        return self.has_all and all(reader.left < most for reader in self._readers)

    def _offer(self, message: T, promised: int) -> bool:
        if not promised and not self._has_room():
            return False
        self._promised -= promised
        for reader in self._readers:
            reader.take(message)
        if promised:
            self._look()
        return True

    def _taken(self) -> None:
        if self._senders is not None:
            self._look()

    def _end_readers(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.end()

    def waiters(self) -> list[tuple[Future[Any], Line, str]]:
        """Return who waits here: a future, where, and what for."""
        found = self._waiting_senders()
        for reader in self._readers:
            found += reader.waiters()
        return found

    def __repr__(self) -> str:
        return f"<Topic {self.name!r}: {len(self._readers)} readers, at most {self.capacity} messages behind>"


class Reader(Receiving[T]):
    """One of those who read a topic: `await reader.receive()`, `async for x in reader`; left, it holds nobody back."""

    word: ClassVar[str] = "a reader of topic"
    __slots__ = (
        "_due",
        "_first",
        "_home",
        "_is_closed",
        "_later",
        "_loop",
        "_messages",
        "_scope",
        "_thread",
        "_topic",
        "name",
    )

    def __init__(self, topic: Topic[T]) -> None:
        self.name: str = topic.name
        self._topic = topic
        self._home, self._scope, self._loop = topic._home, topic._scope, topic._loop
        self._thread = topic._thread
        self._is_closed = topic.closed
        self._messages: deque[T] | None = None
        self._due = 0
        self._first: Future[bool] | None = None
        self._later: Waiters | None = None

    @property
    def is_outside(self) -> bool:
        """Whether code outside of the run may use it."""
        return self._topic.is_outside

    @property
    def left(self) -> int:
        """How many messages it has still to receive."""
        return 0 if self._messages is None else len(self._messages) - self._due

    def take(self, message: T) -> None:
        """Take a message of the topic."""
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        if self._first is not None:
            self._tell()

    def end(self) -> None:
        """Take note that the topic is closed."""
        self._is_closed = True
        self._dismiss()

    def close(self) -> None:
        """Read no more: what was not received is dropped."""
        self._messages = None
        self.end()
        self._topic.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _taken(self) -> None:
        self._topic._taken()

    def waiters(self) -> list[tuple[Future[Any], Line, str]]:
        """Return who waits here: a future, where, and what for."""
        return [(waiter, self, RECEIVES) for waiter in self._waiting()]

    def __repr__(self) -> str:
        return f"<Reader of {self.name!r}: {self.left} messages left>"
