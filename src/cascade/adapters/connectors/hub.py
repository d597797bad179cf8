"""The hub of the connectors of one user on one machine: passes messages on, and keeps those that are retained.

One process at a time is the hub, whichever has the lock on its file. The system takes the lock away with the process,
and another one goes on with what is retained, which is in a file.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

from cascade.adapters.connectors.topic_table import TopicTable
from cascade.adapters.doors.folder import folder_of_doors
from cascade.adapters.doors.server import Caller, LineServer
from cascade.adapters.doors.sockets import SOCKET, Entrance
from cascade.errors import ConnectorError
from cascade.spec.topics import Message, is_empty, pattern_from, topic_from

__all__ = ["KIND", "Hub", "path_of", "try_to_be_hub"]

KIND = "messages"
MOST_RETAINED = 10_000
MOST_PATTERNS = 1_000
"""Of one connection."""
EVERY = 0.05
"""Seconds between two writes of what is retained."""


def path_of(name: str) -> str:
    """Return where the socket of the hub of a name is.

    Raises:
        ConnectorError: the folder is not safe.
    """
    folder = folder_of_doors()
    assert folder is not None
    return os.path.join(folder, f"{name}.{KIND}{SOCKET}")


def try_to_be_hub(name: str) -> Hub | None:
    """Return a hub, if no other process of the user is it.

    Raises:
        ConnectorError: the folder is not safe.
        OSError: there can be no socket.
    """
    base = path_of(name).removesuffix(SOCKET)
    lock = os.open(f"{base}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Hub(name, lock, f"{base}.retained")
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise


class Hub(LineServer):
    """Serves the connectors of one name."""

    def __init__(self, name: str, lock: int, kept_in: str) -> None:
        self._lock = lock
        self._kept_in = kept_in
        self._table: TopicTable[tuple[Caller, int]] = TopicTable()
        self._listening: dict[Caller, dict[int, tuple[str, tuple[Caller, int]]]] = {}
        self._due = inf
        for topic, value in _read(kept_in).items():
            with suppress(ValueError):
                self._table.retain(topic_from(topic), value)
        super().__init__(Entrance(KIND, name), "cascade-hub")

    def heard(self, caller: Caller, said: dict[str, Any]) -> dict[str, Any] | None:
        """Do what a connector asks for, and say so if it gave a number."""
        number = said.get("n")
        try:
            match said.get("do"):
                case "publish":
                    self._publish(said.get("topic"), said.get("message"), said.get("retain") is True)
                case "subscribe":
                    self._subscribe(caller, number, said.get("topic"))
                case "unsubscribe":
                    self._unsubscribe(caller, number)
                case "ping":
                    pass
                case other:
                    raise ConnectorError(f"a hub cannot be asked for {repr(other)[:40]}")
        except ValueError as error:
            raise ConnectorError(str(error)) from None
        return {"ok": True, "n": number} if isinstance(number, int) else None

    def _publish(self, topic: object, value: Any, retain: bool) -> None:
        name = topic_from(topic)
        if retain:
            if name not in self._table.retained and len(self._table.retained) >= MOST_RETAINED and not is_empty(value):
                raise ConnectorError(f"{MOST_RETAINED:,} messages are retained already")
            self._table.retain(name, value)
            self._due = min(self._due, monotonic() + EVERY)
        for caller, number in [*self._table.listeners(name)]:
            self._pass_on(caller, number, Message(name, value))

    def _pass_on(self, caller: Caller, number: int, message: Message) -> None:
        self.say(caller, {"to": number, "topic": message.topic, "message": message.value, "retained": message.retained})

    def _subscribe(self, caller: Caller, number: object, topic: object) -> None:
        mine = self._listening.setdefault(caller, {})
        if not isinstance(number, int) or number in mine or len(mine) >= MOST_PATTERNS:
            raise ConnectorError(f"a subscription has a number of its own, and there are {MOST_PATTERNS:,} at the most")
        pattern, entry = pattern_from(topic), (caller, number)
        mine[number] = pattern, entry
        for message in self._table.add(pattern, entry):
            self._pass_on(caller, number, message)

    def _unsubscribe(self, caller: Caller, number: object) -> None:
        known = self._listening.get(caller, {}).pop(number, None) if isinstance(number, int) else None
        if known is not None:
            self._table.remove(*known)

    def left(self, caller: Caller) -> None:
        """Forget what a caller listened to."""
        for pattern, entry in self._listening.pop(caller, {}).values():
            self._table.remove(pattern, entry)

    def turn(self) -> float:
        """Write what is retained, now and then."""
        if self._due <= monotonic():
            self._due = inf
            _write(self._kept_in, self._table.retained)
        return self._due

    def ends(self) -> None:
        """Write what is retained, and let another process be the hub."""
        try:
            if self._due < inf:
                _write(self._kept_in, self._table.retained)
        finally:
            os.close(self._lock)

    def forget(self) -> None:
        """In a forked child: the lock is the parent's, too."""
        super().forget()
        os.close(self._lock)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: str, retained: dict[str, Any]) -> None:
    made = f"{path}.{os.getpid()}.new"
    with suppress(OSError):
        with os.fdopen(os.open(made, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(retained, file)
        os.replace(made, path)
