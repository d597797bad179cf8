"""Which store a program means by what it gives: a path, a URL, a word, or a store."""

from __future__ import annotations

import os
import re
from typing import cast

from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.postgres import PostgresBackend
from cascade.adapters.state.redis import RedisBackend
from cascade.adapters.state.signed import SignedBackend
from cascade.adapters.state.sqlite import Durability, SqliteBackend
from cascade.spec.state import StateBackend

__all__ = ["backend_from"]

REDIS = ("redis", "rediss")
POSTGRES = ("postgresql", "postgres")
METHODS = tuple(name for name in vars(StateBackend) if not name.startswith("_"))
KNOWN = (
    "a path (a SQLite file), 'sqlite:///runs.db', 'sqlite:////var/lib/app/runs.db', 'postgresql://user@host/database', "
    "'redis://host:6379/0', "
    "'memory', or a StateBackend"
)


def backend_from(given: object, what: str, durability: Durability = "group") -> StateBackend:
    """Return the store that is meant; it is not opened yet.

    Args:
        given: a path of a SQLite file, a URL, "memory", or an object that has the methods of a store.
        what: how messages call it, as `state_backend`.
        durability: for a file that is made here.

    Raises:
        TypeError: it is nothing of the kind.
        ValueError: a URL that no store is known for.
        MissingExtraError: a store in PostgreSQL or Redis, and psycopg or redis is not installed.
    """
    if isinstance(given, str):
        return _from_text(given, what, durability)
    if isinstance(given, os.PathLike):
        path = os.fspath(given)
        return SqliteBackend(path if isinstance(path, str) else os.fsdecode(path), durability)
    missing = [name for name in METHODS if not callable(getattr(given, name, None))]
    if not isinstance(given, type) and not missing:
        return cast(StateBackend, given)
    why = ""
    if isinstance(given, type):
        why = ", which is a class: give an object made of it"
    elif len(missing) < len(METHODS):
        why = f", which has no {', '.join(missing)}"
    raise TypeError(f"{what} is {KNOWN}; not {type(given).__name__} {given!r:.100}{why}")


def _from_text(text: str, what: str, durability: Durability) -> StateBackend:
    scheme, colon, rest = text.partition("://")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        if text == "memory":
            return MemoryBackend()
        if not text or text == ":memory:":
            raise ValueError(f"{what} is {KNOWN}; not {text!r}{' (say memory)' if text else ''}")
        return SqliteBackend(text, durability)
    scheme = scheme.lower()
    if scheme in REDIS:
        return SignedBackend(RedisBackend(text, durability))
    if scheme.partition("+")[0] in POSTGRES:
        return SignedBackend(PostgresBackend(text))
    if scheme == "memory" and not rest:
        return MemoryBackend()
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1 and "?" not in rest:
        return SqliteBackend(rest[1:], durability)
    if scheme == "sqlite":
        why = "'sqlite:///' stands before a path, and nothing behind it (a fourth slash begins an absolute one)"
        raise ValueError(f"{what} is {KNOWN}; {why}")
    raise ValueError(f"{what} is {KNOWN}; there is no store for {scheme}://")
