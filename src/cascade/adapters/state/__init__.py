"""Stores of runs: in memory and in a SQLite file; and how values are written into them."""

from cascade.adapters.state.memory import MemoryBackend
from cascade.adapters.state.sqlite import SqliteBackend

__all__ = ["MemoryBackend", "SqliteBackend"]
