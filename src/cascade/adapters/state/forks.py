"""What a process that was forked does with connections to a store: they stay the parent's, to the child's very end.

To close one in the child would undo what the parent is writing with it, or end what it has begun at a server.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Protocol
from weakref import WeakSet

__all__ = ["leave_to_parent", "note_closed", "note_open"]


class Inheritable(Protocol):
    """A store that is told when it is in a process that was forked."""

    def inherited(self) -> None:
        """Leave the connection to the parent; one of its own is made when needed."""


_open: WeakSet[Inheritable] = WeakSet()
_left: list[Any] = []


def note_open(store: Inheritable) -> None:
    """Note that a store has a connection: in each child that is forked from now on it is told so."""
    _open.add(store)


def note_closed(store: Inheritable) -> None:
    """Note that a store has none any more."""
    _open.discard(store)


def leave_to_parent(connection: Any) -> None:
    """Keep a connection for as long as this process lives, its end included, so that nothing closes it."""
    _left.append(connection)
    with contextlib.suppress(ImportError):  # some Pythons are built without ctypes
        from ctypes import py_object, pythonapi

        pythonapi.Py_IncRef(py_object(connection))


def _tell_all() -> None:
    for store in list(_open):
        store.inherited()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell_all)
