"""The door of an engine: a socket on which other processes of the same user may ask it to pause, to end, or how it is.

It is served by a thread of its own, so that it answers while the event loop is busy. What only the event loop knows is
asked there and answered when it comes, while others go on being served. Whatever comes in, at worst a connection is
closed: nothing of a message is evaluated, and no failure leaves the thread.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, TypeAlias
from weakref import WeakSet

from cascade.adapters.doors.lines import VERSION, line_from, object_from, split
from cascade.adapters.doors.sockets import DOOR, Entrance, check_peer, proof
from cascade.errors import CascadeError, ConnectorError

__all__ = ["Answer", "Door"]

MOST_CALLERS = 64
"""Connections at once; one more closes the one that has said nothing for the longest."""
MOST_UNREAD = 4 << 20
"""Bytes of answers that nobody reads; then the connection is closed."""
PATIENCE = 2.0
"""Seconds that an answer may take which the event loop is to give."""
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""To write to who has left shall be an error and no SIGPIPE, which ends programs that do not ignore it."""
ENDING = 1.0
"""Seconds that closing waits for the thread."""

Answer: TypeAlias = Callable[[dict[str, Any], Callable[[object], None]], object]
"""Given a request, and what takes an answer that comes later (an error is one, too)."""

_open: WeakSet[Door] = WeakSet()


class Later:
    """Returned in place of an answer that comes later, with the one to give if it comes too late; None: an error."""

    __slots__ = ("instead", "patience")

    def __init__(self, instead: object = None, patience: float | None = None) -> None:
        self.instead = instead
        self.patience = PATIENCE if patience is None else patience


class Caller:
    """One connection to a door."""

    __slots__ = ("asked", "at", "challenge", "due", "inbox", "instead", "is_known", "outbox", "socket")

    def __init__(self, connected: socket.socket, is_known: bool) -> None:
        self.socket = connected
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.is_known = is_known
        """Whether it has proven to be allowed to ask."""
        self.challenge = ""
        self.asked = 0
        """How many requests there were."""
        self.at = monotonic()
        """When something was heard of it."""
        self.due: float | None = None
        """When the answer that comes later is given up; None: none is waited for."""
        self.instead: object = None
        """What is answered then."""


