"""Caches: stores for `cs.cached`, and policies that keep no values of their own."""

from cascade.adapters.caching.disk import DiskStore
from cascade.adapters.caching.files import FileExistenceCache
from cascade.adapters.caching.memory import MemoryStore

__all__ = ["DiskStore", "FileExistenceCache", "MemoryStore"]
