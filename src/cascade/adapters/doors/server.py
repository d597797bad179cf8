"""Serves a socket of the user's own folder: lines of JSON come and go, in a thread of its own.

Whatever comes in, at worst a connection is closed: sizes and numbers are bounded, and no failure leaves the thread.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any
from weakref import WeakSet

from cascade.adapters.doors.lines import VERSION, line_from, object_from, split
from cascade.adapters.doors.sockets import Entrance, check_peer, proof
from cascade.errors import CascadeError, ConnectorError

__all__ = ["Caller", "LineServer", "told"]

MOST_CALLERS = 64
"""Connections at once; one more closes the one that has said nothing for the longest."""
MOST_UNREAD = 4 << 20
"""Bytes that a caller may leave unread; then its connection is closed."""
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
"""To write to who has left shall be an error and no SIGPIPE, which ends programs that do not ignore it."""
ENDING = 1.0
"""Seconds that closing waits for the thread."""

_open: WeakSet[LineServer] = WeakSet()


class Caller:
    """One connection to a server."""

    def __init__(self, connected: socket.socket, is_known: bool) -> None:
        self.socket: socket.socket = connected
        self.inbox: bytearray = bytearray()
        self.outbox: bytearray = bytearray()
        self.is_known: bool = is_known
        """Whether it has proven to be allowed to ask."""
        self.challenge: str = ""
        self.at: float = monotonic()
        """When something was heard of it."""
        self.is_waiting: bool = False
        """Whether its next line is read only later."""
        self.is_gone: bool = False


class LineServer:
    """Serves one socket; `close` ends it, from any thread. What is said to a line is for `heard` to say."""

    def __init__(self, entrance: Entrance, thread_name: str) -> None:
        self._entrance = entrance
        self.name: str = entrance.name
        self.path: str = entrance.path
        """The file of the socket."""
        self.callers: dict[int, Caller] = {}
        """The connections, by the numbers of their sockets."""
        self.is_closed: bool = False
        """Whether nobody is served any more."""
        # Neither epoll nor kqueue: a forked child would share it, and change what the parent waits for.
        self._selector: Any = selectors.PollSelector() if hasattr(selectors, "PollSelector") else _select()
        self._wake, self._woken = socket.socketpair()
        for each in (self._wake, self._woken):
            each.setblocking(False)
        _open.add(self)
        self._thread = threading.Thread(target=self._serve, name=thread_name, daemon=True)
        self._thread.start()

    # --- for those who serve something

    def heard(self, caller: Caller, said: dict[str, Any]) -> dict[str, Any] | None:
        """Return what is said to a line; None: nothing, or later. A CascadeError is told, others by their kind."""
        raise NotImplementedError

    def left(self, caller: Caller) -> None:
        """Forget a caller who has left."""

    def turn(self) -> float:
        """Do what is due; return when something is again, by the monotonic clock."""
        return inf

    def ends(self) -> None:
        """Do what is left at the end."""

    def say(self, caller: Caller, said: dict[str, Any]) -> None:
        """Say something to a caller, on the thread of this server."""
        if not caller.is_gone:
            caller.outbox += _line(said)
            self._attended(caller, self._send)

    def go_on(self, caller: Caller) -> None:
        """Read the next line of a caller that was waiting."""
        caller.is_waiting = False
        if not caller.is_gone:
            self._attended(caller, self._read)

    def hurry(self) -> None:
        """Have the thread take a turn; from any thread."""
        with suppress(OSError):  # it is full, which does as well, or closed
            self._wake.send(b"\0")

    def close(self) -> None:
        """End: nobody is served any more, and the file is gone."""
        self.is_closed = True
        self._entrance.close()  # at once, whatever the thread is at
        self.hurry()
        if self._thread is not threading.current_thread():
            self._thread.join(ENDING)

    def forget(self) -> None:
        """In a forked child: leave the sockets to the parent, whose server goes on."""
        self.is_closed = True
        self._entrance.close()
        self._close_all()

    def _close_all(self) -> None:
        for each in (self._wake, self._woken, *[caller.socket for caller in [*self.callers.values()]]):
            each.close()

    # --- the thread

    def _serve(self) -> None:
        try:
            self._selector.register(self._entrance.socket, selectors.EVENT_READ)
            self._selector.register(self._woken, selectors.EVENT_READ)
            while not self.is_closed:
                due = self.turn()
                for key, events in self._selector.select(None if due == inf else max(0.0, due - monotonic())):
                    self._look(key, events)
            self.turn()
        except Exception:  # the entrance was closed beneath it
            pass
        finally:
            self.is_closed = True
            self._entrance.close()
            with suppress(Exception):
                self.ends()
            with suppress(Exception):
                self._selector.close()
            self._close_all()

    def _look(self, key: selectors.SelectorKey, events: int) -> None:
        if key.fileobj is self._woken:
            with suppress(OSError):
                self._woken.recv(4096)
        elif key.fileobj is self._entrance.socket:
            self._let_in()
        elif key.fd in self.callers:
            caller = self.callers[key.fd]
            if events & selectors.EVENT_READ:
                self._attended(caller, self._receive)
            else:
                self._attended(caller, self._send)

    def _let_in(self) -> None:
        if self.is_closed:
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
        if len(self.callers) >= MOST_CALLERS:
            self._leave(min(self.callers.values(), key=lambda caller: caller.at))
        caller = Caller(connected, not self._entrance.token)
        self.callers[connected.fileno()] = caller
        self._selector.register(connected, selectors.EVENT_READ)
        self._attended(caller, self._receive)  # what it says is mostly there already

    def _leave(self, caller: Caller) -> None:
        if not caller.is_gone:
            caller.is_gone = True
            self.callers.pop(caller.socket.fileno(), None)
            with suppress(KeyError, ValueError):
                self._selector.unregister(caller.socket)
            caller.socket.close()
            self.left(caller)

    def _attended(self, caller: Caller, attend: Callable[[Caller], None]) -> None:
        """Do something for a caller, and let it go if that fails."""
        try:
            attend(caller)
        except BlockingIOError:
            self._wait_for(caller)
        except Exception:  # it has left, or says too much, or reads too little
            self._leave(caller)

    def _receive(self, caller: Caller) -> None:
        more = caller.socket.recv(65_536)
        if not more:
            self._leave(caller)
            return
        caller.at = monotonic()
        caller.inbox += more
        self._read(caller)

    def _read(self, caller: Caller) -> None:
        """Take the lines that are there, one after the other, and send what can be sent."""
        while not (caller.is_waiting or caller.is_gone) and (line := split(caller.inbox)) is not None:
            said = self._said_to(caller, line)
            if said is not None:
                caller.outbox += _line(said)
            if len(caller.outbox) > MOST_UNREAD:
                break
        if not caller.is_gone:
            self._send(caller)

    def _send(self, caller: Caller) -> None:
        if len(caller.outbox) > MOST_UNREAD:
            raise ConnectorError("too much that nobody reads")
        if caller.outbox:
            del caller.outbox[: caller.socket.send(caller.outbox, NO_SIGNAL)]
        self._wait_for(caller)

    def _wait_for(self, caller: Caller) -> None:
        """Listen to a caller, unless it waits, and write to one with something left."""
        if caller.is_gone:
            return
        events = (0 if caller.is_waiting else selectors.EVENT_READ) | (selectors.EVENT_WRITE if caller.outbox else 0)
        known = self._selector.get_map().get(caller.socket.fileno())
        if known is None and events:
            self._selector.register(caller.socket, events)
        elif known is not None and not events:
            self._selector.unregister(caller.socket)
        elif known is not None and known.events != events:
            self._selector.modify(caller.socket, events)

    def _said_to(self, caller: Caller, line: bytes) -> dict[str, Any] | None:
        try:
            said = object_from(line)
            if not caller.is_known or said.get("do") == "prove":
                return self._proven(caller, said)
            return self.heard(caller, said)
        except Exception as error:
            return told(error)

    def _proven(self, caller: Caller, said: dict[str, Any]) -> dict[str, Any]:
        """Prove to a caller that this is the server, and have it prove that it knows the token as well."""
        from hmac import compare_digest

        token = self._entrance.token
        if not token or said.get("do") != "prove":
            raise ConnectorError("prove first to know the token of this door" if token else "there is no token here")
        if "challenge" in said:
            caller.challenge = os.urandom(16).hex()
            return {"proof": proof(token, "door", str(said["challenge"])[:64]), "challenge": caller.challenge}
        theirs = str(said.get("proof")).encode("utf-8", "replace")
        if not compare_digest(theirs, proof(token, "asker", caller.challenge).encode()) or not caller.challenge:
            raise ConnectorError("that is not the token of this door")
        caller.is_known = True
        return {"ok": True}


def _select() -> selectors.BaseSelector:
    return selectors.SelectSelector()


def _line(said: dict[str, Any]) -> bytes:
    try:
        return line_from({"v": VERSION, **said})
    except ConnectorError as error:  # something in it is not JSON
        return line_from({"v": VERSION, **told(error)})


def told(value: object) -> dict[str, Any]:
    """Return an answer as it is sent; of an error that is not meant for people its kind alone."""
    if not isinstance(value, BaseException):
        return {"ok": True, "value": value}
    kind = type(value).__name__
    return {"ok": False, "error": str(value) if isinstance(value, CascadeError) else f"it failed: {kind}", "kind": kind}


def _forget_all() -> None:
    for server in list(_open):
        server.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