class Door:
    """Serves one socket; `close` ends it, from any thread."""

    def __init__(self, answer: Answer) -> None:
        """Open.

        Args:
            answer: gives an answer to a request, or raises a CascadeError whose message is told.

        Raises:
            ConnectorError: the folder for doors is not safe.
            OSError: there can be no socket.
        """
        self._answer = answer
        self._entrance = Entrance(DOOR)
        self.name: str = self._entrance.name
        self._callers: dict[int, Caller] = {}
        self._answers: deque[tuple[Caller, int, dict[str, Any]]] = deque()
        self._is_closed = False
        self._wake, self._woken = socket.socketpair()
        for each in (self._wake, self._woken):
            each.setblocking(False)
        _open.add(self)
        self._thread = threading.Thread(target=self._serve, name="cascade-door", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether nobody is answered any more."""
        return self._is_closed

    @property
    def path(self) -> str:
        """The file of the socket."""
        return self._entrance.path

    def close(self) -> None:
        """Close the door: nobody is answered any more, and its file is gone."""
        self._is_closed = True
        self._entrance.close()  # at once, whatever the thread is at
        self._hurry()
        if self._thread is not threading.current_thread():
            self._thread.join(ENDING)

    def forget(self) -> None:
        """In a forked child: leave the sockets to the parent, whose door stays open."""
        self._is_closed = True
        self._entrance.close()
        for each in (self._wake, self._woken, *[caller.socket for caller in self._callers.values()]):
            each.close()

    def _hurry(self) -> None:
        with suppress(OSError):  # it is full, which does as well, or closed
            self._wake.send(b"\0")

    # --- the thread

    def _serve(self) -> None:
        # Neither epoll nor kqueue: a forked child would share it, and change what the parent waits for.
        selector = selectors.PollSelector() if hasattr(selectors, "PollSelector") else selectors.SelectSelector()
        try:
            selector.register(self._entrance.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._is_closed:
                self._turn(selector)
            self._deliver(selector)  # a run has ended, and its engine with it
        except Exception:  # the entrance was closed beneath it
            pass
        finally:
            self._entrance.close()
            with suppress(Exception):
                selector.close()
            for each in (self._wake, self._woken, *[caller.socket for caller in self._callers.values()]):
                each.close()

    def _turn(self, selector: selectors.BaseSelector) -> None:
        dues = [caller.due for caller in self._callers.values() if caller.due is not None]
        due = min(dues, default=inf)
        for key, events in selector.select(None if due == inf else max(0.0, due - monotonic())):
            if key.fileobj is self._woken:
                with suppress(OSError):
                    self._woken.recv(4096)
            elif key.fileobj is self._entrance.socket:
                self._let_in(selector)
            elif key.fd in self._callers:
                self._attend(selector, self._callers[key.fd], events)
        self._deliver(selector)
        now = monotonic()
        for caller in [each for each in self._callers.values() if each.due is not None and each.due <= now]:
            late = ConnectorError(f"the event loop has not answered within {PATIENCE:g} s: some code holds its thread")
            self._say(selector, caller, _told(late if caller.instead is None else caller.instead))

    def _deliver(self, selector: selectors.BaseSelector) -> None:
        """Give the answers that have come."""
        while self._answers:
            caller, number, said = self._answers.popleft()
            if caller.due is not None and caller.asked == number:
                self._say(selector, caller, said)

    def _let_in(self, selector: selectors.BaseSelector) -> None:
        if self._is_closed:
            return
        try:
            connected, _ = self._entrance.socket.accept()
        except OSError:  # it has left already
            return
        try:
            connected.setblocking(False)
            if not self._entrance.token:
                check_peer(connected)
        except (OSError, ConnectorError):
            connected.close()
            return
        if len(self._callers) >= MOST_CALLERS:
            self._leave(selector, min(self._callers.values(), key=lambda caller: caller.at))
        caller = Caller(connected, not self._entrance.token)
        self._callers[connected.fileno()] = caller
        selector.register(connected, selectors.EVENT_READ)
        self._attend(selector, caller, selectors.EVENT_READ)  # what it asks is mostly there already

    def _leave(self, selector: selectors.BaseSelector, caller: Caller) -> None:
        if self._callers.pop(caller.socket.fileno(), None) is not None:
            with suppress(KeyError):
                selector.unregister(caller.socket)
            caller.due = None
            caller.socket.close()

    def _attend(self, selector: selectors.BaseSelector, caller: Caller, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                more = caller.socket.recv(65_536)
                if not more:
                    self._leave(selector, caller)
                    return
                caller.at = monotonic()
                caller.inbox += more
            self._go_on(selector, caller)
        except BlockingIOError:
            pass
        except Exception:  # it has left, or says too much
            self._leave(selector, caller)

    def _go_on(self, selector: selectors.BaseSelector, caller: Caller) -> None:
        """Answer what is asked, one request after the other, and send what can be sent."""
        while caller.due is None and len(caller.outbox) <= MOST_UNREAD and (line := split(caller.inbox)) is not None:
            caller.due = monotonic() + PATIENCE

            number = caller.asked = caller.asked + 1

            def later(value: object, caller: Caller = caller, number: int = number) -> None:
                self._answers.append((caller, number, _told(value)))
                self._hurry()

            said = self._answer_to(caller, line, later)
            if said is not None:
                caller.due = None
                caller.outbox += line_from({"v": VERSION, **said})
        if len(caller.outbox) > MOST_UNREAD:
            raise ConnectorError("too many answers that nobody reads")
        if caller.outbox:
            del caller.outbox[: caller.socket.send(caller.outbox, NO_SIGNAL)]
        self._wait_for(selector, caller)

    def _wait_for(self, selector: selectors.BaseSelector, caller: Caller) -> None:
        """Listen to a caller whose last request was answered, and write to one with answers left."""
        events = (selectors.EVENT_READ if caller.due is None else 0) | (selectors.EVENT_WRITE if caller.outbox else 0)
        known = selector.get_map().get(caller.socket.fileno())
        if known is None and events:
            selector.register(caller.socket, events)
        elif known is not None and not events:
            selector.unregister(caller.socket)
        elif known is not None and known.events != events:
            selector.modify(caller.socket, events)

    def _say(self, selector: selectors.BaseSelector, caller: Caller, said: dict[str, Any]) -> None:
        """Give the answer that came later."""
        caller.due = None
        try:
            caller.outbox += line_from({"v": VERSION, **said})
            self._go_on(selector, caller)
        except BlockingIOError:
            self._wait_for(selector, caller)
        except Exception:
            self._leave(selector, caller)

    def _answer_to(self, caller: Caller, line: bytes, later: Callable[[Any], None]) -> dict[str, Any] | None:
        try:
            request = object_from(line)
            if not caller.is_known or request.get("do") == "prove":
                return self._proven(caller, request)
            value = self._answer(request, later)
            if isinstance(value, Later):
                caller.instead = value.instead
                caller.due = monotonic() + value.patience
                return None
            return _told(value)
        except Exception as error:
            return _told(error)

    def _proven(self, caller: Caller, request: dict[str, Any]) -> dict[str, Any]:
        """Prove to a caller that this is the door, and have it prove that it knows the token as well."""
        token = self._entrance.token
        if not token or request.get("do") != "prove":
            raise ConnectorError(
                "prove first that you know the token of this door" if token else "there is no token here"
            )
        if "challenge" in request:
            caller.challenge = os.urandom(16).hex()
            return {"proof": proof(token, "door", str(request["challenge"])[:64]), "challenge": caller.challenge}
        from hmac import compare_digest

        is_right = compare_digest(
            str(request.get("proof")).encode("utf-8", "replace"), proof(token, "asker", caller.challenge).encode()
        )
        if not is_right or not caller.challenge:
            raise ConnectorError("that is not the token of this door")
        caller.is_known = True
        return {"ok": True}


def _told(value: object) -> dict[str, Any]:
    """Return an answer as it is sent; of an error that is not meant for people its type alone."""
    if not isinstance(value, BaseException):
        return {"ok": True, "value": value}
    kind = type(value).__name__
    return {"ok": False, "error": str(value) if isinstance(value, CascadeError) else f"it failed: {kind}", "kind": kind}


def _forget_all() -> None:
    for door in list(_open):
        door.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
