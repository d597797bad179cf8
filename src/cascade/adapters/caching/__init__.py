"""Caches: stores for `cs.cached`, and policies that keep no values of their own."""

from __future__ import annotations

from typing import Any

from cascade.adapters.caching.disk import DiskStore
from cascade.adapters.caching.files import FileExistenceCache
from cascade.adapters.caching.memory import MemoryStore

__all__ = ["DiskStore", "FileExistenceCache", "MemoryStore", "store_at"]


def store_at(place: str) -> Any:
    """Return the store that a text names: a URL of a server, or the path of a folder."""
    if place.startswith(("redis://", "rediss://")):
        from cascade.adapters.caching.in_redis import RedisStore

        return RedisStore(place)
    if place.startswith(("postgresql://", "postgres://")):
        from cascade.adapters.caching.in_postgres import PostgresStore

        return PostgresStore(place)
    return DiskStore(place)
