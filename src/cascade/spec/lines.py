"""The two sides of a channel: how messages are sent and received, and who waits for what.

A reader that has to wait is told that there is a message for it, and then takes the first one itself, whichever that
is by then: so one that is cancelled has taken nothing, and whoever goes on first has what was sent first. A sender that
has to wait is told that a place is kept for it, and then puts its message there itself: so one that is cancelled has
sent nothing.
"""

from __future__ import annotations

from _thread import get_ident
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Coroutine
from types import CodeType
from typing import Any, ClassVar, Final, Generic, NoReturn, Protocol, Self, TypeVar

from cascade.errors import ChannelError
from cascade.spec.inside import present
from cascade.spec.kinds import classes_of
from cascade.spec.readable import readable
from cascade.spec.shown import one_line
from cascade.spec.signal import UNSET

__all__ = ["CAPACITY", "RECEIVES", "SENDS", "Home", "Line", "Receiving", "Sending", "Waiters"]

T = TypeVar("T")

RECEIVES: Final = "receive"
SENDS: Final = "send"
CAPACITY: Final = 100
NONE_YET: tuple[str, ...] = ()
"""The slots of the two sides, which are those of the classes that have them."""


class Home(Protocol):
    """The run that a channel belongs to."""

    scope: Any
    """What `present` gives inside of the run."""
    loop: AbstractEventLoop
    thread: int
    """Where the event loop is: to ask for the running loop takes a system call before Python 3.12."""

    def begin(self, line: Line, doing: str) -> None:
        """Take note that somebody begins to wait."""

    def end(self) -> None:
        """Take note that somebody waits no more."""

    def check_use(self, line: Line) -> None:
        """Raise ChannelError unless a channel may be used from here."""


class Line:
    """What is common to all that messages go through."""

    __slots__ = NONE_YET
    name: str
    word: ClassVar[str]
    """What it is called in messages."""
    _home: Home
    _scope: Any
    _loop: AbstractEventLoop
    _thread: int
    _is_closed: bool

    @property
    def is_outside(self) -> bool:
        """Whether code outside of the run may use it."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.word} {self.name!r}"

    @property
    def closed(self) -> bool:
        """Whether nothing is sent any more; there may be messages left to be received."""
        return self._is_closed

    def doing(self, doing: str) -> str:
        """Return what somebody does who waits here."""
        return f"waits to {doing} {'from' if doing == RECEIVES else 'to'} {self.title}"

    def waiters(self) -> list[tuple[Future[Any], Line, str]]:
        """Return who waits here: a future, where, and what for."""
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        raise ChannelError(
            f"{self.title} cannot be sent to another process, copied or kept: tasks of the same run ask for it by its "
            "name, cs.channel(name)"
        )


class Waiters:
    """Futures of those who wait, in the order in which they came; those that are done are passed over."""

    __slots__ = ("gone", "queue")

    def __init__(self) -> None:
        self.queue: deque[Future[Any]] = deque()
        self.gone = 0
        """How many have left, since they were last counted out."""

    def next(self) -> Future[Any] | None:
        """Take out who has waited for the longest."""
        queue = self.queue
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                return waiter
        return None

    def drop(self) -> None:
        """Take note that somebody has left; they are taken out when that is half of them, so that each costs little."""
        self.gone += 1
        if self.gone * 2 > len(self.queue):
            self.gone = 0
            self.queue = deque([waiter for waiter in self.queue if not waiter.done()])


class Receiving(Line, Generic[T]):
    """The side of the readers."""

    __slots__ = NONE_YET
    _messages: deque[T] | None
    _due: int
    """How many of these are for readers that were told so."""
    _first: Future[bool] | None
    """Who has waited for a message for the longest: mostly the only one."""
    _later: Waiters | None

    def receive(self) -> Coroutine[Any, Any, T]:
        """Wait for the next message, and return it; each goes to one reader. To be awaited.

        Raises:
            ChannelError: the channel is closed and no message is left; it is used elsewhere than in its run; or all who
                could go on in the run wait for each other in channels.
        """
        return self._next(False)

    def __aiter__(self) -> Self:
        """Go through the messages, until the channel is closed and none is left."""
        return self

    def __anext__(self) -> Coroutine[Any, Any, T]:
        return self._next(True)

    @readable("line", "doing")
    async def _next(self, is_iterated: bool) -> T:
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        messages = self._messages
        if messages and len(messages) > self._due:
            message = messages.popleft()
            self._taken()
            return message
        if self._is_closed:
            raise self._end(is_iterated)
        line, doing, home = self, RECEIVES, self._home
        home.begin(line, doing)
        waiter: Future[bool] = self._loop.create_future()
        if self._first is None:
            self._first = waiter
        else:
            if self._later is None:
                self._later = Waiters()
            self._later.queue.append(waiter)
        try:
            is_there = await waiter
        except BaseException:
            if _is_told(waiter):
                self._due -= waiter.result()  # just now
                self._tell()
            elif self._first is waiter:
                self._first = None if self._later is None else self._later.next()
            elif self._later is not None:
                self._later.drop()
            raise
        finally:
            home.end()
            del waiter  # an error's traceback leads here
        if not is_there or not self._messages:  # closed, or a reader that does not read any more
            raise self._end(is_iterated)
        self._due -= 1
        return self._messages.popleft()

    def _tell(self) -> None:
        """Let readers that wait know of messages that nobody was told of, the first of them first."""
        while self._first is not None and self._messages is not None and len(self._messages) > self._due:
            self._due += self._wake(True)

    def _wake(self, is_there: bool) -> bool:
        """Tell who has waited for the longest whether there is a message for it; say whether that waits still."""
        waiter, later = self._first, self._later
        self._first = None if later is None else later.next()
        if waiter is None or waiter.done():
            return False
        waiter.set_result(is_there)
        return True

    def _give_back(self, message: T) -> None:
        if self._messages is None:
            self._messages = deque()
        self._messages.appendleft(message)
        self._tell()

    def _taken(self) -> None:
        """Let a sender know that there is room."""
        raise NotImplementedError

    def _dismiss(self) -> None:
        """Tell all who wait that nothing comes any more."""
        while self._first is not None:
            self._wake(False)

    def _end(self, is_iterated: bool) -> Exception:
        if is_iterated:
            return StopAsyncIteration()
        return ChannelError(f"{self.title} is closed, and no message is left to be received")

    def _waiting(self) -> list[Future[bool]]:
        later = () if self._later is None else self._later.queue
        return [waiter for waiter in (self._first, *later) if waiter is not None and not waiter.done()]


class Sending(Line, Generic[T]):
    """The side of the senders, of a channel and of a topic."""

    __slots__ = NONE_YET
    capacity: int
    asked: int | None
    """The capacity that was declared; None: nobody has said."""
    kind: Any
    """The type that was declared for messages; UNSET: nobody has said."""
    classes: tuple[type, ...] | None
    """What a message has to be an instance of; None: of anything."""
    declared: tuple[CodeType, int]
    """The code that asked for it first, and the line."""
    _is_outside: bool
    _senders: Waiters | None
    _promised: int
    """Places that are kept for senders that were told so."""

    @property
    def is_outside(self) -> bool:
        """Whether code outside of the run may use it."""
        return self._is_outside

    async def send(self, message: T) -> None:
        """Send a message; wait while there is no room for it.

        Raises:
            TypeError: it is not of the channel's type.
            ChannelError: the channel is closed; it is used elsewhere than in its run; or all who could go on in the run
                wait for each other in channels.
        """
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        if self.classes is not None and not isinstance(message, self.classes):
            raise self._refused(message)
        if self._is_closed:
            raise ChannelError(f"{self.title} is closed: nothing can be sent any more")
        if not self._offer(message, 0):
            await self._wait_for_room()
            if self._is_closed:
                self._promised -= 1
                raise ChannelError(f"{self.title} was closed while this waited to send")
            self._offer(message, 1)

    def close(self) -> None:
        """Let nothing be sent any more; what was sent can still be received.

        Who waits to send gets a ChannelError, as does who waits for a message; `async for` ends. A second time it does
        nothing.
        """
        if present.get() is not self._scope or get_ident() != self._thread:
            self._home.check_use(self)
        if not self._is_closed:
            self._is_closed = True
            senders, self._senders = self._senders, None
            while senders is not None and (waiter := senders.next()) is not None:
                self._promised += 1
                waiter.set_result(None)
            self._end_readers()

    def open_outside(self) -> Self:
        """Say that code outside of the run uses it as well, on the same event loop; return the channel.

        Then who waits here may be woken from there, so that nobody is told that it waits in vain.
        """
        if not self._is_outside:
            self._home.check_use(self)
            self._is_outside = True
        return self

    @readable("line", "doing")
    async def _wait_for_room(self) -> None:
        line, doing, home = self, SENDS, self._home
        home.begin(line, doing)
        waiter: Future[None] = self._loop.create_future()
        if self._senders is None:
            self._senders = Waiters()
        self._senders.queue.append(waiter)
        try:
            await waiter
        except BaseException:
            if _is_told(waiter):
                self._promised -= 1  # a place was kept for it just now
                self._look()
            elif self._senders is not None:
                self._senders.drop()
            raise
        finally:
            home.end()
            del waiter  # an error's traceback leads here

    def _look(self) -> None:
        """Tell senders that wait of the places that are free."""
        while self._senders is not None and self._senders.queue and self._has_room():
            waiter = self._senders.next()
            if waiter is not None:
                self._promised += 1
                waiter.set_result(None)

    def _waiting_senders(self) -> list[tuple[Future[Any], Line, str]]:
        queue = () if self._senders is None else self._senders.queue
        return [(waiter, self, SENDS) for waiter in queue if not waiter.done()]

    def _refused(self, message: object) -> TypeError:
        wanted = " or ".join(sorted(each.__name__ for each in self.classes or ()))
        return TypeError(
            f"{self.title}, declared at {self.place()}, is for messages of type {wanted}, and was to be sent a "
            f"{type(message).__name__}: {one_line(repr(message))[:80]}"
        )

    def place(self) -> str:
        """Return where it was declared, as file:line."""
        return _spelled(self.declared)

    def declare(self, kind: Any, capacity: int | None) -> None:
        """Take over what is said of it for the first time."""
        if kind is not UNSET:
            self.kind, self.classes = kind, classes_of(kind)
        if capacity is not None:
            self.asked = self.capacity = capacity

    def agree(self, kind: Any, capacity: int | None, declared: tuple[CodeType, int]) -> None:
        """See whether another declaration says the same.

        Raises:
            ChannelError: it says something else.
        """
        for what, was, now in (("type", self.kind, kind), ("capacity", self.asked, capacity)):
            if was is not now and now not in (UNSET, None) and was not in (UNSET, None) and was != now:
                raise self.declared_twice(f"{what}={_shown(was)}", f"{what}={_shown(now)}", declared)
        self.declare(kind, capacity)

    def declared_twice(self, was: str, now: str, declared: tuple[CodeType, int]) -> ChannelError:
        """Return the error for two declarations that differ."""
        return ChannelError(
            f"{self.title} is declared with {was} at {self.place()}, and with {now} at {_spelled(declared)}: all that "
            "use it have to say the same, or leave that out"
        )

    def _has_room(self) -> bool:
        """Say whether one more message may come."""
        raise NotImplementedError

    def _offer(self, message: T, promised: int) -> bool:
        """Hand a message over or keep it, if there is room; there is if a place is `promised`."""
        raise NotImplementedError

    def _end_readers(self) -> None:
        """Tell readers that wait that nothing comes any more."""
        raise NotImplementedError


def _spelled(declared: tuple[CodeType, int]) -> str:
    code, line = declared
    return f"{code.co_filename}:{line}"


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)


def _is_told(waiter: Future[Any]) -> bool:
    """Say whether somebody who waits no more was given something all the same; from now on nothing can be."""
    return not waiter.cancel() and not waiter.cancelled() and waiter.exception() is None
